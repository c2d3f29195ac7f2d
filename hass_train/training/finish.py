"""Writes the files of a finished search: first the results, then the simulation, figures and report made from them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from hass_train.config.commands import module_command
from hass_train.export.design import DESIGN, save_design
from hass_train.export.integers import save_integers
from hass_train.export.profile import PROFILE, save_profile
from hass_train.export.weights import DENSE_WEIGHTS, SPARSE_WEIGHTS, SPARSITY, save_sparse
from hass_train.hardware.dataflow.design import Design
from hass_train.report.build import verdict
from hass_train.report.files import save_layers
from hass_train.report.simulation import headline, save_simulation
from hass_train.results.build import STAGES, Build
from hass_train.results.record import Record
from hass_train.results.result import Result
from hass_train.results.simulation import DesignSimulation
from hass_train.tracking.board import build_scalars, final_scalars, publish
from hass_train.tracking.loggers import WandbLog
from hass_train.training.module import SparseClassifier
from hass_train.training.run import Run

_PLAYED = 8  # number of images in a simulation


def finish(run: Run, module: SparseClassifier, result: Result) -> tuple[Result, list[Path], str]:
    """Write all files of a search, and log them to W&B if it is in use.

    The network, its design and the result come first. If anything after them fails, such as a simulation or a figure on
    a full disk, a warning is printed, and nothing is lost that took hours to compute.

    Args:
        run: the run, whose trainer has finished.
        module: the trained module.
        result: the result of the search.

    Returns:
        The result, with the simulation if one was asked for; the files that were written; and the simulation in a
        sentence, which is empty without one.
    """
    design = run.experiment.accelerator.design(module.state.asked.workload, result.sparse.estimate)
    files, note = _write(run, module, result, design), ""
    if run.experiment.config.simulate and design is not None:
        with _extra("simulation", f"try {module_command('simulate', run.output)}"):
            found = _simulate(run, module, result, design)
            files += save_simulation(run.output, found)
            result, note = replace(result, simulation=found), headline(found)
            result.save(run.output / "result.json")
    if run.experiment.config.build:
        with _extra("accelerator", f"try {module_command('build', run.output)}"):
            note = " ".join(filter(None, [note and f"{note}.", _build(run, module)])).rstrip(".")
    page, pictures, again = None, [], f"try {module_command('report', run.output)}"
    if run.experiment.config.report:
        from hass_train.report.figures import save_figures  # late: altair takes half a second
        from hass_train.report.html import REPORT, save_report

        with _extra("figures", again):
            pictures = save_figures(Record.read(run.output))
        with _extra(REPORT, again):
            page = save_report(Record.read(run.output))
    built = Build.load(run.output)
    run.log({**final_scalars(result), **(build_scalars(built) if built else {})})
    for logger in run.trainer.loggers:
        if isinstance(logger, WandbLog):
            publish(logger, run.output, result, pictures, page, run.trainer.global_step)
    return result, [*files, *([page] if page else []), *pictures], note


@contextmanager
def _extra(what: str, hint: str = "") -> Iterator[None]:
    """Print a warning if the body fails, and continue.

    Args:
        what: what the body makes.
        hint: how to make it later.
    """
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        way_out = f"; {hint}" if hint else ""
        print(f"warning: no {what} ({reason}); everything else is written{way_out}", file=sys.stderr)


def _write(run: Run, module: SparseClassifier, result: Result, design: Design | None) -> list[Path]:
    """Write the files that could be made only by another search, and return their paths."""
    output, workload, profile = run.output, module.state.asked.workload, result.sparse.profile
    if profile is None:
        raise RuntimeError("a result that was just measured has its profile")
    save_sparse(module.model, output, {"name": result.model.name, **result.model.arguments})
    if design is not None:
        save_design(output / DESIGN, design, workload, result.sparse.estimate)
    save_profile(output / PROFILE, workload, profile)
    save_layers(output / "layers.csv", result, workload)
    integers = save_integers(module.model, output, run.experiment.config.export.onnx)
    result.save(output / "result.json")
    designs = [] if design is None else [DESIGN]
    names = ["result.json", "layers.csv", *designs, PROFILE, SPARSE_WEIGHTS, SPARSITY, DENSE_WEIGHTS]
    return [*(output / name for name in names), *integers]


def _build(run: Run, module: SparseClassifier) -> str:
    """Build the accelerator on what was written, and say in a sentence how that went."""
    from hass_train.build.stages import Wanted, build  # late: few runs need it

    def images(count: int) -> torch.Tensor:
        return torch.cat(list(run.data.images("val", module.model, images=count)))

    found = build(run.output, Wanted(), images, lambda what: print(f"build: {what}") if what in STAGES else None)
    return verdict(found)


def _simulate(run: Run, module: SparseClassifier, result: Result, design: Design) -> DesignSimulation:
    """Simulate the searched design on validation images."""
    from hass_train.results.playing import simulate_design  # late: it brings numba

    images = torch.cat(list(run.data.images("val", module.model, images=_PLAYED)))
    assert result.sparse.profile is not None
    return simulate_design(design, module.state.asked.workload, module.model, images, result.sparse.profile)
