"""What a network's sparsity looks like to hardware: densities and histograms per layer, as plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Any

from hass_train.hardware.lanes import Lanes
from hass_train.hardware.structure import Structure
from hass_train.hardware.workload import Workload
from hass_train.runtime.errors import nearest


@dataclass(frozen=True, slots=True)
class LayerSparsity:
    """Sparsity of one compute layer.

    Args:
        weight_density: fraction of weights that are not zero.
        activation_density: fraction of input activations that are not zero (after the layer's threshold).
        pair_density: fraction of weight–activation pairs of which neither is zero, counting padding as zero.
        histograms: for some bundle sizes m, the probabilities of 0 … Kh·Kw·m non-zero pairs among the pairs of m
            input channels that meet one filter in one window. `m = Cg` is the whole dot product.
        channel_densities: for each of the C input channels in order (a linear layer's input features), the pair
            density of its own pairs: those over output pixels, kernel positions and the filters that read it. Channels
            have equally many pairs, so the mean is `pair_density`. Empty = unknown.
        lanes: how independent engines side by side are; None = unknown, taken as wholly independent.
        structure: where a pattern leaves the weights' zeros; None = anywhere.

    Raises:
        ValueError: a density outside [0, 1], or a histogram that is negative or does not sum to 1.
    """

    weight_density: float = 1.0
    activation_density: float = 1.0
    pair_density: float = 1.0
    histograms: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    channel_densities: tuple[float, ...] = ()
    lanes: Lanes | None = None
    structure: Structure | None = None

    def __post_init__(self) -> None:
        for name in ("weight_density", "activation_density", "pair_density"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}; it must lie in [0, 1]")
        for index, value in enumerate(self.channel_densities):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"channel_densities[{index}] is {value}; it must lie in [0, 1]")
        for bundle, histogram in self.histograms.items():
            if not all(0 <= probability <= 1 + 1e-6 for probability in histogram) or abs(sum(histogram) - 1) > 1e-6:
                raise ValueError(f"the histogram for {bundle} bundled channels is not a probability distribution")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data: the fields by name; the histograms' bundle sizes are strings."""
        return {
            "weight_density": self.weight_density,
            "activation_density": self.activation_density,
            "pair_density": self.pair_density,
            "histograms": {str(bundle): list(histogram) for bundle, histogram in self.histograms.items()},
            "channel_densities": list(self.channel_densities),
            "lanes": self.lanes.to_dict() if self.lanes else None,
            "structure": self.structure.to_dict() if self.structure else None,
        }

    @classmethod
    def from_dict(cls, data: Any) -> LayerSparsity:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a missing key, a wrong type, or what the constructor refuses; one line.
        """
        histograms = {}
        for bundle, histogram in _entry(data, "histograms", dict).items():
            if not (bundle.isascii() and bundle.isdecimal() and 1 <= len(bundle) <= 9 and int(bundle) > 0):
                raise ValueError(
                    f"histograms has the key {short(bundle)}; its keys must be numbers of bundled channels"
                )
            histograms[int(bundle)] = _fractions(histogram, f"histograms[{bundle}]")
        return cls(
            weight_density=_entry(data, "weight_density", float),
            activation_density=_entry(data, "activation_density", float),
            pair_density=_entry(data, "pair_density", float),
            histograms=histograms,
            channel_densities=_fractions(_entry(data, "channel_densities", list), "channel_densities"),
            lanes=Lanes.from_dict(data["lanes"]) if data.get("lanes") else None,
            structure=Structure.from_dict(data["structure"]) if data.get("structure") else None,
        )


_KINDS: dict[type, str] = {dict: "an object", list: "a list", float: "a number"}


def _entry(data: Any, key: str, kind: type) -> Any:
    """`data[key]`, of the kind wanted."""
    if not isinstance(data, dict):
        raise ValueError(f"{short(data)} is not an object with the key {key!r}")
    if key not in data:
        raise ValueError(f"{key!r} is missing")
    return _of_kind(data[key], kind, key)


def _of_kind(value: Any, kind: type, name: str) -> Any:
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or isinstance(value, bool):
        raise ValueError(f"{name} is {short(value)}; it must be {_KINDS[kind]}")
    return value


def _fractions(values: Any, name: str) -> tuple[float, ...]:
    """A list of numbers; whether they lie in [0, 1] is for the constructor to say."""
    listed = _of_kind(values, list, name)
    return tuple(_of_kind(value, float, f"{name}[{index}]") for index, value in enumerate(listed))


@dataclass(frozen=True)
class SparsityProfile:
    """Sparsity of all compute layers of a network, by layer name."""

    layers: Mapping[str, LayerSparsity]

    @classmethod
    def dense(cls, workload: Workload) -> SparsityProfile:
        """No zeros anywhere: what dense engines see."""
        return cls({layer.name: LayerSparsity() for layer in workload.compute_layers})

    @classmethod
    def uniform(cls, workload: Workload, pair_density: float, dense_layers: Iterable[str] = ()) -> SparsityProfile:
        """The same pair density in every layer but `dense_layers`; non-zero pairs binomial.

        Raises:
            ValueError: a density outside [0, 1], or a dense layer that the workload does not have.
        """
        dense = set(dense_layers)
        names = {layer.name for layer in workload.compute_layers}
        if unknown := sorted(dense - names):
            raise ValueError(
                f"{unknown[0]!r} is no compute layer of {workload.name}; did you mean {nearest(unknown[0], names)!r}?"
            )
        sparse = LayerSparsity(pair_density=pair_density)
        return cls({name: LayerSparsity() if name in dense else sparse for name in sorted(names)})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data: `{"layers": {name: …}}`."""
        return {"layers": {name: layer.to_dict() for name, layer in self.layers.items()}}

    @classmethod
    def from_dict(cls, data: Any) -> SparsityProfile:
        """The inverse of `to_dict`, exactly; other keys beside `layers` are ignored.

        Raises:
            ValueError: a missing key, a wrong type, a density outside [0, 1] or a histogram that is none; one line that
                names the layer.
        """
        layers = {}
        for name, layer in _entry(data, "layers", dict).items():
            try:
                layers[name] = LayerSparsity.from_dict(layer)
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from error
        return cls(layers)

    def check_covers(self, workload: Workload) -> None:
        """Raise ValueError, naming up to three layers, unless the profile covers exactly the compute layers."""
        wanted = {layer.name for layer in workload.compute_layers}
        difference = sorted(wanted.symmetric_difference(self.layers))
        if difference:
            raise ValueError(
                f"the profile's layers do not match {workload.name}: {', '.join(difference[:3])}"
                + (f" and {len(difference) - 3} more" if len(difference) > 3 else "")
            )

    def pair_sparsity(self, workload: Workload) -> float:
        """1 − pair density, weighted by multiply-accumulates."""
        nonzero = sum(layer.macs * self.layers[layer.name].pair_density for layer in workload.compute_layers)
        return 1.0 - nonzero / sum(layer.macs for layer in workload.compute_layers)

    def weight_sparsity(self, workload: Workload) -> float:
        """1 − weight density, weighted by weights."""
        nonzero = sum(layer.weights * self.layers[layer.name].weight_density for layer in workload.compute_layers)
        return 1.0 - nonzero / workload.weights

    def activation_sparsity(self, workload: Workload) -> float:
        """1 − activation density, weighted by the words of each layer's input map."""
        words = sum(layer.source.words for layer in workload.compute_layers)
        nonzero = sum(
            layer.source.words * self.layers[layer.name].activation_density for layer in workload.compute_layers
        )
        return 1.0 - nonzero / words
