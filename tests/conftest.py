"""Shared fixtures: the real configuration, shrunk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["WANDB_MODE"] = "offline"
os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # commands that tests start, too: threads that wait for each other's turn spin
    os.environ["OMP_NUM_THREADS"] = "1"

import hydra
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from omegaconf import DictConfig, OmegaConf, open_dict

from hass_train.cli import CONFIG_DIR
from tests.chaos.kills import MARGIN, NETWORK

settings.register_profile("suite", deadline=None, max_examples=40, print_blob=True)
settings.register_profile("nightly", settings.get_profile("suite"), max_examples=300)
settings.load_profile("suite")  # `--hypothesis-profile=nightly` chooses the other
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)

DATA = Path(__file__).parent / "data"

Compose = Callable[..., DictConfig]
WITHOUT_LUTS = ("hw.limits=[dsp,bram18,uram,bandwidth]", "search.default_density=0.7")
"""Where LUTs bind, hardly any sparsity that a few batches can learn makes this network faster."""
ROOT = Path(__file__).resolve().parent.parent
SMALL = (
    *NETWORK, "search.warmup.epochs=2", "search.search.epochs=3", "search.recover.epochs=2", "search.queries=6",
    "search.distill=0.3", "search.learning_steps=4",
)  # fmt: skip
"""Every phase, with what else could be lost: dropout, a teacher, queries within epochs, thresholds that rest."""
SHORT = ("debug=limit", "search.recover.epochs=2", "trainer.limit_val_batches=1.0", "trainer.limit_test_batches=1.0")


def composed(
    *overrides: str, output: Path, config_name: str = "search", logger: bool = True, hardware: bool = True
) -> DictConfig:
    """The real configuration with overrides, for a run in a directory, logging to CSV alone unless they say otherwise.

    Args:
        overrides: of the configuration.
        output: run directory; studies and `ckpt_path=last` look beside it.
        config_name: `search` or `train`.
        logger: whether the overrides may choose loggers.
        hardware: whether to ask the dataflow model for rough answers.
    """
    with hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        chosen = not logger or any(o.startswith("logger") for o in overrides)
        # proofs of the optimum, reports, and goals met to a per cent have tests of their own
        quick = ["report=false", MARGIN] if config_name == "search" else []
        if config_name == "search" and hardware and not any(o.startswith("hw=aie") for o in overrides):
            quick.append("hw.tolerance=0.02")
        config = hydra.compose(config_name, [*([] if chosen else ["logger=csv"]), *quick, *overrides])
    with open_dict(config):
        config.paths.output = str(output)
        if config.paths.runs == "runs":
            config.paths.runs = str(output.parent)
    OmegaConf.set_struct(config, True)
    return config


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    """`composed`, writing below tmp_path."""

    def build(
        *overrides: str, config_name: str = "search", output: Path = tmp_path / "run", logger: bool = True
    ) -> DictConfig:
        return composed(*overrides, output=output, config_name=config_name, logger=logger)

    return build


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all workers of the suite share: the first one that wants it makes it, and all only read.

    Args:
        factory: of pytest's temporary folders.
        name: of the folder.
        make: fills it, in the one process that comes first; what it raises fails the others at once.
    """
    base = factory.getbasetemp()
    base = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    base.mkdir(exist_ok=True)
    folder, failed = base / name, base / f"{name}.failed"
    with FileLock(base / f"{name}.lock"):
        if failed.is_file():
            pytest.fail(f"{name} could not be made: {failed.read_text()}")
        if not folder.is_dir():
            folder.mkdir()
            try:
                make(folder)
            except BaseException as error:
                failed.write_text(f"{type(error).__name__}: {error}")
                raise
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One end-to-end run of search.py as a user starts it."""

    def start(base: Path) -> None:
        command = [sys.executable, "search.py", *SHORT, *WITHOUT_LUTS, MARGIN, "simulate=true", "hw.tolerance=0.02"]
        command.append(f"hydra.run.dir={base / 'run'}")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        (base / "told.json").write_text(json.dumps([done.args, done.returncode, done.stdout, done.stderr]))

    base = shared(tmp_path_factory, "end_to_end", start)
    return base / "run", subprocess.CompletedProcess(*json.loads((base / "told.json").read_text()))


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small search, every phase of it, that nobody stopped."""
    base = shared(tmp_path_factory, "unbroken", lambda base: run_small(base / "run"))
    return base / "run"


def run_small(folder: Path, *overrides: str) -> None:
    """Run the small search, in this process."""
    from hass_train import pipeline  # late: it imports much that the hardware's tests do not need

    pipeline.search(composed(*SMALL, *overrides, output=folder))


@pytest.fixture(scope="session")
def peer() -> dict[str, Any]:
    """Rows computed by the peer's public model."""
    return json.loads((DATA / "peer_layers.json").read_text())
