"""Image files of any format that Pillow knows, decoded to 8 bits, upright, with the channels that a network takes."""

from __future__ import annotations

import os
import re
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from hass_train.runtime.errors import UserError

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode for images of so many channels: luma, and colour."""
_SUFFIXES = (*IMG_EXTENSIONS, ".gif", ".jfif", ".jp2", ".avif")
_BITS_OF_SAMPLES, _PHOTOMETRIC, _FORMAT_OF_SAMPLES = 258, 262, 339  # tags of TIFF


def read_image(path: str, channels: int = 3) -> Image.Image:
    """Read an image file as 8 bits a channel, turned as its EXIF orientation says; of several frames the first.

    Colours become luma (ITU-R 601) where one channel is wanted, and grey becomes three equal channels where three are.
    Values of 9 to 16 bits are scaled to 8. Transparency is dropped, as torchvision and timm do: what shows is the
    colour that is stored under it. Colour profiles are not applied.

    Args:
        path: the file.
        channels: 1 or 3.

    Raises:
        UserError: the file cannot be read or decoded, has too many pixels, or values whose range is unknown (floats,
            whole numbers of more than 16 bits or with a sign).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large, but not too large
            with Image.open(path) as image:
                ImageOps.exif_transpose(image, in_place=True)
                image.info.pop("transparency", None)  # else Pillow warns that it is lost
                colours = _eight_bits(image, path).convert("RGB")  # by way of RGB, which every mode can become
                return colours if channels == 3 else colours.convert(MODES[channels])
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        pixels, limit = (int(number) / 1e6 for number in re.findall(r"\d+", str(error)))
        raise UserError(
            f"{path} has {pixels:,.0f} megapixels, and at most {limit:,.0f} are decoded; make it smaller, or remove it"
        ) from error
    except Exception as error:  # damaged files make Pillow raise almost anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].replace(f" {path!r}", "")
        raise UserError(f"{path} cannot be read as an image ({reason}); remove it or replace it") from error


def _eight_bits(image: Image.Image, path: str) -> Image.Image:
    """Scale values of 9 to 16 bits to 8, which Pillow would clip."""
    tags = getattr(image, "tag_v2", {})
    if image.mode not in ("I", "F") and 2 in tuple(tags.get(_FORMAT_OF_SAMPLES, ())):
        raise UserError(f"{path} holds numbers with a sign, whose range is unknown; save it without")
    scaled = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")  # whose decoder scales
    if image.mode in ("I", "F") and not scaled:
        kind = "floats" if image.mode == "F" else "whole numbers of more than 16 bits or with a sign"
        raise UserError(f"{path} holds {kind}, whose range is unknown; save it with 8 or 16 bits without a sign")
    if not scaled:
        return image
    top = 2 ** int(tags.get(_BITS_OF_SAMPLES, (16,))[0]) - 1
    values = np.asarray(image).astype(np.int64)
    if tags.get(_PHOTOMETRIC) == 0:  # zero is white, which Pillow heeds at 8 bits alone
        values = top - values
    return Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))


def class_names(folder: Path) -> list[str]:
    """The names of a folder's class folders in order, without hidden ones (as `.ipynb_checkpoints`)."""
    return sorted(one.name for one in os.scandir(folder) if one.is_dir() and not one.name.startswith("."))


class LabelledFolders(ImageFolder):
    """Images in one folder per class; hidden files and folders (as macOS's `._a.jpg`) are not looked at.

    Args:
        root: folder of the class folders.
        channels: of the images, see `read_image`.
        transform: function of one image.

    Raises:
        FileNotFoundError: a class has no image.
    """

    def __init__(self, root: Path, channels: int, transform: object) -> None:
        super().__init__(
            str(root), transform, loader=partial(read_image, channels=channels),  # type: ignore[arg-type]
            is_valid_file=partial(_is_image, str(root)),
        )  # fmt: skip

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """Return the classes and their labels."""
        classes = class_names(Path(directory))
        return classes, {name: label for label, name in enumerate(classes)}


def _is_image(root: str, path: str) -> bool:
    return path.lower().endswith(_SUFFIXES) and f"{os.sep}." not in path[len(root) :]
