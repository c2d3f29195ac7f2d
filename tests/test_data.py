"""Data modules on the bundled digits and on small files made here."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hass_train.data import Cifar10, Digits, FashionMnist, ImageFolders
from hass_train.data.files import DEBIAN_FASHION_MNIST, read_idx
from hass_train.runtime.errors import UserError


def test_digits_are_split_once_and_for_all() -> None:
    one, two = Digits(seed=0), Digits(seed=1)
    one.setup()
    two.setup()
    sizes = {split: len(data) for split, data in one.splits.items()}  # type: ignore[arg-type]
    assert sizes == {"train": 1077, "val": 360, "test": 360}
    assert torch.equal(one.splits["test"].images, two.splits["test"].images)  # type: ignore[attr-defined]
    rows = [{tuple(i.flatten()[::37].tolist()) for i in data.images} for data in one.splits.values()]  # type: ignore[attr-defined]
    assert not rows[0] & rows[2]
    counts = torch.bincount(one.splits["test"].labels)  # type: ignore[attr-defined]
    assert counts.min() >= 34
    images, labels = next(iter(one.train_dataloader()))
    assert images.shape == (64, 1, 32, 32)
    assert labels.dtype == torch.long


def test_the_order_of_training_images_follows_the_seed() -> None:
    def first(seed: int) -> list[int]:
        data = Digits(seed=seed, augment=False)
        data.setup()
        return next(iter(data.train_dataloader()))[1].tolist()

    assert first(3) == first(3) != first(4)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UserError, match=r"data.batch_size is 2000, but digits has 1077 .* at most 1077"):
        Digits(batch_size=2000).setup()


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    raw = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_fashion_mnist_files(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(0)
    for stem, count in (("train", 240), ("t10k", 20)):
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte{suffix}", random.integers(0, 256, (count, 28, 28)))
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte{suffix}", np.arange(count) % 10)
    data = FashionMnist(str(tmp_path), batch_size=16, train_images=100)
    data.setup()
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [100, 20, 20]  # type: ignore[arg-type]
    images, _ = next(iter(data.train_dataloader()))
    assert images.shape == (16, 1, 32, 32)
    assert abs(float(data.splits["train"].images.mean())) < 0.05  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"hello", "no IDX file"),
        (b"", "no IDX file"),
        (b"\0\0\x08\x01\0\0\0\x09abc", "truncated"),
        (b"\0\0\x08\x03\0\0", "truncated"),
    ],
)
def test_broken_idx_files(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(raw)
    with pytest.raises(UserError, match=message):
        read_idx(path)


def test_missing_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hass_train.data.files.DEBIAN_FASHION_MNIST", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"data.root"):
        FashionMnist(str(tmp_path)).setup()


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist() -> None:
    data = FashionMnist("nowhere")
    data.setup()
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [55000, 5000, 10000]  # type: ignore[arg-type]


def test_cifar_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    random = np.random.default_rng(0)
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    for name in names:
        batch = {"data": random.integers(0, 256, (48, 3072), dtype=np.uint8), "labels": [k % 10 for k in range(48)]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / CIFAR10.meta["filename"]).write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    with pytest.raises(UserError, match=r"no intact cifar-10-batches-py"):
        Cifar10(str(tmp_path)).setup()  # torchvision verifies the real files' checksums
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = Cifar10(str(tmp_path), batch_size=8)
    data.setup()
    assert next(iter(data.train_dataloader()))[0].shape == (8, 3, 32, 32)


def make_folders(root: Path, classes: int = 3, each: int = 4) -> None:
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for k in range(each):
                Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{k}.png")


def test_image_folders(tmp_path: Path) -> None:
    make_folders(tmp_path)
    data = ImageFolders(str(tmp_path), input_size=(3, 32, 32), batch_size=4, workers=0)
    data.setup()
    assert data.classes == 3
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [9, 3, 12]  # type: ignore[arg-type]
    assert next(iter(data.train_dataloader()))[0].shape == (4, 3, 32, 32)


def test_missing_and_uneven_image_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder .*train"):
        ImageFolders(str(tmp_path))
    make_folders(tmp_path)
    (tmp_path / "val" / "class1").rename(tmp_path / "val" / "other")
    with pytest.raises(UserError, match="differ in class 'class1'"):
        ImageFolders(str(tmp_path), workers=0).setup()
