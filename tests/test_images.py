"""Image files against the values that were stored in them, and what reaches the network from folders of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from hass_train.data import Cifar10, Digits, FashionMnist, ImageData, ImageFolders
from hass_train.data.base import TensorImages, with_channels
from hass_train.data.images import read_image
from hass_train.estimation import EstimateExperiment
from hass_train.experiment import Experiment
from hass_train.results.result import Result
from hass_train.runtime.errors import UserError
from hass_train.training.replay import _data_of
from tests.conftest import DATA, Compose
from tests.test_data import write_idx

Array = NDArray[Any]
WIDTH, HEIGHT = 80, 40
RAMP = np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1))  # rises evenly from black to white
CORNERS = np.array([[[200, 40, 20], [30, 180, 60]], [[90, 80, 210], [240, 230, 10]]])
"""Colours that tell every way to turn an image from the others."""
COLOUR = CORNERS.repeat(HEIGHT // 2, 0).repeat(WIDTH // 2, 1)
LUMA = np.array([0.299, 0.587, 0.114])


def picture(values: Array) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


def stored(image: Image.Image, kind: str, **options: Any) -> bytes:
    packed = io.BytesIO()
    image.save(packed, kind, **options)
    return packed.getvalue()


def with_alpha(values: Array) -> Image.Image:
    """The left half is transparent, and its colours are there all the same."""
    alpha = np.where(np.arange(WIDTH) < WIDTH // 2, 0, 255)
    return picture(np.dstack([values, np.tile(alpha, (HEIGHT, 1))]))


def tiff(bits: int, values: Array, photometric: int = 1) -> bytes:
    """A TIFF file of one grey strip, of 12 or 16 bits a value."""
    if bits == 12:
        even, odd = values[:, ::2].astype(int), values[:, 1::2].astype(int)
        strip = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], -1).astype(np.uint8).tobytes()
    else:
        strip = values.astype("<u2").tobytes()
    tags = {256: WIDTH, 257: HEIGHT, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: HEIGHT, 279: len(strip)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


def png(bits: int, values: Array) -> bytes:
    """A PNG file of grey or RGB values of 2, 4 or 16 bits, some of which Pillow does not write."""
    rows = values.reshape(len(values), -1).round().astype(int)
    if bits == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        places = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        packed = np.packbits(places.reshape(len(rows), -1).astype(np.uint8), axis=1)
    lines = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 2 if values.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", lines), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def frames(kind: str) -> bytes:
    return stored(picture(COLOUR), kind, save_all=True, append_images=[picture(255 - COLOUR)] * 2)


GREY8, GREY16 = picture(RAMP * 255), Image.fromarray((RAMP * 65535).round().astype(np.uint16))
BITS = np.tile(np.arange(WIDTH) % 4 == 0, (HEIGHT, 1))
CMYK = np.dstack([COLOUR, np.full((HEIGHT, WIDTH), 60)])
PRINTED = (255 - CMYK[..., :3]) * (255 - CMYK[..., 3:]) / 255
PALETTE = picture(COLOUR).quantize(4)
READ: dict[str, tuple[bytes, Array]] = {
    "png 1 bit": (stored(Image.fromarray(BITS), "png"), BITS * 255),
    "png 8 bits": (stored(GREY8, "png"), RAMP * 255),
    "png 16 bits": (stored(GREY16, "png"), RAMP * 255),
    "png 2 bits": (png(2, RAMP * 3), (RAMP * 3).round() * 85),
    "png 4 bits": (png(4, RAMP * 15), (RAMP * 15).round() * 17),
    "png rgb 16 bits": (png(16, COLOUR * 257), COLOUR),
    "png palette": (stored(PALETTE, "png"), COLOUR),
    "png palette, one transparent": (stored(PALETTE, "png", transparency=0), COLOUR),
    "png palette, all half transparent": (stored(PALETTE, "png", transparency=bytes([128] * 4)), COLOUR),
    "png rgb": (stored(picture(COLOUR), "png"), COLOUR),
    "png rgb, one transparent": (stored(picture(COLOUR), "png", transparency=(200, 40, 20)), COLOUR),
    "png rgba": (stored(with_alpha(COLOUR), "png"), COLOUR),
    "png grey with alpha": (stored(with_alpha(RAMP * 255), "png"), RAMP * 255),
    "png turned": (stored(picture(COLOUR), "png", exif=struct.pack("<6s2sHIHHHIHHI", b"Exif\0\0", b"II", 42, 8, 1, 274,
                                                                   3, 1, 3, 0, 0)), COLOUR[::-1, ::-1]),
    "jpeg grey": (stored(GREY8, "jpeg", quality=95), RAMP * 255),
    "jpeg cmyk": (stored(Image.fromarray(CMYK.astype(np.uint8), "CMYK"), "jpeg", quality=98), PRINTED),
    "tiff 8 bits": (stored(GREY8, "tiff"), RAMP * 255),
    "tiff 12 bits": (tiff(12, (RAMP * 4095).round()), RAMP * 255),
    "tiff 16 bits": (stored(GREY16, "tiff"), RAMP * 255),
    "tiff 16 bits, zero is white": (tiff(16, (RAMP * 65535).round(), 0), 255 - RAMP * 255),
    "tiff 16 bits, big-endian": (stored(Image.frombytes("I;16B", (WIDTH, HEIGHT), (RAMP * 65535).round().astype(">u2")
                                                        .tobytes()), "tiff"), RAMP * 255),
    "tiff rgb, many frames": (frames("tiff"), COLOUR),
    "pgm 16 bits": (b"P5 80 40 65535\n" + (RAMP * 65535).round().astype(">u2").tobytes(), RAMP * 255),
    "gif": (stored(PALETTE, "gif"), COLOUR),
    "gif, many frames": (frames("gif"), COLOUR),
    "bmp": (stored(picture(COLOUR), "bmp"), COLOUR),
    "webp": (stored(picture(COLOUR), "webp", quality=98), COLOUR),
    "webp rgba": (stored(with_alpha(COLOUR), "webp", lossless=True, exact=True), COLOUR),
    "webp, many frames": (stored(picture(COLOUR), "webp", lossless=True, save_all=True,
                                 append_images=[picture(255 - COLOUR)]), COLOUR),
}  # fmt: skip
TURNED: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: np.rot90,
}  # fmt: skip
"""What a viewer does to the stored rows and columns, by EXIF orientation."""


def check_read(raw: bytes, right: Array, path: Path) -> None:
    """A file has the right size, mean and values, as colour and as luma."""
    path.write_bytes(raw)
    right = right if right.ndim == 3 else right[..., None].repeat(3, -1)
    for channels, expected in ((3, right), (1, right @ LUMA)):
        found = np.asarray(read_image(str(path), channels)).astype(float)
        assert found.shape == expected.shape
        assert found.mean((0, 1)) == pytest.approx(expected.mean((0, 1)), abs=1.5)
        assert np.abs(found - expected).mean() < 3


@pytest.mark.parametrize("name", READ)
def test_formats(name: str, tmp_path: Path) -> None:
    check_read(*READ[name], tmp_path / "image")


@pytest.mark.parametrize("orientation", TURNED)
def test_orientations(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    raw = stored(picture(COLOUR), "jpeg", quality=98, exif=exif, subsampling=0)
    check_read(raw, TURNED[orientation](COLOUR), tmp_path / "image.jpg")


def bomb() -> bytes:
    """The header of a PNG of 20,000×20,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">II", zlib.crc32(header), 0) + b"IDAT"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (stored(Image.fromarray(RAMP.astype(np.float32)), "tiff"), r"x\.tif holds floats, .* 8 or 16 bits"),
        (stored(Image.fromarray((RAMP * 9).astype(np.int32)), "tiff"), r"x\.tif holds whole numbers of more than 16"),
        (bomb(), r"x\.tif has 400 megapixels, and at most 179 are decoded"),
        (b"", r"x\.tif cannot be read as an image \(cannot identify image file\); remove it or replace it"),
        (stored(GREY16, "png")[:90], r"x\.tif cannot be read as an image \(.*\); remove it"),
    ],
    ids=["floats", "integers", "bomb", "empty", "cut"],
)
def test_what_has_no_right_values_is_refused(raw: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(raw)
    with pytest.raises(UserError, match=message) as caught:
        read_image(str(tmp_path / "x.tif"))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about broken metadata
@given(st.sampled_from(sorted(READ)), st.data())
def test_damaged_files_are_read_or_refused_in_a_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    raw = bytearray(READ[name][0])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, min(len(raw), 300) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    said = ""
    try:
        assert read_image(str(path)).mode == "RGB"
    except UserError as error:
        said = str(error)
    assert "\n" not in said


# ---- folders -------------------------------------------------------------------------------------------------------


def folders(root: Path, image: Image.Image, classes: tuple[str, ...] = ("a", "b")) -> Path:
    """A folder of three equal images a class and split."""
    for split in ("train", "val"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for number in range(3):
                image.save(root / split / name / f"{number}.png")
    return root


PLAIN = {"mean": [0.0], "std": [1.0], "batch_size": 2, "workers": 0, "augment": False, "crop_pct": 1.0}


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_folders_of_grey_and_of_colour_serve_networks_of_one_and_three_channels(
    colour: bool, channels: int, compose: Compose, tmp_path: Path
) -> None:
    root = folders(tmp_path, picture(COLOUR) if colour else GREY16)
    options = [f"data.{key}={value}" for key, value in PLAIN.items()]
    config = compose("debug=fdr", "model=timm", "model.name=test_resnet", f"+model.kwargs.in_chans={channels}",
                     "data=image_folder", f"data.root={root}", "data.input_size=[3,32,32]", *options)  # fmt: skip
    experiment = Experiment.of(config)
    images, _ = next(iter(experiment.data.train_dataloader()))
    middle = COLOUR[:, 20:60].mean((0, 1)) if colour else np.full(3, 127.5)
    right = middle if channels == 3 else [middle @ LUMA]
    assert images.shape == (2, channels, 32, 32)
    assert images.mean((0, 2, 3)).numpy() * 255 == pytest.approx(right, abs=1.5)
    assert experiment.network.eval()(images).shape == (2, 2)
    assert experiment.workload.input_shape == (channels, 32, 32)


def test_training_transforms_take_grey_images_and_normalise_luma(tmp_path: Path) -> None:
    data = ImageFolders(str(folders(tmp_path, GREY8)), (1, 32, 32), batch_size=2, workers=0)
    data.setup()
    images, _ = next(iter(data.train_dataloader()))
    assert images.shape == (2, 1, 32, 32)
    image = data.splits["test"][0][0]
    mean, deviation = np.array([0.485, 0.456, 0.406]) @ LUMA, np.array([0.229, 0.224, 0.225]) @ LUMA
    assert float(image.mean()) == pytest.approx((0.5 - mean) / deviation, abs=0.02)


def test_hidden_files_are_no_images_and_hidden_folders_no_classes(tmp_path: Path) -> None:
    root = folders(tmp_path / ".hidden", picture(COLOUR))
    (root / "train" / ".ipynb_checkpoints").mkdir()
    (root / "train" / "a" / ".cache").mkdir()
    for name in ("._0.png", ".cache/0.png", "Thumbs.db", "notes.txt"):
        (root / "train" / "a" / name).write_bytes(b"no image")
    (root / "train" / "b" / "0.png").unlink()
    PALETTE.save(root / "train" / "b" / "0.GIF")
    data = ImageFolders(str(root), (3, 32, 32), batch_size=2, workers=0)
    data.setup()
    assert data.classes == 2
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [4, 2, 6]  # type: ignore[arg-type]
    seen = [data.splits[split][k] for split in ("train", "val") for k in range(2)]
    assert {label for _, label in seen} == {0, 1}


@pytest.mark.parametrize(
    ("classes", "moved", "message"),
    [
        (("a", "b", "c"), ("val/b", None), "differ in class 'b', which only train/ has$"),
        (("a", "b", "c"), ("train/b", None), "differ in class 'b', which only val/ has$"),
        (("Cat", "dog"), ("val/Cat", "val/cat"), r"differ in class 'Cat', which only train/ has.*'cat'"),
        (("a",), None, r"train holds 1 class folder; .*at least two"),
        ((), None, "no folder .*train"),
    ],
)
def test_classes_that_do_not_fit_are_refused(
    classes: tuple[str, ...], moved: tuple[str, str | None] | None, message: str, tmp_path: Path
) -> None:
    root = folders(tmp_path / "root", GREY8, classes)
    if moved:
        (root / moved[0]).rename(root / moved[1] if moved[1] else tmp_path / "away")
    with pytest.raises(UserError, match=message):
        ImageFolders(str(root), (3, 32, 32), batch_size=2, workers=0).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": (2, 32, 32)}, r"data.input_size is \[2, 32, 32\]; \[1 or 3,height,width\] is wanted"),
        ({"input_size": (3, 32)}, r"data.input_size is \[3, 32\]"),
        ({"crop_pct": 0.0}, r"data.crop_pct is 0.0; it must lie in \(0, 1\]"),
        ({"crop_pct": 1.2}, "data.crop_pct is 1.2"),
        ({"interpolation": "bicubik"}, "there is no data.interpolation 'bicubik'; did you mean 'bicubic'"),
        ({"mean": (0.5, 0.5)}, r"data.mean is \[0.5, 0.5\]; one value for each channel"),
        ({"std": (0.2, 0.0, 0.2)}, r"data.std is \[0.2, 0.0, 0.2\]"),
    ],
)
def test_wrong_settings_of_folders(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        ImageFolders(str(folders(tmp_path, GREY8)), **options)


# ---- data in memory, and of the user's own -------------------------------------------------------------------------


@given(st.integers(0, 2**31))
def test_luma_is_pillows(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    ours = with_channels(torch.from_numpy(values).permute(2, 0, 1)[None], 1)[0, 0].numpy()
    assert np.abs(ours.astype(int) - np.asarray(Image.fromarray(values).convert("L"))).max() <= 1


@pytest.mark.parametrize(("setting", "channels"), [("+model.kwargs.in_chans=3", 3), ("+model.kwargs.in_chans=null", 1),
                                                   ("model.input_size=[3,32,32]", 3)])  # fmt: skip
def test_digits_serve_three_channels(setting: str, channels: int, compose: Compose) -> None:
    experiment = Experiment.of(compose("debug=fdr", "model=timm", "model.name=test_resnet", setting))
    image = experiment.data.splits["test"][0][0]
    assert image.shape == (channels, 32, 32)
    assert torch.equal(image[0], image[-1])
    assert experiment.model_arguments["in_chans"] == channels
    assert experiment.network.eval()(image[None]).shape == (1, 10)


class Colours(Cifar10):
    """Made up here."""

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        labels = torch.arange(240) % 10
        return with_values(labels * 9), labels


def with_values(red: Tensor) -> Tensor:
    """(n, 3, 32, 32) bytes; green is twice red, blue 7."""
    return (
        torch.stack([red, 2 * red, torch.full_like(red, 7)], 1).to(torch.uint8)[:, :, None, None].expand(-1, -1, 32, 32)
    )


def test_colour_images_serve_one_channel() -> None:
    data = Colours("nowhere", batch_size=8, augment=False)
    data.serve(1)
    data.setup()
    split = data.splits["test"]
    assert isinstance(split, TensorImages)
    assert split.images.shape == (240, 1, 32, 32)
    luma = (0.299 * 9 + 0.587 * 18) * torch.arange(10) + 0.114 * 7
    right = (luma - luma.mean()) / luma.std(correction=0)
    assert split.images[:10, 0, 0, 0].numpy() == pytest.approx(right.numpy(), abs=0.03)


class Own(ImageData):
    """A user's own data module."""

    def __init__(
        self, sample: Any = None, classes: int = 2, splits: tuple[str, ...] = ("train", "val", "test")
    ) -> None:
        super().__init__("own", classes, (1, 8, 8), 2, 0, 0)
        self.sample, self.names = sample, splits

    def load(self) -> dict[str, Dataset[Any]]:
        return {name: [self.sample] * 4 for name in self.names}  # type: ignore[misc]


IMAGE = torch.zeros(1, 8, 8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Own((IMAGE, 0), classes=1), "own has 1 class; a classifier needs at least two"),
        (Own((IMAGE, 0), splits=("train", "test")), "own has no images in its val split"),
        (Own(IMAGE), "own gives a torch.Tensor; pairs"),
        (Own({"image": IMAGE}), "own gives a dict; pairs"),
        (Own((IMAGE.double(), 0)), "own gives images of torch.float64; torch.float32 is wanted"),
        (Own((IMAGE.to(torch.uint16), 0)), "own gives images of torch.uint16"),
        (Own((GREY8, 0)), "own gives a PIL.Image.Image for an image; a tensor is wanted"),
        (Own((IMAGE.expand(3, 8, 8), 0)), r"own gives an image of \[3, 8, 8\], and its input_size is \[1, 8, 8\]"),
        (Own((IMAGE, 2)), "own has a label 2; it has 2 classes, from 0 to 1"),
        (Own((IMAGE, -1)), "own has a label -1"),
        (Own((IMAGE, 0.5)), r"own gives labels of torch\.float"),
        (Own((IMAGE, [0, 1])), r"own gives labels of torch.int64 and shape \[2\]"),
        (Own((IMAGE, "cat")), "own gives labels such as 'cat'; whole numbers"),
    ],
    ids=lambda value: None if isinstance(value, Own) else value[:40],
)
def test_data_that_a_network_could_not_learn_from_is_refused(data: Own, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        data.setup()
    assert "\n" not in str(caught.value)


def test_data_without_a_length_is_refused() -> None:
    class Stream(Own):
        def load(self) -> dict[str, Dataset[Any]]:
            return {name: iter(()) for name in self.names}  # type: ignore[misc]

    with pytest.raises(UserError, match="own's train split has no length; give it __len__ and __getitem__"):
        Stream().setup()


def test_labels_of_any_integer_type_are_taken() -> None:
    data = Own((IMAGE, torch.tensor(1, dtype=torch.uint8)))
    data.setup()
    assert next(iter(data.train_dataloader()))[1].tolist() == [1, 1]
    assert next(iter(data.train_dataloader()))[1].dtype == torch.int64


def test_a_later_image_that_does_not_fit_is_refused_too(compose: Compose) -> None:
    data = Own((IMAGE, 0))
    data.setup()
    data.splits["val"][3] = (IMAGE, 5)  # type: ignore[index]
    with pytest.raises(UserError, match="own has a label 5"):
        list(data.val_dataloader())
    with pytest.raises(UserError, match="own has a label 5"):
        list(data.images("val", nn.Linear(1, 1)))


def test_channels_and_classes_of_the_network_are_those_of_the_data(compose: Compose) -> None:
    with pytest.raises(UserError, match="own gives images of 1 channel, and the network takes 3; leave model"):
        Own((IMAGE, 0)).serve(3)
    with pytest.raises(UserError, match="digits gives images of 1 channel, and the network takes 4"):
        Digits().serve(4)
    net = ("debug=fdr", "model=timm", "model.name=test_resnet")
    with pytest.raises(UserError, match=r"model\.kwargs\.num_classes is 5, but digits has 10; leave it out"):
        Experiment.of(compose(*net, "+model.kwargs.num_classes=5")).dense_network()


def test_an_estimate_takes_the_channels_of_the_network(compose: Compose) -> None:
    net = ("model=timm", "model.name=test_resnet", "+model.kwargs.in_chans=1")

    def shape(*more: str) -> tuple[int, ...]:
        config = compose(*net, *more, config_name="estimate", logger=False)
        return EstimateExperiment.of(config).workload.input_shape

    assert shape()[0] == shape("model.input_size=[1,32,32]")[0] == 1
    with pytest.raises(UserError, match=r"model\.kwargs\.in_chans is 1, but images have 3 channels"):
        shape("model.input_size=[3,32,32]")


def test_a_simulation_plays_images_of_the_runs_channels() -> None:
    result = Result.load(DATA / "schema1")
    model = replace(result.model, arguments={**result.model.arguments, "in_chans": 3})
    data = _data_of(replace(result, model=model), DATA)
    assert next(data.images("val", nn.Linear(1, 1), images=2)).shape == (2, 3, 32, 32)


def test_idx_files_of_other_data_are_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for stem in ("train", "t10k"):
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte", random.integers(0, 256, (260, 28, 28)))
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte", np.arange(260) % 26)  # letters
    with pytest.raises(UserError, match="fashion_mnist has a label 10; it has 10 classes"):
        FashionMnist(str(tmp_path), batch_size=16).setup()
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(260) // 259)  # one of a class
    with pytest.raises(UserError, match="260 training images cannot be split for validation"):
        FashionMnist(str(tmp_path), batch_size=16).setup()
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((260, 784)))
    with pytest.raises(UserError, match="train images have 2 axes and labels 1, not 3 and 1"):
        FashionMnist(str(tmp_path), batch_size=16).setup()


def test_bytes_with_a_sign_are_refused(tmp_path: Path) -> None:
    """Pillow would read −128…127 as 128…255, 0…127."""
    path = tmp_path / "signed.tif"
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path, tiffinfo={339: 2})
    with pytest.raises(UserError, match=r"signed\.tif holds numbers with a sign"):
        read_image(str(path))


@pytest.mark.filterwarnings("error")
def test_a_large_image_that_is_decoded_gives_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)  # an error beyond twice that
    assert read_image(str(tmp_path / "large.png")).size == (64, 64)
