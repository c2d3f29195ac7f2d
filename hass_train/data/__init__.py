"""Lightning data modules: digits (embedded default), Fashion-MNIST, CIFAR, folders of images."""

from hass_train.data.base import ImageData
from hass_train.data.digits import Digits
from hass_train.data.files import Cifar10, Cifar100, FashionMnist, ImageFolders

__all__ = ["Cifar10", "Cifar100", "Digits", "FashionMnist", "ImageData", "ImageFolders"]
