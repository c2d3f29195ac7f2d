"""Weights that a network starts from: no file is loaded in part without a word, whoever wrote it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.optim.swa_utils import AveragedModel

from hass_train.export.initial import initialise
from hass_train.export.weights import plain_state
from hass_train.runtime.errors import UserError
from hass_train.sparsity import LayerRule, sparsify


def network(seed: int, classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("test_resnet", num_classes=classes)  # type: ignore[no-any-return]


def equal(one: nn.Module, other: nn.Module) -> list[str]:
    """The weights that two networks have in common."""
    theirs = plain_state(other)
    return [name for name, value in plain_state(one).items() if torch.equal(value, theirs[name])]


class Plain(pl.LightningModule):
    """Somebody's module, whose network is called `net`, beside a loss with weights and a metric."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.loss = net, nn.CrossEntropyLoss(torch.ones(10))


def below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def lightning(net: nn.Module) -> dict[str, Any]:
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}
    return {"epoch": 3, "state_dict": Plain(net).state_dict(), "optimizer_states": [optimizer], "loops": {}}


FORMS: dict[str, Callable[[nn.Module], dict[str, Any]]] = {
    "raw": lambda net: net.state_dict(),
    "timm": lambda net: {
        "epoch": 7, "arch": "test_resnet", "state_dict": net.state_dict(), "version": 2, "metric": np.float64(71.2),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}}, "args": argparse.Namespace(lr=0.1),
    },
    "timm EMA": lambda net: {
        "state_dict": network(5).state_dict(), "state_dict_ema": ModelEmaV3(net).module.state_dict(),
    },
    "model": lambda net: {"model": net.state_dict(), "epoch": 1},
    "model_state_dict": lambda net: {"model_state_dict": net.state_dict(), "loss": 0.1},
    "DDP": lambda net: below("module.", net.state_dict()),
    "DDP in a wrapper": lambda net: {"state_dict": below("module.", net.state_dict()), "arch": "x"},
    "compiled": lambda net: torch.compile(net).state_dict(),
    "compiled in part": lambda net: {
        name.replace("layer1.", "layer1._orig_mod."): value for name, value in net.state_dict().items()
    },
    "DDP of a compiled one": lambda net: below("module._orig_mod.", net.state_dict()),
    "Lightning": lightning,
    "averaged": lambda net: AveragedModel(net).state_dict(),
    "without counts": lambda net: {
        name: value for name, value in net.state_dict().items() if "num_batches" not in name
    },
    "half": lambda net: {name: value.half() for name, value in net.state_dict().items() if value.is_floating_point()},
    "sparse": lambda net: sparsify(net, {"all": LayerRule("*")}).state_dict(),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_all_weights_are_loaded_whatever_is_around_them(form: str, tmp_path: Path) -> None:
    theirs, mine = network(1), network(2)
    whole = len(theirs.state_dict())
    torch.save(FORMS[form](theirs), tmp_path / "w.pth")
    loaded = initialise(mine, tmp_path / "w.pth")
    counts = sum("num_batches" in name for name in mine.state_dict())
    wanted = whole - (counts if form in ("without counts", "half") else 0)
    assert len(loaded.names) == wanted
    assert loaded.words().startswith(f"init_from: {wanted} of {whole} weights from {tmp_path / 'w.pth'}")
    if form != "half":
        assert len(equal(mine, theirs)) == whole
    for name, value in plain_state(theirs).items():
        assert torch.allclose(plain_state(mine)[name], value, rtol=1e-3, atol=1e-6), name


def test_fsdp_puts_the_prefix_that_is_taken_away() -> None:
    from torch.distributed.fsdp._common_utils import FSDP_PREFIX

    assert FullyShardedDataParallel is not None
    mine = network(2)
    assert len(initialise(mine, {FSDP_PREFIX + k: v for k, v in network(1).state_dict().items()}).missing) == 0


def test_safetensors_and_our_own_sparse_network(tmp_path: Path) -> None:
    theirs, mine = network(1), sparsify(network(2), {"all": LayerRule("*")})
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    assert len(initialise(mine, str(tmp_path / "w.safetensors")).names) == len(theirs.state_dict())
    assert equal(mine, theirs) == list(theirs.state_dict())


def without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name not in names}


def spoiled(value: float) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {**state, "layer1.0.conv1.weight": torch.full_like(state["layer1.0.conv1.weight"], value)}


REFUSED: list[tuple[Callable[[dict[str, Tensor]], dict[str, Any]], str]] = [
    (lambda state: {}, "holds no weights"),
    (lambda state: {"state_dict": {}}, "holds no weights"),
    (lambda state: {"a.b": torch.zeros(2)}, r"has 0 of the network's \d+ weights; without .*; is it another model\?"),
    (lambda state: without(state, "fc.bias"), r"without 'fc\.bias'.*init_head=false"),
    (
        lambda state: {**without(state, "conv1.0.weight"), "conv1.0.weigth": state["conv1.0.weight"]},
        r"without 'conv1\.0\.weight' \(the nearest there is 'conv1\.0\.weigth'\).*in excess.*init_strict=false",
    ),
    (lambda state: {**state, "fc2.weight": torch.zeros(3)}, r"'fc2\.weight' in excess"),
    (
        lambda state: {**state, "fc.weight": torch.zeros(1000, 96), "fc.bias": torch.zeros(1000)},
        r"another shape of 'fc\.weight': \[1000, 96\] there, \[10, 96\] here; init_head=false leaves",
    ),
    (spoiled(float("nan")), "numbers in 'layer1.0.conv1.weight' that are not finite"),
    (spoiled(float("inf")), "not finite"),
    (
        lambda state: {name: value.double() * 1e200 for name, value in state.items() if value.is_floating_point()},
        "not finite",  # in single precision
    ),
    (lambda state: {**state, "fc.weight": state["fc.weight"].to(torch.int8)}, "torch.int8"),
    (
        lambda state: {**below("student.", state), **below("semantic.", {k: v + 1 for k, v in state.items()})},
        r"holds the network twice",  # no moving average, although it has "ema" in its name
    ),
    (lambda state: {**state, "fc.weight": state["fc.weight"].to(torch.float8_e4m3fn)}, "as torch.float8_e4m3fn"),
    (lambda state: {**state, "fc.weight": state["fc.weight"].to_sparse()}, "as torch.sparse_coo"),
    (lambda state: {**state, "fc.weight": state["fc.weight"].to("meta")}, "without its values"),
    (
        lambda state: {**below("student.", state), **below("teacher.", {k: v + 1 for k, v in state.items()})},
        r"holds the network twice, below '(student|teacher)\.' and .*init_prefix=",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_other_files_are_refused_and_nothing_is_loaded(
    change: Callable[[dict[str, Tensor]], dict[str, Any]], message: str, tmp_path: Path
) -> None:
    mine, before = network(2), network(2)
    torch.save(change(network(1).state_dict()), tmp_path / "w.pth")
    with pytest.raises(UserError, match=f"init_from: .*w.pth.*{message}") as told:
        initialise(mine, tmp_path / "w.pth")
    assert "\n" not in str(told.value)
    assert len(equal(mine, before)) == len(before.state_dict())


def test_a_head_of_other_classes_is_left_out_when_asked(tmp_path: Path) -> None:
    theirs, mine, before = network(1, 1000), network(2), network(2)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    loaded = initialise(mine, tmp_path / "w.pth", head=False)
    head = [name for name in mine.state_dict() if name.startswith("fc.")]
    assert (loaded.missing, loaded.unused) == ((), ())
    assert {*mine.state_dict()} - {*loaded.names} == {*head}
    assert "the classifier is left out" in loaded.words()
    assert all(torch.equal(mine.state_dict()[name], before.state_dict()[name]) for name in head)
    assert all(torch.equal(mine.state_dict()[name], theirs.state_dict()[name]) for name in loaded.names)


def test_a_prefix_may_be_said() -> None:
    one, two = network(1), network(3)
    both = {**below("student.", one.state_dict()), **below("teacher.", two.state_dict())}
    mine = network(2)
    assert initialise(mine, both, prefix="teacher").prefix == "teacher."
    assert len(equal(mine, two)) == len(two.state_dict())
    with pytest.raises(UserError, match=r"below 'techer\.'; did you mean 'teacher\.'"):
        initialise(mine, both, prefix="techer")
    with pytest.raises(UserError, match=r"below 'net\.'; leave it out"):
        initialise(mine, one.state_dict(), prefix="net")


class Shared(nn.Module):
    """One convolution under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 3, 1)
        self.b = self.a
        self.head = nn.Linear(3, 2)


def test_a_shared_layer_is_saved_and_loaded_under_both_names_or_one(tmp_path: Path) -> None:
    theirs, mine = Shared(), Shared()
    save_file(plain_state(theirs), tmp_path / "w.safetensors")
    assert len(initialise(mine, tmp_path / "w.safetensors").names) == 6
    assert torch.equal(mine.b.weight, theirs.a.weight)
    again, half = Shared(), {k: v for k, v in theirs.state_dict().items() if not k.startswith("a.")}
    initialise(again, half)
    assert torch.equal(again.a.weight, theirs.a.weight)
    with pytest.raises(UserError, match=r"different weights as 'a\.weight' and 'b\.weight'"):
        initialise(again, {**theirs.state_dict(), "a.weight": theirs.a.weight.detach() + 1})


NAMES = list(Shared().state_dict())


@given(
    dropped=st.sets(st.sampled_from(NAMES)),
    renamed=st.dictionaries(st.sampled_from(NAMES), st.text("abw.é", min_size=1, max_size=6), max_size=3),
    prefix=st.sampled_from(["", "module.", "state_dict.net.", "a.", "é."]),
    strict=st.booleans(),
)
def test_never_fewer_weights_are_loaded_than_said(
    dropped: set[str], renamed: dict[str, str], prefix: str, strict: bool
) -> None:
    """Over subsets of keys and renamings: what is not said to be loaded keeps its value, and strictly all is loaded."""
    torch.manual_seed(0)
    theirs, mine, before = Shared(), Shared(), Shared()
    before.load_state_dict(mine.state_dict())
    state = {prefix + renamed.get(k, k): v for k, v in theirs.state_dict().items() if k not in dropped}
    try:
        loaded = initialise(mine, state, strict=strict)
    except UserError:
        assert all(torch.equal(v, before.state_dict()[k]) for k, v in mine.state_dict().items())
        return
    for name in loaded.names:
        if (value := state.get(loaded.prefix + name)) is not None:
            assert torch.equal(mine.state_dict()[name], value)
    kept = [name for name in NAMES if torch.equal(mine.state_dict()[name], before.state_dict()[name])]
    assert {*loaded.names} == {*NAMES} - {*kept}
    if strict:
        assert kept == []
    assert f"{len(loaded.names)} of {len(loaded.names) + len(loaded.missing)} weights" in loaded.words()
