"""Data sets that are read from files: Fashion-MNIST, CIFAR and image folders. Nothing is ever downloaded."""

from __future__ import annotations

import gzip
from copy import copy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from timm.data import create_transform
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, Subset
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.transforms import v2

from hass_train.data.base import ImageData, TensorImages, with_channels
from hass_train.data.images import MODES, LabelledFolders, class_names
from hass_train.runtime.errors import UserError, suggested, unknown

_SPLIT_SEED = 0
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
"""timm's names of interpolations."""
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of bytes (the format of MNIST), gzipped or not.

    Raises:
        UserError: the file is not an IDX file of bytes, or is truncated.
    """
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise UserError(f"{path} is no readable gzip file: {error}") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise UserError(f"{path} is no IDX file of bytes; it starts with {raw[:4].hex()}")
    axes = raw[3]
    shape = np.frombuffer(raw, ">u4", axes, 4).astype(int) if len(raw) >= 4 + 4 * axes else np.zeros(0, int)
    if len(raw) - 4 - 4 * axes != int(np.prod(shape)) or not len(shape):
        raise UserError(f"{path} is truncated: its header promises {'×'.join(map(str, shape))} bytes")
    return np.frombuffer(raw, np.uint8, -1, 4 + 4 * axes).reshape(shape)


def _split_train(labels: Tensor, validation: float) -> tuple[list[int], list[int]]:
    """Hold a stratified fraction of the training images back for validation; returns the indices of both.

    Raises:
        UserError: there are too few images for that.
    """
    try:
        train, val = train_test_split(
            range(len(labels)), test_size=validation, stratify=labels, random_state=_SPLIT_SEED
        )
    except ValueError as error:
        raise UserError(f"{len(labels)} training images cannot be split for validation: {error}") from error
    return train, val


class _InMemory(ImageData):
    """Base class of data sets that fit into memory.

    Images are normalised by the mean and the standard deviation of the training split, per channel; a twelfth of the
    training images is held back for validation.

    Args:
        root: folder that holds the files.
        batch_size, workers, seed: see `ImageData`.
        size: height and width in pixels to which images are enlarged.
        augment: whether to shift and mirror training images at random.
        train_images: limit on the number of training images; 0 = no limit.
    """

    CONVERTS = True
    NAME: ClassVar[str]
    CLASSES: ClassVar[int]
    CHANNELS: ClassVar[int]

    def __init__(
        self,
        root: str,
        batch_size: int = 128,
        workers: int = 0,
        seed: int = 0,
        size: int = 32,
        augment: bool = True,
        train_images: int = 0,
    ) -> None:
        super().__init__(self.NAME, self.CLASSES, (self.CHANNELS, size, size), batch_size, workers, seed)
        self.root, self.augment, self.train_images = Path(root), augment, train_images

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Read the training or the test images: (n, channels, height, width) bytes and (n,) labels.

        Raises:
            UserError: the files are missing or damaged.
        """
        raise TypeError(f"{type(self).__name__} does not say how its files are read")

    def _pixels(self, train: bool) -> tuple[Tensor, Tensor]:
        """What `read` gives, with the channels that the network takes."""
        images, labels = self.read(train)
        self.collate.check_labels(labels)  # before they are split by class
        return with_channels(images, self.input_size[0]), labels

    def load(self) -> dict[str, Dataset[Any]]:
        pixels, labels = self._pixels(train=True)
        train, val = _split_train(labels, 1 / 12)
        if self.train_images:
            if self.train_images > len(train):
                raise UserError(f"data.train_images is {self.train_images}; {self.name} has {len(train)}")
            train = train[: self.train_images]
        mean = pixels[train].float().mean(dim=(0, 2, 3), keepdim=True)
        deviation = pixels[train].float().std(dim=(0, 2, 3), keepdim=True)

        def ready(some: Tensor) -> Tensor:
            images, size = (some.float() - mean) / deviation, self.input_size[1:]
            return images if images.shape[2:] == size else F.interpolate(images, size=size, mode="bilinear")

        steps: list[Any] = [v2.RandomCrop(self.input_size[1:], padding=2, padding_mode="edge")] if self.augment else []
        steps += [v2.RandomHorizontalFlip()] if self.augment else []
        test_pixels, test_labels = self._pixels(train=False)
        return {
            "train": TensorImages(ready(pixels[train]), labels[train], v2.Compose(steps) if steps else None),
            "val": TensorImages(ready(pixels[val]), labels[val]),
            "test": TensorImages(ready(test_pixels), test_labels),
        }


class FashionMnist(_InMemory):
    """70,000 grey 28×28 images of clothing; 5,000 training images held back for validation.

    `root` holds the four IDX files, gzipped or not, or is torchvision's folder above them.
    """

    NAME, CLASSES, CHANNELS = "fashion_mnist", 10, 1

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        stem = "train" if train else "t10k"
        images = read_idx(self._find(f"{stem}-images-idx3-ubyte"))
        labels = read_idx(self._find(f"{stem}-labels-idx1-ubyte"))
        if images.ndim != 3 or labels.ndim != 1:
            raise UserError(f"{self.root}: {stem} images have {images.ndim} axes and labels {labels.ndim}, not 3 and 1")
        if len(images) != len(labels):
            raise UserError(f"{self.root} holds {len(images)} {stem} images but {len(labels)} labels")
        return torch.from_numpy(images.copy())[:, None], torch.from_numpy(labels.copy()).long()

    def _find(self, name: str) -> Path:
        for folder in (self.root, self.root / "FashionMNIST" / "raw", DEBIAN_FASHION_MNIST):
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    return path
        raise UserError(
            f"no {name} in {self.root}: set data.root to the folder of Fashion-MNIST's four files, or install Debian's "
            "package dataset-fashion-mnist"
        )


class Cifar10(_InMemory):
    """60,000 colour 32×32 images in 10 classes, in torchvision's layout: `root` holds `cifar-10-batches-py`."""

    NAME, CLASSES, CHANNELS = "cifar10", 10, 3
    KIND: ClassVar[type[CIFAR10]] = CIFAR10

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        kind = self.KIND
        try:
            data = kind(str(self.root), train=train, download=False)
        except RuntimeError as error:
            raise UserError(
                f"no intact {kind.base_folder} in {self.root}: set data.root to the folder that holds it"
            ) from error
        return torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets)


class Cifar100(Cifar10):
    """60,000 colour 32×32 images in 100 classes, in torchvision's layout: `root` holds `cifar-100-python`."""

    NAME, CLASSES = "cifar100", 100
    KIND = CIFAR100


class ImageFolders(ImageData):
    """ImageNet-style folders: `root/train/CLASS/*` and `root/val/CLASS/*`, with timm's transforms.

    The `val` folder is the test split; a stratified twentieth of `train` is held back for validation, or one image per
    class if that is more. How files are decoded says `hass_train.data.images.read_image`.

    Args:
        root: folder that holds `train` and `val`.
        input_size: (channels, height, width) of an image after the transforms; 1 channel is luma.
        mean, std, interpolation, crop_pct: timm's data configuration of the network, for pretrained weights. Where
            luma is wanted and three values are given, the mean is that of the luma, exactly; the deviation is what it
            would be if the channels rose and fell together. One value holds for all channels.
        batch_size, workers, seed: see `ImageData`.
        augment: whether to apply timm's random training transforms.

    Raises:
        UserError: a folder is missing, or holds fewer than two classes; or an argument is out of range.
    """

    CONVERTS = True

    def __init__(
        self,
        root: str,
        input_size: tuple[int, int, int] = (3, 224, 224),
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        std: tuple[float, ...] = (0.229, 0.224, 0.225),
        interpolation: str = "bicubic",
        crop_pct: float = 0.875,
        batch_size: int = 128,
        workers: int = 4,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        self.root, self.augment = Path(root), augment
        if len(input_size) != 3 or input_size[0] not in MODES:
            raise UserError(f"data.input_size is {list(input_size)}; [1 or 3,height,width] is wanted")
        if not 0 < crop_pct <= 1:
            raise UserError(f"data.crop_pct is {crop_pct}; it must lie in (0, 1]")
        if interpolation not in INTERPOLATIONS:
            raise unknown("data.interpolation", interpolation, INTERPOLATIONS)
        for key, values in (("mean", mean), ("std", std)):
            if len(values) not in MODES or not all(one > 0 or (key == "mean" and one == 0) for one in values):
                raise UserError(f"data.{key} is {list(values)}; one value for each channel is wanted, as in [0.5]")
        for split in ("train", "val"):
            if not (self.root / split).is_dir():
                raise UserError(f"no folder {self.root / split}: set data.root to a folder that holds train/ and val/")
        classes = class_names(self.root / "train")
        if len(classes) < 2:
            raise UserError(
                f"{self.root / 'train'} holds {len(classes) or 'no'} class {'folder' if classes else 'folders'}; "
                "a classifier needs a folder of images for each of at least two classes"
            )
        size = (input_size[0], input_size[1], input_size[2])
        super().__init__("image_folder", len(classes), size, batch_size, workers, seed)
        self.mean, self.std, self.interpolation, self.crop_pct = tuple(mean), tuple(std), interpolation, crop_pct

    def load(self) -> dict[str, Dataset[Any]]:
        channels = self.input_size[0]
        looks = {
            "input_size": self.input_size, "mean": _of_channels(self.mean, channels),
            "std": _of_channels(self.std, channels), "interpolation": self.interpolation,
        }  # fmt: skip
        evaluating = create_transform(**looks, crop_pct=self.crop_pct, is_training=False)
        training = create_transform(**looks, is_training=True) if self.augment else evaluating
        try:
            learning = LabelledFolders(self.root / "train", channels, training)
            test = LabelledFolders(self.root / "val", channels, evaluating)
        except FileNotFoundError as error:  # a class without a single image
            found = str(error).splitlines()[0].partition("Supported")[0]
            raise UserError(f"{self.root}: {found} Put images there, or remove the folder") from error
        if odd := sorted(set(test.classes) ^ set(learning.classes)):
            here, other = ("train", test) if odd[0] in learning.classes else ("val", learning)
            raise UserError(
                f"train/ and val/ of {self.root} differ in class {odd[0]!r}, which only {here}/ has"
                f"{suggested(odd[0], set(other.classes) & set(odd)) if len(odd) > 1 else ''}"
            )
        labels = torch.tensor(learning.targets)
        if int(torch.bincount(labels).min()) < 2:
            raise UserError(f"{self.root / 'train'}: every class needs two images, one of them for validation")
        checking = copy(learning)
        checking.transform = evaluating
        classes = len(learning.classes)
        train, val = _split_train(labels, max(0.05, classes / len(labels)))
        return {"train": Subset(learning, train), "val": Subset(checking, val), "test": test}


def _of_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A mean or deviation for each channel, from one or three values."""
    return tuple(
        with_channels(torch.tensor(values, dtype=torch.double)[None, :, None, None], channels).flatten().tolist()
    )
