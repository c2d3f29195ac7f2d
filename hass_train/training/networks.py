"""Makes timm networks by name, and traces them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from timm.utils import reparameterize_model
from torch import nn

from hass_train.config.checks import first_line
from hass_train.config.schema import ModelConfig, RunConfig
from hass_train.export.initial import Loaded, classifiers, fitting, initialise, read_tensors
from hass_train.hardware import UnsupportedOperation, Workload, trace
from hass_train.runtime.errors import UserError, unknown

_MERGES = ("fuse", "reparameterize", "switch_to_deploy")
"""The methods by which timm's modules change into the form in which they are deployed."""


def check_network(name: str) -> None:
    """Raise UserError if timm has no network of this name; the message suggests the nearest name."""
    if not timm.is_model(name.split(".")[0]):
        raise unknown("timm model", name, timm.list_models())


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `timm.create_model` without those that are null, for which timm takes its defaults."""
    return {name: value for name, value in arguments.items() if value is not None}


def create_network(config: ModelConfig, **arguments: Any) -> nn.Module:
    """Make a timm network.

    Args:
        config: the model's name, whether it is pretrained, and further arguments (`kwargs`).
        arguments: arguments of `timm.create_model`; the configuration's `kwargs` override them.

    Raises:
        UserError: the name is unknown, the network does not take the arguments, or its pretrained weights cannot be
            loaded.
    """
    name, whole = config.name, {**arguments, **given(config.kwargs)}
    check_network(name)
    if path := whole.get("checkpoint_path"):
        raise UserError(f"model.kwargs.checkpoint_path is {path}; say init_from={path}, which checks what it loads")
    try:
        with _missing_names() as missing:
            network: nn.Module = timm.create_model(name, pretrained=config.pretrained, **whole)
    except TypeError as error:
        raise UserError(f"model.kwargs do not fit {name}: {first_line(error)}") from error
    except Exception as error:
        if config.pretrained:
            raise UserError(
                f"pretrained weights of {name} cannot be loaded ({type(error).__name__}); without a network put them "
                "into the Hugging Face cache first, or use model.pretrained=false with init_from=FILE"
            ) from error
        raise
    if config.pretrained:
        _check_pretrained(network, missing)
    return network


@contextmanager
def _missing_names() -> Iterator[list[str]]:
    """Note the names that state dicts lack which modules load in the meantime: timm loads pretrained weights in part
    where the number of classes is another, and does not say what was missing."""
    missing: list[str] = []
    original = nn.Module.load_state_dict

    def noting(self: nn.Module, *args: Any, **options: Any) -> Any:
        found = original(self, *args, **options)
        missing.extend(found.missing_keys)
        return found

    nn.Module.load_state_dict = noting  # type: ignore[method-assign]
    try:
        yield missing
    finally:
        nn.Module.load_state_dict = original  # type: ignore[method-assign]


def _check_pretrained(network: nn.Module, missing: Iterable[str]) -> None:
    """Raise UserError if pretrained weights lack some but the classifier's, or are not finite."""
    heads = classifiers(network)
    lacking = [name for name in missing if not name.startswith(heads) and not name.endswith(".num_batches_tracked")]
    if lacking:
        raise UserError(
            f"pretrained weights lack {len(lacking)} of the network's, first {lacking[0]!r}; are they of another "
            "model? init_from=FILE says what is there"
        )
    if odd := [name for name, value in network.named_parameters() if not bool(torch.isfinite(value).all())]:
        raise UserError(f"pretrained weights have numbers in {odd[0]!r} that are not finite; give another file")


def merges(network: nn.Module) -> bool:
    """Whether the network is deployed in another form than it is trained in."""
    return any(hasattr(module, name) for module in network.modules() for name in _MERGES)


def deployed(network: nn.Module) -> nn.Module:
    """Return the network in the form in which it is deployed, by timm's `reparameterize_model`.

    Branches and batch-norms that only training needs (RepVGG, MobileOne, FastViT, …) are merged; other networks are
    returned as they are.
    """
    if not merges(network):
        return network
    training = network.training
    merged = reparameterize_model(network.eval())  # some modules merge in evaluation alone
    network.train(training)
    return merged.train(training)


def initialised(network: nn.Module, config: RunConfig, source: Path | None) -> tuple[nn.Module, Loaded | None]:
    """Load the weights that training starts from, if there are any.

    Args:
        network: the network, which is changed in place and returned.
        config: how weights are loaded (`init_strict`, `init_head`, `init_prefix`).
        source: the file.

    Raises:
        UserError: see `hass_train.export.initial.initialise`.
    """
    if source is None:
        return network, None
    if merges(network) and fitting(deployed(network), tensors := read_tensors(source)) > fitting(network, tensors):
        raise UserError(
            f"init_from: {source} holds {config.model.name} as it is deployed, with merged branches, in which form it "
            "is searched but not trained; give the weights that it was trained with"
        )
    return network, initialise(network, source, config.init_strict, config.init_head, config.init_prefix)


def started(network: nn.Module, config: RunConfig, source: Path | None) -> tuple[nn.Module, Loaded | None]:
    """Return the network that a search starts with, in the form in which it is deployed, and what was loaded.

    Args:
        network: the network in the form in which it is trained.
        config: the configuration.
        source: a file of weights, in either form.

    Raises:
        UserError: the weights cannot be loaded; or the network merges branches where it is deployed, and has no trained
            weights: without its batch-norms it could not be trained from nothing.
    """
    if not merges(network):
        return initialised(network, config, source)
    if not (config.model.pretrained or source or config.ckpt_path):
        raise UserError(
            f"{config.model.name} trains with branches and batch-norms that are merged where it is deployed, and is "
            "searched as it is deployed; train it first, by train.py with the same model and data, and say "
            "init_from=RUN_DIR/model.safetensors, or take model.pretrained=true"
        )
    forms = (network, deployed(network))
    tensors = read_tensors(source) if source is not None else {}
    fits = [fitting(form, tensors) for form in forms]
    found, loaded = initialised(forms[fits[1] > fits[0]], config, source)
    return deployed(found), loaded


def traced(network: nn.Module, input_size: tuple[int, int, int], name: str) -> Workload:
    """Trace a network into a workload.

    Args:
        network: the network.
        input_size: (channels, height, width) of an image.
        name: name of the workload.

    Raises:
        UserError: the network has an operation that the hardware model does not know.
    """
    try:
        return trace(network, input_size, name)
    except UnsupportedOperation as error:
        raise UserError(str(error)) from error
