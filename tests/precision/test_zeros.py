"""What is rounded to zero is a zero: profiles and simulations count the zeros of the integers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hass_train.precision import IntegerNetwork, Precision, integer_graph, quantise, quantisers_of
from hass_train.precision.graph import LAYERS
from hass_train.precision.nonzeros import integer_nonzeros
from hass_train.sparsity import Channel, LayerRule, Mode, SparseLayer, calibrate, sparse_layers, sparsify
from hass_train.sparsity.nonzeros import observe_nonzeros
from tests.precision.networks import TOYS, Convolutions, images, quantised, settled

SIZE = 14


@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("name", ["convolutions", "sums", "gates"])
def test_profiles_have_the_densities_of_the_integers(name: str, bits: int) -> None:
    torch.manual_seed(0)
    model = quantised(TOYS[name](), SIZE, Precision(weight_bits=bits), weights=0.1)
    network, batch = IntegerNetwork.of(model), images(6, SIZE, 5)
    profile, values = calibrate(model, [batch[:4], batch[4:]]), network.values(batch)
    masks = {
        operation: layer.mask for _, layer in sparse_layers(model) for operation in layer.operations
    }  # fmt: skip
    rounded = 0
    for one in network.operations:
        if one.kind not in LAYERS or one.name not in profile.layers:
            continue
        weight, seen = network.tensors[f"{one.name}.weight"], profile.layers[one.name]
        x = (one.gated(values[one.inputs[0]]) != 0).double()
        present = (weight != 0).double()
        assert seen.weight_density == pytest.approx(float(present.mean()))
        assert not bool(present[~masks[one.name]].any())
        rounded += int(masks[one.name].sum() - present.sum())
        assert seen.activation_density == pytest.approx(float(x.mean()))
        assert seen.filter_nonzeros == tuple(present.flatten(1).sum(1).int().tolist())
        if weight.dim() == 4:
            pairs = F.conv2d(F.pad(x, one.padding), present, None, one.stride, 0, one.dilation, one.groups)
        else:
            pairs = F.linear(x, present)
        assert seen.pair_density == pytest.approx(float(pairs.mean()) / weight[0].numel())
    assert rounded > 0 or bits == 8


def test_a_network_that_does_not_round_yet_has_its_own_zeros() -> None:
    torch.manual_seed(0)
    model = settled(Convolutions(), SIZE)
    graph = integer_graph(model, (3, SIZE, SIZE))
    sparsify(model, {"all": LayerRule("*")}, None, graph.workload)
    before = calibrate(model, [images(2, SIZE)])
    quantise(model, graph, Precision(weight_bits=2))
    assert calibrate(model, [images(2, SIZE)]) == before


def test_filters_that_are_rounded_to_zero_are_not_dead() -> None:
    """Their biases are not zero: the channels that they make are."""
    torch.manual_seed(0)
    model = settled(Convolutions(), SIZE)
    graph = integer_graph(model, (3, SIZE, SIZE))
    sparsify(model, {"all": LayerRule("*")}, Channel(), graph.workload)
    layer = model.depthwise
    assert isinstance(layer, SparseLayer)
    for one in (one for _, one in sparse_layers(model)):
        one.set_mode(Mode.FROZEN)
    layer.weight.detach()[2] = 0
    layer.mask[2] = False
    layer.synchronize()
    quantisers = quantise(model, graph, Precision())
    quantisers.calibrate([images(4, SIZE)])
    quantisers.weight_exponents[quantisers._filters["depthwise"]][5] = 10
    assert not bool(layer.stored_weight("depthwise")[5].any())
    found = calibrate(model, [images(2, SIZE)]).layers["depthwise"].structure
    assert found is not None
    assert found.dead_filters == (2,)


@pytest.mark.parametrize("name", ["convolutions", "sums", "gates"])
def test_simulations_play_the_zeros_of_the_integers(name: str) -> None:
    torch.manual_seed(0)
    model = quantised(TOYS[name](), SIZE, Precision(weight_bits=4))
    quantisers, batch = quantisers_of(model), images(3, SIZE, 5)
    assert quantisers is not None
    workload = quantisers.graph.workload
    layers = [one.name for one in workload.compute_layers if one.name != "same"]  # of one that pads by itself below
    ours = integer_nonzeros(IntegerNetwork.of(model), layers, batch)
    theirs = observe_nonzeros(model, workload, layers, batch)
    for layer in layers:
        for one, other in zip(vars_of(ours[layer]), vars_of(theirs[layer]), strict=True):
            assert (one == other).all(), layer
    with pytest.raises(ValueError, match="no layer 'steem'"):
        integer_nonzeros(IntegerNetwork.of(model), ["steem"], batch)


def vars_of(found: object) -> list[torch.Tensor]:
    """The arrays of non-zero words."""
    return [torch.from_numpy(getattr(found, name)) for name in ("activations", "weights")]
