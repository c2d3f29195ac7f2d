"""The weights that a network starts from: read from files of many programs, matched by name, and counted.

A file may hold a state dict as it is, below wrappers (`state_dict`, `model`, `state_dict_ema`, …), or below the
prefixes that DDP (`module.`), `torch.compile`, FSDP and Lightning modules put before the names. Nothing of this is
looked up in a table: the names of all tensors in the file are taken with their whole path, and the prefix below which
the most names of the network occur is the network's.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hass_train.precision import QUANTISERS, state_keys
from hass_train.runtime.errors import UserError, suggested
from hass_train.runtime.files import AnyPath
from hass_train.sparsity import OWN_KEYS, own_keys

_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What wrappers of a module put into the names of its tensors, at any place."""
_DATA_CLASSES = [
    argparse.Namespace, np._core.multiarray.scalar, np.dtype,  # type: ignore[attr-defined]
    *(type(np.dtype(kind)) for kind in "fdlqi?"),
]  # fmt: skip
"""Classes of plain data that timm's and others' checkpoints hold beside weights: options and numbers."""
_AVERAGE = re.compile(r"(^|[._])ema([._]|$)", re.IGNORECASE)
"""What the path of an exponential moving average has in it (`state_dict_ema.`, `model_ema.`, `ema_model.`)."""
_FEW = 3  # names that a message lists


@dataclass(frozen=True)
class Loaded:
    """What was loaded into a network.

    Args:
        path: the file.
        prefix: what stands before the names of the network's tensors in the file.
        names: the tensors that were loaded.
        missing: tensors of the network that keep their values, since the file lacks them.
        unused: tensors of the file, below the prefix, that the network has no place for.
        classifier: tensors of the classifier, if it was to be left out.
    """

    path: Path
    prefix: str
    names: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    classifier: tuple[str, ...] = ()

    def words(self) -> str:
        """What was loaded, in a line."""
        whole = len(self.names) + len(self.missing) + len(self.classifier)
        said = f"init_from: {len(self.names)} of {whole} weights from {self.path}"
        said += f", below {self.prefix!r}" if self.prefix else ""
        said += f"; the classifier is left out: {_listed(self.classifier)}" if self.classifier else ""
        said += f"; left as they are: {_listed(self.missing)}" if self.missing else ""
        return said + (f"; not used: {_listed(self.unused)}" if self.unused else "")


def read_tensors(path: AnyPath, key: str = "init_from") -> dict[str, Tensor]:
    """Read all tensors of a safetensors file or a torch checkpoint, by their path in it, joined by dots.

    Args:
        path: the file.
        key: the key of the configuration that named the file, for error messages.

    Raises:
        UserError: there is no such file, it cannot be read, or it holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{key}: there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            tensors: dict[str, Tensor] = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{key}: {path} is no readable safetensors file") from error
    else:
        tensors = dict(_flat(plain_content(path, key)))
    if not tensors:
        raise UserError(f"{key}: {path} holds no weights; give a state dict, or a checkpoint with one")
    return {_unwrapped(name): value for name, value in tensors.items()}


def plain_content(path: Path, key: str) -> dict[str, Any]:
    """Read a checkpoint of any program, provided that it holds nothing but plain data and tensors.

    Args:
        path: the file.
        key: the key of the configuration that named the file, for error messages.

    Raises:
        UserError: the file cannot be read, or loading it would run code, which is refused.
    """
    try:
        with torch.serialization.safe_globals(_DATA_CLASSES):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of arbitrary content can cause any error
        code = "GLOBAL" in str(error)  # pickle's opcode for a function or class, which torch's message names
        what = (
            "holds more than plain data and is refused; save its weights alone, by torch.save(model.state_dict(), FILE)"
            if code
            else "is no readable checkpoint"
        )
        raise UserError(f"{key}: {path} {what}") from error
    if not isinstance(content, dict):
        raise UserError(f"{key}: {path} is no checkpoint")
    return content


def _flat(content: Mapping[Any, Any], path: str = "") -> Iterable[tuple[str, Tensor]]:
    """All tensors in nested mappings with their paths."""
    for name, value in content.items():
        if isinstance(value, Tensor):
            yield f"{path}{name}", value
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def initialise(
    model: nn.Module,
    source: AnyPath | Mapping[str, Tensor],
    strict: bool = True,
    head: bool = True,
    prefix: str | None = None,
    key: str = "init_from",
) -> Loaded:
    """Load weights into a network with or without sparse layers, in place.

    Args:
        model: the network.
        source: a file of weights (see `read_tensors`), or its tensors by name.
        strict: whether every weight of the network must be there in the right shape, and no other; otherwise what fits
            by name and shape is loaded.
        head: whether the classifier's weights are loaded too.
        prefix: what stands before the names in the file; None = the prefix below which the most names occur. Where an
            exponential moving average (`…ema…`) has as many as the plain weights, it is taken, as timm does.
        key: the key of the configuration that named the file, for error messages.

    Raises:
        UserError: the file cannot be read, does not hold the network's weights, holds them twice, or holds numbers that
            are not finite. Then nothing is loaded.
    """
    path = Path("the weights") if isinstance(source, Mapping) else Path(source)
    tensors = source if isinstance(source, Mapping) else read_tensors(path, key)
    own, heads = own_keys(model) | state_keys(model), () if head else classifiers(model)
    wanted = {name: value for name, value in model.state_dict().items() if name not in own}
    classifier = [name for name in wanted if heads and name.startswith(heads)]
    wanted = {name: value for name, value in wanted.items() if name not in classifier}
    where = _prefix(tensors, wanted, prefix, f"{key}: {path}")
    there = {name.removeprefix(where): value for name, value in tensors.items() if name.startswith(where)}
    found = {name: there[name] for name in wanted if name in there}
    fitting = {name: value for name, value in found.items() if value.shape == wanted[name].shape}
    fitting = _under_all_names(fitting, wanted)
    # old files lack the count of batches of a batch-norm, which plays no part in training or inference
    missing = [name for name in wanted if name not in fitting and not name.endswith(".num_batches_tracked")]
    extra = [name for name in there if name not in wanted and not _known(name, there, heads)]
    if (strict and (missing or extra)) or not fitting:
        raise UserError(
            f"{key}: {path} {_difference(wanted, there, fitting, missing, extra)}"
            f"{_hint(model, strict, head, len(fitting), missing, extra)}"
        )
    _check_values(fitting, wanted, f"{key}: {path}")
    model.load_state_dict(fitting, strict=False)
    left = tuple(name for name in wanted if name not in fitting)
    return Loaded(path, where, tuple(fitting), left, tuple(extra), tuple(classifier))


def fitting(model: nn.Module, tensors: Mapping[str, Tensor]) -> int:
    """The number of the network's weights that occur among some tensors, in the right shape, below any prefix."""
    wanted = model.state_dict()
    return max(
        (sum(tensors[prefix + name].shape == wanted[name].shape for name in names)
         for prefix, names in _places(tensors, wanted).items()), default=0,
    )  # fmt: skip


def _places(tensors: Iterable[str], wanted: Iterable[str]) -> dict[str, list[str]]:
    """Which of the wanted names occur below which prefix."""
    names, found = {*wanted}, dict[str, list[str]]()
    for whole in tensors:
        parts = whole.split(".")
        for start in range(len(parts)):
            if (name := ".".join(parts[start:])) in names:
                found.setdefault(whole.removesuffix(name), []).append(name)
    return found


def _prefix(tensors: Mapping[str, Tensor], wanted: Iterable[str], given: str | None, said: str) -> str:
    """The prefix below which most of the wanted names occur; the shortest, or that of a moving average, if several do.

    Raises:
        UserError: two prefixes have equally many names, with different values.
    """
    found = _places(tensors, wanted)
    if given is not None:
        given = f"{given.rstrip('.')}." if given else ""
        if given not in found:
            most = max(map(len, found.values()), default=0)
            some = [prefix for prefix, names in found.items() if len(names) == most]
            near = "; leave it out" if some == [""] else suggested(given, some)
            raise UserError(f"{said} has no weights of the network below {given!r}{near}")
        return given
    most = max(map(len, found.values()), default=0)
    best = sorted((prefix for prefix, names in found.items() if len(names) == most), key=len)
    averages = [prefix for prefix in best if _AVERAGE.search(prefix)]
    chosen = averages or best or [""]
    for other in chosen[1:]:
        if not all(_same(tensors[chosen[0] + name], tensors[other + name]) for name in found[other]):
            raise UserError(
                f"{said} holds the network twice, below {chosen[0]!r} and {other!r}; say which with init_prefix="
            )
    return chosen[0]


def _under_all_names(fitting: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that fit, also under further names of the same tensor of the network, under which a file may lack
    them."""
    places = {_place(wanted[name]): value for name, value in fitting.items()}
    more = {name: places[_place(own)] for name, own in wanted.items() if _place(own) in places}
    return more | dict(fitting)


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, whatever their types."""
    if one is other or one.is_meta or other.is_meta or one.shape != other.shape:
        return one is other
    return torch.equal(one.to_dense().double(), other.to_dense().double())


def _place(value: Tensor) -> tuple[int, tuple[int, ...]]:
    """What two names of one tensor have in common."""
    return value.data_ptr() or id(value), tuple(value.shape)


def _known(name: str, there: Mapping[str, Tensor], heads: tuple[str, ...]) -> bool:
    """Whether a tensor without a place is left out by right: of the classifier, of our own sparse layers, or of fake
    quantisers."""
    stem, _, last = name.rpartition(".")
    if stem == QUANTISERS:
        return True
    return bool(heads and name.startswith(heads)) or (last in OWN_KEYS and f"{stem}.weight" in there)


def _difference(
    wanted: Mapping[str, Tensor],
    there: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    missing: list[str],
    extra: list[str],
) -> str:
    """In what the tensors of a file differ from the network's."""
    parts = [f"has {len(fitting)} of the network's {len(wanted)} weights"]
    misfits = [name for name in missing if name in there]
    if misfits:
        name = misfits[0]
        parts.append(f"another shape of {name!r}: {[*there[name].shape]} there, {[*wanted[name].shape]} here")
    if absent := [name for name in missing if name not in there]:
        near = difflib.get_close_matches(absent[0], extra, n=1, cutoff=0.0)
        parts.append(f"without {_listed(absent)}" + (f" (the nearest there is {near[0]!r})" if near else ""))
    if extra:
        parts.append(f"with {_listed(extra)} in excess")
    return "; ".join(parts)


def _hint(model: nn.Module, strict: bool, head: bool, fit: int, missing: list[str], extra: list[str]) -> str:
    """What would work instead."""
    if not fit:
        return "; is it another model?"
    heads = classifiers(model) if head else ()
    if strict and heads and all(name.startswith(heads) for name in [*missing, *extra]):
        return "; init_head=false leaves the classifier out"
    return f"; is it another model? init_strict=false loads the {fit} that fit"


def _check_values(fitting: Mapping[str, Tensor], wanted: Mapping[str, Tensor], said: str) -> None:
    """Raise UserError for weights of another kind of number, that are not finite, or that differ where the network has
    one tensor under two names."""
    places: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, value in fitting.items():
        own = wanted[name]
        odd = value.is_quantized or value.is_complex() or value.layout is not torch.strided or value.is_meta
        if odd or value.is_floating_point() != own.is_floating_point() or (own.is_floating_point() and _small(value)):
            kind = "without its values" if value.is_meta else str(value.layout if value.is_sparse else value.dtype)
            raise UserError(f"{said} has {name!r} as {kind}, not as {own.dtype}; give dense weights in 16 bits or more")
        if not bool(torch.isfinite(value.to(own.dtype)).all()):
            raise UserError(
                f"{said} has numbers in {name!r} that are not finite; give weights from before they diverged"
            )
        first = places.setdefault(_place(own), name)
        if not _same(fitting[first], value):
            raise UserError(
                f"{said} has different weights as {first!r} and {name!r}, which are one in this network; give "
                "weights of a network that shares them"
            )


def _small(value: Tensor) -> bool:
    """Whether a tensor has floats of 8 bits, whose scales are elsewhere."""
    return value.is_floating_point() and value.dtype.itemsize < 2


def classifiers(model: nn.Module) -> tuple[str, ...]:
    """The prefixes of the names of the classifiers' tensors, of a timm network; none if it does not say."""
    heads = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([heads] if isinstance(heads, str) else heads))


def _listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _FEW} more" if len(every) > _FEW else ""
    return ", ".join(map(repr, every[:_FEW])) + more
