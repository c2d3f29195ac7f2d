"""The sparsity of a network as hardware sees it: densities and histograms of each layer, as plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Any

from hass_train.hardware.lanes import Lanes
from hass_train.hardware.structure import Structure
from hass_train.hardware.workload import Workload
from hass_train.runtime.errors import suggested

DENSITIES = ("pair_density", "weight_density", "activation_density")
"""The densities of a layer that engines gain from, and that have a price, by the names of `LayerSparsity`'s fields."""


@dataclass(frozen=True, slots=True)
class LayerSparsity:
    """The sparsity of one compute layer.

    Args:
        weight_density: fraction of weights that are not zero.
        activation_density: fraction of input activations that are not zero (after the layer's threshold).
        pair_density: fraction of weight–activation pairs of which neither is zero, counting padding as zero.
        histograms: by bundle size m, the probabilities of 0 … Kh·Kw·m non-zero pairs among the pairs of m input
            channels that meet one filter in one window. `m = Cg` is the whole dot product.
        channel_densities: for each of the C input channels (a linear layer's input features), the density of its own
            pairs, those over output pixels, kernel positions and the filters that read it. Channels have equally many
            pairs, so the mean is `pair_density`. Empty = unknown.
        lanes: how far compute engines side by side depend on each other; None = unknown, taken as independent.
        structure: where a pattern leaves zero weights; None = anywhere.
        activation_histograms: as `histograms`, of the non-zero activations in a window of m input channels, whatever
            weights they meet; counting padding as zero. Empty = unknown.
        filter_nonzeros: for each filter, group after group, how many of its weights are not zero. Empty = unknown, all
            are equally dense.
        channel_activations: as `channel_densities`, of the activations that are read, whatever weights they meet.
        activation_lanes: as `lanes`, of engines that skip zero activations; filters do not matter to them.

    Raises:
        ValueError: a density lies outside [0, 1], a histogram is negative or does not sum to 1, or a number of weights
            is negative.
    """

    weight_density: float = 1.0
    activation_density: float = 1.0
    pair_density: float = 1.0
    histograms: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    channel_densities: tuple[float, ...] = ()
    lanes: Lanes | None = None
    structure: Structure | None = None
    activation_histograms: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    filter_nonzeros: tuple[int, ...] = ()
    channel_activations: tuple[float, ...] = ()
    activation_lanes: Lanes | None = None

    def __post_init__(self) -> None:
        for name in ("weight_density", "activation_density", "pair_density"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}; it must lie in [0, 1]")
        for name in ("channel_densities", "channel_activations"):
            for index, value in enumerate(getattr(self, name)):
                if not 0.0 <= value <= 1.0:
                    raise ValueError(f"{name}[{index}] is {value}; it must lie in [0, 1]")
        for what, histograms in (("histogram", self.histograms), ("activation histogram", self.activation_histograms)):
            for bundle, histogram in histograms.items():
                inside = min(histogram, default=0) >= 0 and max(histogram, default=0) <= 1 + 1e-6
                if not (inside and abs(sum(histogram) - 1) <= 1e-6):  # which says no to what is not a number, too
                    raise ValueError(f"the {what} for {bundle} bundled channels is not a probability distribution")

        for what, lanes, known in (
            ("lanes", self.lanes, self.histograms),
            ("activation_lanes", self.activation_lanes, self.activation_histograms),
        ):
            if lanes and lanes.fullest and len(lanes.fullest) != len(known.get(1, ())):
                raise ValueError(
                    f"the fullest {what} and a channel's histogram are of windows of different sizes; "
                    "take both from one measurement"
                )
        if any(count < 0 for count in self.filter_nonzeros):
            raise ValueError(f"filter_nonzeros has {min(self.filter_nonzeros)}; numbers of weights are ≥ 0")

    def to_dict(self) -> dict[str, Any]:
        """The fields by name as plain JSON data, in which the histograms' bundle sizes are strings."""
        return {
            "weight_density": self.weight_density,
            "activation_density": self.activation_density,
            "pair_density": self.pair_density,
            "histograms": {str(bundle): list(histogram) for bundle, histogram in self.histograms.items()},
            "channel_densities": list(self.channel_densities),
            "lanes": self.lanes.to_dict() if self.lanes else None,
            "structure": self.structure.to_dict() if self.structure else None,
            "activation_histograms": {
                str(bundle): list(histogram) for bundle, histogram in self.activation_histograms.items()
            },
            "filter_nonzeros": list(self.filter_nonzeros),
            "channel_activations": list(self.channel_activations),
            "activation_lanes": self.activation_lanes.to_dict() if self.activation_lanes else None,
        }

    @classmethod
    def from_dict(cls, data: Any) -> LayerSparsity:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a key is missing, a type is wrong, or the constructor refuses a value; one line.
        """
        return cls(
            weight_density=_entry(data, "weight_density", float),
            activation_density=_entry(data, "activation_density", float),
            pair_density=_entry(data, "pair_density", float),
            histograms=_histograms(data, "histograms"),
            channel_densities=_fractions(_entry(data, "channel_densities", list), "channel_densities"),
            channel_activations=_fractions(data.get("channel_activations", []), "channel_activations"),
            lanes=Lanes.from_dict(data["lanes"]) if data.get("lanes") else None,
            activation_lanes=Lanes.from_dict(data["activation_lanes"]) if data.get("activation_lanes") else None,
            structure=Structure.from_dict(data["structure"]) if data.get("structure") else None,
            activation_histograms=_histograms(data, "activation_histograms") if "activation_histograms" in data else {},
            filter_nonzeros=tuple(
                _of_kind(count, int, f"filter_nonzeros[{index}]")
                for index, count in enumerate(_of_kind(data.get("filter_nonzeros", []), list, "filter_nonzeros"))
            ),
        )


_KINDS: dict[type, str] = {dict: "an object", list: "a list", float: "a number", int: "a whole number"}


def _entry(data: Any, key: str, kind: type) -> Any:
    """The value of `data[key]`, checked to be of a kind."""
    if not isinstance(data, dict):
        raise ValueError(f"{short(data)} is not an object with the key {key!r}")
    if key not in data:
        raise ValueError(f"{key!r} is missing")
    return _of_kind(data[key], kind, key)


def _of_kind(value: Any, kind: type, name: str) -> Any:
    """The value, checked to be of a kind; ints pass for floats."""
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or isinstance(value, bool):
        raise ValueError(f"{name} is {short(value)}; it must be {_KINDS[kind]}")
    return value


def _histograms(data: Any, key: str) -> dict[int, tuple[float, ...]]:
    """The histograms of `data[key]` by bundle size; the constructor checks that they are probabilities."""
    found = {}
    for bundle, histogram in _entry(data, key, dict).items():
        if not (bundle.isascii() and bundle.isdecimal() and 1 <= len(bundle) <= 9 and int(bundle) > 0):
            raise ValueError(f"{key} has the key {short(bundle)}; its keys must be numbers of bundled channels")
        found[int(bundle)] = _fractions(histogram, f"{key}[{bundle}]")
    return found


def _fractions(values: Any, name: str) -> tuple[float, ...]:
    """A list of numbers as a tuple; the constructor checks that they lie in [0, 1]."""
    listed = _of_kind(values, list, name)
    return tuple(_of_kind(value, float, f"{name}[{index}]") for index, value in enumerate(listed))


@dataclass(frozen=True)
class SparsityProfile:
    """The sparsity of all compute layers of a network, by name."""

    layers: Mapping[str, LayerSparsity]

    @classmethod
    def dense(cls, workload: Workload) -> SparsityProfile:
        """The profile of a network without any zeros."""
        return cls({layer.name: LayerSparsity() for layer in workload.compute_layers})

    @classmethod
    def uniform(
        cls,
        workload: Workload,
        pair_density: float,
        dense_layers: Iterable[str] = (),
        weight_density: float = 1.0,
        block: tuple[int, int] | None = None,
    ) -> SparsityProfile:
        """The same sparsity in every layer, with binomially distributed non-zero pairs.

        Args:
            workload: the network.
            pair_density, weight_density: of every layer but the dense ones.
            dense_layers: names of the layers without zeros.
            block: output × input channels, if the weights' zeros come in whole blocks of that size.

        Raises:
            ValueError: a density outside [0, 1], or a dense layer that the workload does not have.
        """
        dense = set(dense_layers)
        names = {layer.name for layer in workload.compute_layers}
        if unknown := sorted(dense - names):
            raise ValueError(f"{unknown[0]!r} is no compute layer of {workload.name}{suggested(unknown[0], names)}")
        structure = Structure(block=block) if block else None
        sparse = LayerSparsity(weight_density=weight_density, pair_density=pair_density, structure=structure)
        return cls({name: LayerSparsity() if name in dense else sparse for name in sorted(names)})

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain JSON data, `{"layers": {name: …}}`."""
        return {"layers": {name: layer.to_dict() for name, layer in self.layers.items()}}

    @classmethod
    def from_dict(cls, data: Any) -> SparsityProfile:
        """The exact inverse of `to_dict`; keys beside `layers` are ignored.

        Raises:
            ValueError: a key is missing, a type is wrong, or a value is refused; one line that names the layer.
        """
        layers = {}
        for name, layer in _entry(data, "layers", dict).items():
            try:
                layers[name] = LayerSparsity.from_dict(layer)
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from error
        return cls(layers)

    def check_covers(self, workload: Workload) -> None:
        """Check that the profile covers exactly the compute layers of a network, with windows of their size.

        Raises:
            ValueError: it does not; the message names up to three layers, or that of another window.
        """
        wanted = {layer.name for layer in workload.compute_layers}
        difference = sorted(wanted.symmetric_difference(self.layers))
        if difference:
            raise ValueError(
                f"the profile's layers do not match {workload.name}: {', '.join(difference[:3])}"
                + (f" and {len(difference) - 3} more" if len(difference) > 3 else "")
            )
        for layer in workload.compute_layers:
            for lanes in (self.layers[layer.name].lanes, self.layers[layer.name].activation_lanes):
                if lanes and lanes.fullest and len(lanes.fullest) != layer.window + 1:
                    seen = len(lanes.fullest) - 1
                    raise ValueError(
                        f"lanes of {layer.name} tell of windows of {seen} positions, and {workload.name} has "
                        f"{layer.window} there: take a profile that was measured on this network"
                    )

    def pair_sparsity(self, workload: Workload) -> float:
        """1 − pair density, weighted by multiply-accumulates."""
        nonzero = sum(layer.macs * self.layers[layer.name].pair_density for layer in workload.compute_layers)
        return _missing(nonzero, sum(layer.macs for layer in workload.compute_layers))

    def weight_sparsity(self, workload: Workload) -> float:
        """1 − weight density, weighted by weights."""
        once = {layer.owner: layer for layer in workload.compute_layers}.values()
        nonzero = sum(layer.weights * self.layers[layer.name].weight_density for layer in once)
        return _missing(nonzero, sum(layer.weights for layer in once))

    def activation_sparsity(self, workload: Workload) -> float:
        """1 − activation density, weighted by the words of each layer's input map."""
        words = sum(layer.source.words for layer in workload.compute_layers)
        nonzero = sum(
            layer.source.words * self.layers[layer.name].activation_density for layer in workload.compute_layers
        )
        return _missing(nonzero, words)


def _missing(nonzero: float, whole: float) -> float:
    """The fraction of a whole that is zero; 0 where there is nothing, as in a network of 1-d convolutions alone."""
    return 1.0 - nonzero / whole if whole else 0.0
