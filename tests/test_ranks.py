"""Several processes that train together."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn

from hass_train.hardware import SparsityProfile
from hass_train.runtime import ranks
from hass_train.sparsity import LayerRule, Mode, calibrate, sparse_layers, sparsify
from tests.chaos.kills import TINY, Search, numbers
from tests.conftest import shared

PROCESSES = 2


def pruned() -> nn.Module:
    """A small network with masks, the same in every process."""
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.Hardswish(),
        nn.Conv2d(6, 5, 1), nn.Flatten(), nn.Linear(20, 4),
    )  # fmt: skip
    sparsify(model, {"all": LayerRule("*")})
    for _, layer in sparse_layers(model):
        layer.activation_scale.fill_(0.3)
        layer.set_mode(Mode.SEARCH)
        with torch.no_grad():
            layer.weight_threshold.fill_(0.0)
        layer.set_mode(Mode.FROZEN)
    return model.eval()


def measure(rank: int, images: torch.Tensor, folder: str) -> None:
    """What one of the processes does."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=PROCESSES)
    mine = images.chunk(PROCESSES)[rank]
    profile = calibrate(pruned(), mine.split(17), together=True)
    mean = ranks.averaged([torch.tensor(float(rank)), torch.tensor(1.0)])
    told = ranks.from_first(lambda: {"rank": ranks.rank()})
    with pytest.raises(RuntimeError, match="masks differ"):
        ranks.check_same([torch.tensor(rank)], "masks")
    ranks.check_same([torch.tensor(5)], "masks")
    Path(folder, f"{rank}.json").write_text(json.dumps([profile.to_dict(), [float(one) for one in mean], told]))
    distributed.destroy_process_group()


def test_processes_measure_together_what_one_measures_alone(tmp_path: Path) -> None:
    images = torch.randn(68, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    multiprocessing.spawn(measure, (images, str(tmp_path)), nprocs=PROCESSES)
    whole = calibrate(pruned(), images.split(17))
    for rank in range(PROCESSES):
        found, mean, told = json.loads((tmp_path / f"{rank}.json").read_text())
        profile = SparsityProfile.from_dict(found)
        assert mean == [0.5, 1.0]
        assert told == {"rank": 0}
        for name, layer in whole.layers.items():
            other = profile.layers[name]
            assert other.pair_density == pytest.approx(layer.pair_density, abs=1e-6)
            assert other.weight_density == layer.weight_density
            assert other.activation_density == pytest.approx(layer.activation_density, abs=1e-6)
            for one in ("channel_densities", "channel_activations"):
                assert getattr(other, one) == pytest.approx(getattr(layer, one), abs=1e-6)
            for found, histograms in (
                (other.histograms, layer.histograms), (other.activation_histograms, layer.activation_histograms)
            ):  # fmt: skip
                assert found.keys() == histograms.keys()
                for bundle, histogram in histograms.items():
                    assert found[bundle] == pytest.approx(histogram, abs=1e-6)
            assert other.lanes == layer.lanes


def overrides(strategy: str, keep: Path) -> tuple[str, ...]:
    """A search in two processes, each of which keeps what it froze."""
    return (
        *TINY, "trainer=ddp_sim", f"+callbacks.keep={{_target_: tests.keep.Keep, folder: {keep}}}",
        f"trainer.strategy={strategy}_find_unused_parameters_true",
    )  # fmt: skip


@dataclass(frozen=True)
class Told:
    """A finished search of two processes.

    Args:
        folder: of the run; beside it is what its processes kept.
        lines: that it printed.
    """

    folder: Path
    lines: list[str]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One that nobody stopped."""

    def start(base: Path) -> None:
        search = Search(base, "run", overrides("ddp", base))
        assert search.end() == 0, search.lines[-20:]
        (base / "told.json").write_text(json.dumps(search.lines))

    base = shared(tmp_path_factory, "ranks", start)
    return Told(base / "run", json.loads((base / "told.json").read_text()))


def check_same_masks(search: Search | Told, keep: Path) -> None:
    """Both processes froze the same, and one of them wrote it."""
    one, other = (torch.load(keep / f"rank{rank}.pt", weights_only=True) for rank in range(PROCESSES))
    assert one["controller"] == other["controller"]
    assert one["controller"]["seen"] > 0
    for name, tensors in one["layers"].items():
        for mine, theirs in zip(tensors, other["layers"][name], strict=True):
            assert torch.equal(mine, theirs), name
    result = json.loads((search.folder / "result.json").read_text())
    assert result["sparse"]["weight_sparsity"] > 0
    assert result["spent"]["images"] == 4 * 6 * 32 * PROCESSES
    masks = torch.load(search.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(masks[f"model.{name}.mask"], tensors[0]) for name, tensors in one["layers"].items())


def test_processes_end_with_the_same_masks(whole: Told) -> None:
    assert sum("goal: " in line for line in whole.lines) == 1  # one of them speaks
    check_same_masks(whole, whole.folder.parent)


@pytest.mark.nightly
def test_spawned_processes_do_the_same_even_stopped(whole: Told, tmp_path: Path) -> None:
    first = Search(tmp_path, "first", overrides("ddp_spawn", tmp_path))
    first.wait_for(lambda: first.said("4/10 search"))
    first.process.send_signal(signal.SIGTERM)
    assert first.end() == 128 + signal.SIGTERM, first.lines[-20:]
    search = Search(tmp_path, "run", (*overrides("ddp_spawn", tmp_path), "ckpt_path=last"))
    assert search.end() == 0, search.lines[-20:]
    check_same_masks(search, tmp_path)
    assert numbers(search.folder) == numbers(whole.folder)


@pytest.mark.nightly
def test_processes_stop_together_and_go_on(whole: Told, tmp_path: Path) -> None:
    first = Search(tmp_path, "first", overrides("ddp", tmp_path))
    first.wait_for(lambda: first.said("4/10 search"))
    os.killpg(first.process.pid, signal.SIGINT)  # as a terminal does: every process is told
    assert first.end() == 128 + signal.SIGINT, first.lines[-20:]
    assert sum("go on with:" in line for line in first.lines) == 1
    second = Search(tmp_path, "second", (*overrides("ddp", tmp_path), "ckpt_path=last"))
    assert second.end() == 0, second.lines[-20:]
    assert numbers(second.folder) == numbers(whole.folder)
