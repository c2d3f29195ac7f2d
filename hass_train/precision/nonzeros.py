"""The non-zero words that an integer network's layers read, for the simulator."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn import functional as F

from hass_train.hardware.dataflow.simulator.packing import NonZeros
from hass_train.precision.graph import Kind
from hass_train.precision.integer_network import IntegerNetwork


def integer_nonzeros(network: IntegerNetwork, layers: Iterable[str], images: Tensor) -> dict[str, NonZeros]:
    """Run an integer network on images, and note which words are not zero.

    Args:
        network: the network.
        layers: the names of the compute layers to look at.
        images: (n, channels, height, width).

    Returns:
        The non-zero words by layer, as `hass_train.sparsity.nonzeros.observe_nonzeros` has them.

    Raises:
        ValueError: the network has no layer of a given name.
    """
    values, found = network.values(images), dict[str, NonZeros]()
    operations = {one.name: one for one in network.operations}
    for name in layers:
        if name not in operations:
            raise ValueError(f"the integer network has no layer {name!r}")
        one, weight = operations[name], network.tensors[f"{name}.weight"]
        x = one.gated(values[one.inputs[0]])
        convolves = one.kind is Kind.CONV
        read = F.pad(x, one.padding).movedim(1, -1) if convolves else x.reshape(len(x), 1, -1, x.shape[-1])
        kernels = (weight != 0).reshape(*weight.shape[:2], *(weight.shape[2:] or (1, 1)))
        found[name] = NonZeros((read != 0).contiguous().numpy(), kernels.numpy())
    return found
