"""An experiment: everything that a configuration describes; each part is built once, when it is first needed.

`search`, `train` and the workers of a study use it. `python -m hass_train.estimate`, which needs no images, has its
own, in `hass_train.estimation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from hass_train.config.checks import checked, made
from hass_train.config.schema import RunConfig
from hass_train.config.values import without_password
from hass_train.export.initial import Loaded, initialise
from hass_train.export.weights import DENSE_WEIGHTS
from hass_train.hardware import Accelerator, Workload
from hass_train.precision import Mixed, Numbers, Precision, integer_graph, quantise, resolved, with_widths
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import weights_file
from hass_train.sparsity import LayerRule, Mode, Pattern, link_norms, sparse_layers, sparsify
from hass_train.training.networks import (
    check_network,
    create_network,
    deployed,
    given,
    initialised,
    started,
    traced,
)
from hass_train.training.quantisation import BATCHES, calibrate_precision

if TYPE_CHECKING:  # they bring Lightning
    from hass_train.data import ImageData
    from hass_train.search.engines import SearchEngine
    from hass_train.search.goals import Goal
    from hass_train.search.phases import PhasePlan
    from hass_train.search.question import HardwareQuestion
    from hass_train.search.subject import Subject


class Experiment:
    """The network, data, accelerator, search engine and goal of a run.

    Args:
        config: the checked configuration, which is never changed afterwards.
        whole: the same as plain data, with passwords, for the workers of a study.

    Attributes:
        config: the checked configuration.
        settings: the configuration as plain data without passwords, which may be stored and printed.
        output: the run's directory.
        loaded: what was loaded of the weights that training starts from; None before, or if timm gives them.
    """

    def __init__(self, config: RunConfig, whole: dict[str, Any]) -> None:
        from hass_train.search.engine import Context  # late: it brings Lightning

        self.config, self.output = config, Path(config.paths.output)
        self.loaded: Loaded | None = None
        self.settings: dict[str, Any] = _without_passwords(whole)
        self.engine.context = Context(whole, rebuilt)
        self._check(self.accelerator, self.pattern)

    @classmethod
    def of(cls, config: DictConfig) -> Experiment:
        """Check a composed configuration, and make accelerator, search engine and goal; data and network come later.

        Raises:
            UserError: a problem that the user can solve.
        """
        typed = checked(config)
        return cls(typed, OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]

    def _check(self, accelerator: Accelerator, pattern: Pattern) -> None:
        """Raise UserError for parts of the configuration that contradict each other."""
        search = self.config.search
        _ = self.goal, self.precision  # which may be refused
        if self.config.export.onnx and not isinstance(self.precision, Precision):
            raise UserError("export.onnx=true writes integers, and precision=float has none; say precision=int8")
        if isinstance(self.precision, Mixed) and self.config.hw.get("weight_bits") is not None:
            raise UserError(
                f"hw.weight_bits is {self.config.hw['weight_bits']} for all layers, so precision=mixed, which chooses "
                "bits by layer, gains nothing; leave it out, or take precision=int8"
            )
        if search.activation_sparsity and not accelerator.uses_activations:
            raise UserError(
                f"search.activation_sparsity is {search.activation_sparsity}, but {accelerator.name} gains "
                "nothing from zeros among activations; leave it out"
            )
        if self.config.simulate and not pattern.simulated:
            raise UserError(
                "simulate=true plays every initiation, and designs for this sparsity leave some out; leave it out, or "
                "take sparsity=unstructured, nm or balanced"
            )
        if self.config.simulate and not accelerator.has_designs:
            raise UserError(f"simulate=true plays designs, and {accelerator.name} has none; leave it out")
        if self.config.build and not accelerator.has_designs:
            raise UserError(f"build=true builds designs, and {accelerator.name} has none; leave it out")
        if self.config.build and not isinstance(self.precision, Precision):
            raise UserError(
                "build=true builds accelerators of integers, and precision=float has none; say precision=int8"
            )

    # ---- what a configuration names --------------------------------------------------------------------------------

    @cached_property
    def accelerator(self) -> Accelerator:
        """The accelerator, with exact estimates."""
        return made(resolved(self.config.hw, self.precision), "hw", Accelerator)  # type: ignore[type-abstract]

    @cached_property
    def engine(self) -> SearchEngine:
        """The search engine."""
        from hass_train.search.engines import SearchEngine

        return made(self.config.search.engine, "search.engine", SearchEngine)  # type: ignore[type-abstract]

    @cached_property
    def goal(self) -> Goal | None:
        """The goal that the user states; None if `HardwareQuestion.of` is to choose one for the accelerator."""
        from hass_train.search.stated import stated

        return stated(self.config.search, self.engine.recipe, self.engine.name)

    @cached_property
    def pattern(self) -> Pattern:
        """The pattern by which weights are pruned."""
        return made(self.config.sparsity.pattern, "sparsity.pattern", Pattern)  # type: ignore[type-abstract]

    @cached_property
    def precision(self) -> Numbers:
        """What the network computes with."""
        return made(self.config.precision, "precision", Numbers)

    @cached_property
    def data(self) -> ImageData:
        """The data module, with its images loaded, and as many channels as the network takes."""
        from hass_train.data import ImageData

        data = made(self.config.data, "data", ImageData)
        model = self.config.model
        data.serve(given(model.kwargs).get("in_chans", (model.input_size or data.input_size)[0]))
        data.setup()
        return data

    # ---- the network -----------------------------------------------------------------------------------------------

    @property
    def model_arguments(self) -> dict[str, Any]:
        """The arguments of `timm.create_model` for this run."""
        own = {"num_classes": self.data.classes, "in_chans": self.data.input_size[0]}
        return {**own, **given(self.config.model.kwargs)}

    def training_network(self) -> nn.Module:
        """Make a new dense timm network.

        Raises:
            UserError: its input size or its classes are not those of the data, or `create_network` cannot make it.
        """
        check_network(self.config.model.name)
        size, classes = self.config.model.input_size, self.model_arguments["num_classes"]
        if classes != self.data.classes:
            raise UserError(
                f"model.kwargs.num_classes is {classes}, but {self.data.name} has {self.data.classes}; leave it out"
            )
        if size is not None and tuple(size) != tuple(self.data.input_size):
            raise UserError(
                f"model.input_size is {size}, but {self.data.name} gives images of {list(self.data.input_size)}; set "
                "the data's size"
            )
        return create_network(self.config.model, **self.model_arguments)

    def dense_network(self) -> nn.Module:
        """Make a new dense network in the form in which it is deployed, in channels-last format.

        Raises:
            UserError: see `training_network`.
        """
        return _channels_last(deployed(self.training_network()))

    def starting_network(self, search: bool = True) -> nn.Module:
        """Make the dense network that training starts with: with the weights of `init_from`, if it is given.

        Args:
            search: whether it is searched, and so in the form in which it is deployed, rather than as timm trains it.

        Raises:
            UserError: see `training_network`, and `hass_train.export.initial.initialise`; or the network that is to be
                searched cannot be trained in the form in which it is deployed, and has no trained weights.
        """
        model, source = self.training_network(), None if self.config.ckpt_path else self.init_from
        model, self.loaded = (started if search else initialised)(model, self.config, source)
        return _channels_last(model)

    def made_sparse(self, model: nn.Module, workload: Workload) -> nn.Module:
        """Make the layers of a network sparse in place, as the configuration's pattern and rules say, and return it.

        Args:
            model: the dense network.
            workload: the same, traced.

        Raises:
            UserError: the rules do not fit the network.
        """
        given = {name: rule for name, rule in self.config.sparsity.rules.items() if rule}
        # where zero activations gain nothing, they would only cost accuracy
        activations = self.accelerator.uses_activations
        rules = {name: LayerRule(r.match, r.weight, r.activation and activations) for name, r in given.items()}
        sparsify(model, rules, self.pattern, workload)
        if self.pattern.prunes_norm:
            parameter = next(model.parameters())
            link_norms(model, parameter.new_zeros(1, *workload.input_shape))
        return model

    @cached_property
    def _traced(self) -> tuple[nn.Module, Workload, int]:
        """The network with sparse layers; its workload and number of parameters, both of the dense network."""
        model, name = self.starting_network(), self.config.model.name
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if not isinstance(self.precision, Precision):
            workload = traced(model, self.data.input_size, name)
            return self.made_sparse(model, workload), workload, parameters
        graph = integer_graph(model, self.data.input_size, name)  # of the dense network, as workloads are
        workload = with_widths(graph.workload, model, self.precision, self.config.hw)
        quantise(self.made_sparse(model, graph.workload), graph, self.precision)
        return model, workload, parameters

    def quantised(self, model: nn.Module) -> nn.Module:
        """Give a dense network fake quantisers in place, if it is to compute with integers, and return it.

        Raises:
            UserError: an operation has no integer meaning, or a rule matches no layer.
        """
        if isinstance(self.precision, Mixed):
            raise UserError(
                "precision=mixed chooses bits where a search freezes its thresholds, and train.py has none; take "
                "precision=int8 or int4, with rules for layers"
            )
        if isinstance(self.precision, Precision):
            quantise(model, integer_graph(model, self.data.input_size, self.config.model.name), self.precision)
        return model

    @property
    def network(self) -> nn.Module:
        """The network that is searched, with sparse layers."""
        return self._traced[0]

    @property
    def workload(self) -> Workload:
        """The network as a workload of the accelerator."""
        return self._traced[1]

    @property
    def parameters(self) -> int:
        """The number of parameters of the dense network."""
        return self._traced[2]

    @cached_property
    def question(self) -> HardwareQuestion:
        """The network on the accelerator, and the goal of the search.

        Raises:
            UserError: see `HardwareQuestion.of`.
        """
        from hass_train.search.question import HardwareQuestion

        return HardwareQuestion.of(self.workload, self.network, self.accelerator, self.goal, self.config.search)

    # ---- where a run starts ----------------------------------------------------------------------------------------

    @cached_property
    def study_dense(self) -> Path | None:
        """The dense network of a study that is continued, which replaces the warm-up; None if there is none."""
        fresh = not self.config.init_from and not self.config.ckpt_path
        return self.engine.dense_weights() if fresh else None

    @property
    def init_from(self) -> Path | None:
        """The file of weights that training starts from; None if it starts from those that timm gives."""
        return weights_file(self.config.init_from) if self.config.init_from else self.study_dense

    @property
    def plan(self) -> PhasePlan:
        """The epochs and learning rates of the three phases."""
        from hass_train.search.phases import PhasePlan

        search = self.config.search
        plan = PhasePlan.of(search, self.engine.epochs(search.search.epochs))
        return PhasePlan((0, *plan.epochs[1:]), plan.rates) if self.study_dense else plan


def rebuilt(settings: dict[str, Any], goal: Goal, dense_rate: float, worker: int) -> tuple[SearchEngine, Subject]:
    """Build the engine and the subject of a search again in another process; see `hass_train.search.engine.Context`.

    Args:
        settings: the whole configuration as plain data.
        goal: the goal of the first process.
        dense_rate: rate of the dense network, as the goal has it.
        worker: number of this process among the workers, from 1.
    """
    from hass_train.search.question import HardwareQuestion
    from hass_train.search.subject import Subject

    experiment = Experiment.of(OmegaConf.create(settings))
    search, model = experiment.config.search, experiment.network
    initialise(model, experiment.output / DENSE_WEIGHTS)
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    calibrate_precision(model, experiment.data.images("train", model, batches=BATCHES))
    quick = experiment.accelerator.quick()
    question = HardwareQuestion(experiment.workload, quick, quick, goal, dense_rate)
    experiment.engine.worker = worker
    subject = Subject(
        model.eval(), question, experiment.data, search.calibration_images, search.margin, experiment.output
    )
    return experiment.engine, subject


def _channels_last(model: nn.Module) -> nn.Module:
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _without_passwords(settings: Any) -> Any:
    """Copy settings without the passwords in their URLs."""
    if isinstance(settings, Mapping):
        return {key: _without_passwords(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [_without_passwords(value) for value in settings]
    return without_password(settings) if isinstance(settings, str) else settings
