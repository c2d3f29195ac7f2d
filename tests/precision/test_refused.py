"""What has no integer meaning is refused by name, and so are bits that there cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.precision import Precision, PrecisionRule, integer_graph
from hass_train.runtime.errors import UserError
from tests.precision.networks import Convolutions, Pointwise


class Circular(nn.Module):
    """A network whose padding repeats the map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (1, 1, 1, 1), mode="reflect"))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: timm.create_model("vit_tiny_patch16_224", img_size=32), r"'\w+' .*no integer meaning .*=float"),
        (lambda: timm.create_model("convnext_atto"), r"'layer_norm' has no integer meaning \(node .* in .*\)"),
        (lambda: Pointwise(lambda x: x * 2), r"'mul' with a constant has no integer meaning"),
        (lambda: Pointwise(lambda x: torch.add(x, x, alpha=2)), r"'add' with a factor has no integer meaning"),
        (lambda: Pointwise(lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)), r"'avg_pool2d' of windows"),
        (lambda: Pointwise(lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True)), r"'avg_pool2d' of windows"),
        (Circular, r"'pad' that pads by reflect has no integer meaning"),
    ],
)  # fmt: skip
def test_what_has_no_integer_meaning_is_refused(make: Callable[[], nn.Module], told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        integer_graph(make(), (3, 32, 32))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"weight_bits": 1}, r"precision.weight_bits is 1; it must be a whole number from 2 to 16"),
        ({"weight_bits": 17}, r"precision.weight_bits is 17"),
        ({"activation_bits": 7.5}, r"precision.activation_bits is 7.5; it must be a whole number"),
        ({"accumulator_bits": 64}, r"precision.accumulator_bits is 64; .* from 16 to 48"),
        ({"rules": {"a": PrecisionRule("*", weight_bits=0)}}, r"precision.rules.a.weight_bits is 0"),
    ],
)
def test_bits_out_of_range_are_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Precision(**given)  # type: ignore[arg-type]


def test_a_rule_that_matches_nothing_is_refused() -> None:
    model = Convolutions()
    workload = integer_graph(model, (3, 14, 14)).workload
    with pytest.raises(UserError, match=r"precision.rules.a matches no layer \('steem'\); layers are stem, depthwise"):
        Precision(rules={"a": PrecisionRule("steem", weight_bits=4)}).of_layers(model, workload)
    Precision(rules={"a": PrecisionRule("*.se.*", weight_bits=4)}).of_layers(model, workload)
