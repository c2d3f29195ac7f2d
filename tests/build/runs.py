"""A finished run of a toy, made without a search: what building reads, no more."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from hass_train.export.design import DESIGN, save_design
from hass_train.hardware import DataflowAccelerator, DataflowOptions, SparsityProfile, load_device
from hass_train.hardware.dataflow.design import design_of
from hass_train.results.result import (
    DataInfo,
    DenseNetwork,
    HardwareInfo,
    NaturalNetwork,
    NetworkInfo,
    Outcome,
    Result,
    SparseNetwork,
    Spent,
)
from tests.build.toys import SIZE, toy

DATA = {"_target_": "hass_train.data.Digits", "batch_size": 8, "workers": 0, "seed": 0, "size": SIZE, "augment": False}


def finished(folder: Path, hw: str = "ecp5_25k", name: str = "plain") -> Path:
    """Write the files of a run that searched a toy on a device, and return its directory."""
    folder.mkdir(parents=True)
    workload, network = toy(name)
    device, options = load_device(hw), DataflowOptions(tolerance=0.05, partitions="never", max_replicas=1, max_pixels=1)
    estimate = DataflowAccelerator(device, options).estimate(workload, SparsityProfile.dense(workload))
    save_design(
        folder / DESIGN, design_of(workload, estimate, {**asdict(device), **asdict(options)}), workload, estimate
    )
    network.save(folder)
    Result(
        "learned", NetworkInfo(name, 1, workload.macs, workload.input_shape, {"in_chans": 3}), HardwareInfo(hw),
        DataInfo("digits"), DenseNetwork(0.5, 0.5, estimate), NaturalNetwork(0.1, estimate),
        SparseNetwork(0.5, 0.5, 0.5, 0.5, 0.5, estimate), Outcome("penalty", 0.1, "penalty", None, None, "lut"),
        Spent(), {}, 0, {"data": DATA, "precision": {"_target_": "hass_train.precision.Precision"}},
    ).save(folder / "result.json")  # fmt: skip
    return folder
