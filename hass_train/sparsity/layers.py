"""Sparse layers: convolution and linear with learnable weight and activation thresholds.

They are subclasses that replace timm's layers and keep the `weight` key (architecture, decision 1). A layer is in one
of three modes: DENSE (gates off), SEARCH (thresholds are learned) and FROZEN (fixed mask and activation threshold).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.hardware.arithmetic import ceil_div
from hass_train.sparsity.gate import gate, keep_strides, traceable_gate
from hass_train.sparsity.mode import Mode
from hass_train.sparsity.pattern import Pattern, masked
from hass_train.sparsity.thresholds import InputStats, Level, StepState, follow, levels_of, raw_threshold
from hass_train.sparsity.unstructured import Unstructured

RAW_START = -4.0
"""Initial value of the raw thresholds: softplus(−4) = 0.018 typical magnitudes."""
WEIGHTS = 2**14
"""Number of weights on which a step estimates a layer's density and threshold gradient; its filters take turns."""
_SCALARS = ("weight_threshold", "activation_threshold", "activation_scale", "activation_density", "frozen_threshold")
_BEYOND = 1e30  # a level at which everything is pruned that the pattern can prune
SAMPLE = 8
"""Number of images of a batch on which activation statistics and threshold gradients are estimated."""

Compute = Callable[[Tensor, Tensor], Tensor]
"""What computes a layer's output from its input and weight, after the gates, in place of the layer itself."""


class SparseLayer(nn.Module):
    """Base class of the sparse layers, with their thresholds, mask and running statistics; not used by itself.

    Attributes:
        weight_threshold, activation_threshold: raw learnable scalars; the threshold is softplus(raw) · scale.
        mask: bool, of the weight's shape; True for the weights that are kept once the layer is frozen, and in the
            search mode for those that a pattern that ranks weights kept when it last did.
        mode: scalar integer, a `Mode`.
        activation_scale: running mean |x| of the input.
        activation_density: running density of the input after its gate.
        frozen_threshold: the activation threshold of a frozen layer, in the units of the input.
        turn: index of the first filter of the next sample of weights.
        prune_weights, gate_activations: whether weights are pruned, and inputs gated, as rules and pattern allow.
        unprunable: whether the rules allow its weights to be pruned, but the pattern can prune none of them.
        pattern: how its weights are grouped for pruning.
        batch_norms: the batch-norms behind the layer that `link_norms` has found; they are pruned with its filters.
        operations: the layer's operations in the workload, one for each of its calls in a forward pass, in their order.
        penalty_densities: in the search mode, the (weight density, activation density) of each call in the last step.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    weight_threshold: nn.Parameter
    activation_threshold: nn.Parameter
    mask: Tensor
    mode: Tensor
    activation_scale: Tensor
    activation_density: Tensor
    frozen_threshold: Tensor
    turn: Tensor
    prune_weights: bool
    gate_activations: bool
    unprunable: bool
    pattern: Pattern
    operations: tuple[str, ...]

    @classmethod
    def from_dense(
        cls,
        layer: nn.Module,
        prune_weights: bool,
        gate_activations: bool,
        pattern: Pattern | None = None,
        operations: tuple[str, ...] = (),
    ) -> Self:
        """Turn a dense layer into a sparse one in place: same object, same parameters, same `weight` key.

        Args:
            layer: a layer of the dense class that this one is the sparse version of.
            prune_weights, gate_activations: what may become sparse, except weights that the pattern cannot prune.
            pattern: how its weights are grouped for pruning; unstructured by default.
            operations: see the attribute.
        """
        layer.__class__ = cls
        assert isinstance(layer, cls)
        weight, layer.pattern = layer.weight, pattern or Unstructured()
        layer.prune_weights = prune_weights and not bool(
            layer.pattern.keep_mask(weight, layer.kernel_groups, _BEYOND).all()
        )
        layer.unprunable = prune_weights and not layer.prune_weights
        layer.gate_activations, layer.operations = gate_activations, operations
        for name in ("weight_threshold", "activation_threshold"):
            layer.register_parameter(name, nn.Parameter(torch.full((), RAW_START, device=weight.device)))
        layer.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))
        layer.register_buffer("mode", torch.tensor(int(Mode.DENSE), device=weight.device))
        for name, value in (("activation_scale", 0.0), ("activation_density", 1.0), ("frozen_threshold", 0.0)):
            layer.register_buffer(name, torch.tensor(value, device=weight.device))
        layer.register_buffer("turn", torch.tensor(0))
        layer._mode, layer._level, layer._seen, layer._live, layer._gated = Mode.DENSE, 0.0, False, None, None
        layer.watched, layer.step_state, layer.penalty_densities = False, None, ()
        layer.rounding = None
        layer.batch_norms = ()  # a tuple, so that they do not become children of this layer
        return layer

    rounding: Callable[[str, Tensor], Tensor] | None
    """What hardware holds of a gated weight in one of the layer's operations, by name; None = the weight as it is."""

    # plain copies of the buffers: reading a tensor in every forward pass would stall a GPU
    _mode: Mode
    _level: float
    _seen: bool
    _live: Tensor | None
    # a gated weight, and the memory and versions of weight and threshold that it follows from
    _gated: tuple[tuple[int, ...], Tensor] | None
    # state of the present training step, which `hass_train.sparsity.step` sets
    watched: bool
    step_state: StepState | None
    penalty_densities: tuple[tuple[Tensor, Tensor], ...]
    batch_norms: tuple[nn.Module, ...]

    def __getstate__(self) -> dict[str, Any]:
        """The state without what belongs to a training step, whose graph can be neither copied nor pickled, and without
        what is kept to be quick."""
        return {**self.__dict__, "penalty_densities": (), "step_state": None, "_live": None, "_gated": None}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the layer, as torch does; thresholds and statistics stay in single precision at least.

        In half precision a step of a threshold would be rounded away where it is below 1/256 of its value.
        """
        before = {name: getattr(self, name).detach().clone() for name in _SCALARS}
        self._gated = None
        super()._apply(fn, recurse)
        for name, value in before.items():
            moved = getattr(self, name)
            if moved.dtype.itemsize < value.dtype.itemsize and moved.dtype.itemsize < 4:
                moved.data = value.to(moved.device, torch.float32)
        return self

    @property
    def kernel_groups(self) -> int:
        """The number of groups of a convolution; 1 for a linear layer."""
        return int(getattr(self, "groups", 1))

    @property
    def mode_now(self) -> Mode:
        """The present mode, known without reading a tensor."""
        return self._mode

    @property
    def thresholds(self) -> tuple[nn.Parameter, nn.Parameter]:
        """The raw thresholds of the weights and of the input."""
        return self.weight_threshold, self.activation_threshold

    def set_mode(self, mode: Mode) -> None:
        """Change the mode; entering FROZEN fixes mask and activation threshold at the present thresholds."""
        if mode is Mode.FROZEN and self._mode is not Mode.FROZEN:
            with torch.no_grad():
                if self.prune_weights:
                    self.mask.copy_(self.pattern.keep_mask(self.weight, self.kernel_groups, self.weight_level()))
                self.frozen_threshold.fill_(self.activation_level())
                self.apply_mask()
        self.mode.fill_(int(mode))
        self.penalty_densities = ()
        self.synchronize()

    def synchronize(self) -> None:
        """Update the plain copies of the buffers, after a checkpoint was loaded or the mask changed."""
        self._mode = Mode(int(self.mode))
        self._level = float(self.frozen_threshold) if self._mode is Mode.FROZEN else 0.0
        self._seen = float(self.activation_scale) > 0
        self._live = self._gated = None

    @torch.no_grad()
    def apply_mask(self) -> None:
        """Zero the masked weights in place, and for some patterns bias and batch-norm of pruned filters."""
        self.weight.mul_(self.mask)
        if self.pattern.prunes_norm and self.prune_weights:
            self.prune_norm()

    @torch.no_grad()
    def prune_norm(self) -> None:
        """Zero the bias of filters without a weight left, and their batch-norm's scale and shift."""
        kept = self.live.flatten(1).amax(1)
        for module in (self, *self.batch_norms):
            for one in (module.bias, module.weight if module is not self else None):
                if one is not None:
                    one.mul_(kept)  # type: ignore[operator]

    @property
    def live(self) -> Tensor:
        """The mask as ones and zeros of the weight's type and layout; multiplying by it is several times as fast as by
        booleans. It is cached: whoever changes the mask must call `synchronize`."""
        if self._live is None or self._live.device != self.weight.device or self._live.dtype != self.weight.dtype:
            self._live = keep_strides(self.mask.to(self.weight.dtype), self.weight)
        return self._live

    def weight_scale(self) -> Tensor:
        """The typical score of the pattern's groups, scalar; for an unstructured pattern the mean |w|."""
        return self.pattern.scale(self.weight)

    def weight_level(self) -> float:
        """The weight threshold in the units of the pattern's scores; 0 where the layer's weights are not pruned."""
        return float(F.softplus(self.weight_threshold.detach()) * self.weight_scale()) if self.prune_weights else 0.0

    def activation_level(self) -> float:
        """The activation threshold in the units of the input; 0 where the input is not gated."""
        if self._mode is Mode.FROZEN:
            return self._level
        if not self.gate_activations:
            return 0.0
        return float(F.softplus(self.activation_threshold.detach()) * self.activation_scale)

    @torch.no_grad()
    def set_sparsity(self, weights: float, activation_level: float) -> None:
        """Set the thresholds of the search mode.

        Args:
            weights: fraction of the groups of weights that the weight threshold prunes.
            activation_level: the activation threshold, in typical magnitudes of the input.
        """
        level = self.pattern.level_at(self.weight, self.kernel_groups, weights) if weights > 0 else 0.0
        for raw, value in zip(self.thresholds, (level / float(self.weight_scale()), activation_level), strict=True):
            raw.copy_(raw_threshold(value))

    def least_density(self) -> float:
        """The smallest weight density that the pattern can reach."""
        return float(self.pattern.keep_mask(self.weight.detach(), self.kernel_groups, _BEYOND).float().mean())

    def weight_density(self) -> float:
        """The fraction of weights that the present threshold or mask keeps."""
        if self._mode is Mode.FROZEN:
            return float(self.mask.float().mean())
        if self._mode is Mode.DENSE:
            return float((self.weight != 0).float().mean())
        level = self.weight_level()
        return float(self.pattern.keep_mask(self.weight.detach(), self.kernel_groups, level).float().mean())

    def train(self, mode: bool = True) -> Self:
        """Set the mode, as torch does, and forget the gated weight: fused optimizers do not count up the versions of
        what they change."""
        self._gated = None
        return super().train(mode)

    def gated_weight(self) -> Tensor:
        """The weight as the present mode uses it. In evaluation it is kept until the next training, or until weight or
        threshold change: ranking the groups of a pattern takes longer than the convolution of a small batch."""
        if self._mode is not Mode.SEARCH or not self.prune_weights:
            return self.weight
        followed = self.weight, self.weight_threshold
        if self.training or torch.compiler.is_compiling() or any(one.is_inference() for one in followed):
            return self._pruned_weight()
        key = tuple(number for one in followed for number in (one.data_ptr(), one._version))
        usable = self._gated is not None and (torch.is_inference_mode_enabled() or not self._gated[1].is_inference())
        if self._gated is None or not usable or self._gated[0] != key:
            self._gated = key, self._pruned_weight()
        return self._gated[1]

    def _pruned_weight(self) -> Tensor:
        return self.pattern.apply(self.weight.detach(), self.kernel_groups, self.weight_level())

    def stored_weight(self, operation: str) -> Tensor:
        """The weight that hardware holds for one of the layer's operations, up to scales: where the network computes
        with integers, small weights are zero there that the gate has kept."""
        weight = self.gated_weight().detach()
        return weight if self.rounding is None else self.rounding(operation, weight)

    def gated_input(self, x: Tensor) -> Tensor:
        """The input as the present mode uses it, without a gradient to the threshold and without statistics."""
        level = self.activation_level() if self._mode is not Mode.DENSE else 0.0
        return F.hardshrink(x, level) if level > 0 else x

    def fixed_level(self) -> float:
        """The activation threshold, in the units of the input, that the next call in training only applies; 0 = none,
        or one that learns or is compiled."""
        if self._mode is not Mode.SEARCH:
            return self._level
        state = self.step_state
        if state is None or state.learns or torch.compiler.is_compiling():
            return 0.0
        return state.levels.activation.value if state.levels.activation else 0.0

    def _operands(self, x: Tensor, gated: bool) -> tuple[Tensor, Tensor]:
        """The input and the weight as the present mode uses them; in training, statistics are updated too.

        Args:
            x: the input.
            gated: whether values up to `fixed_level` are zero already.
        """
        if self._mode is not Mode.SEARCH:
            x = F.hardshrink(x, self._level) if self._level > 0 and not gated else x
            if self.watched:
                self._observe(x.detach()[:SAMPLE])
            return x, self.weight
        if not self.training:
            return self.gated_input(x), self.gated_weight()
        if torch.compiler.is_compiling():
            return self._traced_operands(x)
        step_state = self.step_state or StepState(levels_of([self])[0])
        levels = step_state.levels
        if not step_state.learns:
            x = F.hardshrink(x, levels.activation.value) if levels.activation and not gated else x
            return x, self._pruned(levels.weight, step_state.ranks, self.live)
        part = x.detach()[:SAMPLE]
        weight, density, weight_density = self.weight, None, None
        if level := levels.activation:
            x, density = gate(x, level.threshold, level.scale, sample=SAMPLE, level=level.value)
        self._observe(part, None if density is None else density.detach())
        if level := levels.weight:
            filters = self._next_filters()
            weight, weight_density = self.pattern.apply_with_gradient(weight, self.kernel_groups, level, filters)  # type: ignore[assignment]
            self._keep(weight)
        self._remember(weight_density, density)
        return x, weight

    def _traced_operands(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The operands of the search mode, computed without reading the value of any tensor, for `torch.compile`.

        Raises:
            RuntimeError: there is no `SearchStep` around it, which reads thresholds and updates statistics. If a
                running scale changed within the graph, torch 2.13 would use the changed one in the backward pass.
        """
        if self.step_state is None:
            raise RuntimeError("a compiled search step needs `SearchStep` around it")
        levels, part = self.step_state.levels, x.detach()[:SAMPLE]
        if not self.step_state.learns:  # plain numbers may be compiled in: they change once an epoch, not every step
            x = F.hardshrink(x, levels.activation.value) if levels.activation else x
            self._observe(part)
            return x, self._pruned(levels.weight, self.step_state.ranks, self.mask)
        weight, density, weight_density = self.weight, None, None
        if level := levels.activation:
            x, density = traceable_gate(x, level.threshold, level.half_width, straight_through=False)
        self._observe(part, None if density is None else density.detach())
        if level := levels.weight:
            weight, weight_density = self.pattern.apply_traceable(weight, self.kernel_groups, level)  # type: ignore[assignment]
            self._keep(weight)
        self._remember(weight_density, density)
        return x, weight

    def _pruned(self, level: Level | None, ranks: bool, live: Tensor) -> Tensor:
        """The weight at a threshold that does not learn.

        Args:
            level: the threshold; None = the weights are not pruned.
            ranks: whether to find anew which weights are kept, by a pattern that has to rank them.
            live: (the weight's shape) the weights that were kept when that was found last.
        """
        if level is None:
            return self.weight
        if self.pattern.ranks and not ranks:
            return masked(self.weight, live, self.pattern.pull)
        weight = self.pattern.apply(self.weight, self.kernel_groups, level.value)
        self._keep(weight)
        return weight

    @torch.no_grad()
    def _keep(self, weight: Tensor) -> None:
        """Remember in the mask which weights a pruned one keeps, for steps that do not rank them."""
        if self.pattern.ranks:
            self.mask.copy_(weight.detach() != 0)
            self._live = None

    def _remember(self, weight: Tensor | None, activation: Tensor | None) -> None:
        """Keep the densities of this call for the penalty, after those of earlier calls in the same step."""
        one = self.activation_density.new_ones(())
        call = (one if weight is None else weight, one if activation is None else activation)
        self.penalty_densities = (*self.penalty_densities, call) if self.step_state is not None else (call,)

    def _next_filters(self) -> tuple[int, int]:
        """The first filter of this step's sample and the number of filters in it; all filters take turns."""
        filters = len(self.weight)
        count = min(ceil_div(WEIGHTS * filters, self.weight.numel()), filters)
        if count == filters:
            return 0, filters
        first = min(int(self.turn), filters - count)  # the last sample is as large as the others
        self.turn.fill_(0 if first + count >= filters else first + count)
        return first, count

    def _observe(self, part: Tensor, density: Tensor | None = None) -> None:
        """Update the running statistics by a part of the input; `density` is that after the gate, if it has one."""
        count = part.numel()
        wide = None if part.dtype.itemsize > 2 else torch.float32  # half precision ends at 65,504
        scale = torch.linalg.vector_norm(part, 1, dtype=wide) / count
        if density is None:
            density = torch.linalg.vector_norm(part, 0, dtype=wide) / count
        if not self._seen:  # the first batch ever starts the averages
            self.activation_scale.copy_(scale)
            self.activation_density.copy_(density)
            self._seen = True
        if self.step_state is None:
            follow([self], [InputStats(scale, density)])
        else:
            self.step_state.stats.append(InputStats(scale, density))
