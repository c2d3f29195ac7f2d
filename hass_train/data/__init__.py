"""Lightning data modules: digits (the default, which scikit-learn brings), Fashion-MNIST, CIFAR, image folders."""

from hass_train.data.base import ImageData
from hass_train.data.digits import Digits
from hass_train.data.files import Cifar10, Cifar100, FashionMnist, ImageFolders

__all__ = ["Cifar10", "Cifar100", "Digits", "FashionMnist", "ImageData", "ImageFolders"]
