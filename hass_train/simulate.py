"""Play the design of a finished run on its validation images: `python -m hass_train.simulate RUN_DIR`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hass_train import cli


def main(arguments: list[str] | None = None) -> None:
    """The command; exits with status 2 and one line for what a user can cause."""
    parser = cli.Parser(prog="python -m hass_train.simulate", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="directory of a search.py run that ended")
    parser.add_argument("--images", type=int, default=8, help="validation images to play (default 8)")
    parser.add_argument("--size", action="store_true", help="find the smallest FIFOs that keep the interval too")
    given = parser.parse_args(arguments)

    from hass_train.runtime.errors import UserError

    try:
        simulate_run(given.run, given.images, given.size)
    except UserError as error:
        cli.fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def simulate_run(folder: Path, count: int, sized: bool) -> dict[str, Any]:
    """Simulate, print and write.

    Returns:
        What is in simulation.json.

    Raises:
        UserError: whatever the user can mend.
    """
    from hass_train.export.design import load_design
    from hass_train.runtime.errors import UserError

    if count < 1:
        raise UserError(f"--images is {count}; it must be ≥ 1")
    design = load_design(folder)  # before torch loads

    import torch
    from hydra.errors import InstantiationException
    from hydra.utils import get_class, instantiate

    from hass_train.config.schema import ModelConfig
    from hass_train.data import ImageData
    from hass_train.export.profile import load_profile
    from hass_train.export.weights import load_sparse
    from hass_train.report.console import report_console
    from hass_train.report.simulation import print_simulation, save_simulation
    from hass_train.results.playing import simulate_design
    from hass_train.results.result import Result
    from hass_train.training.networks import create_network, traced

    try:
        result = Result.load(folder)
        settings, section = ModelConfig(name=result.model.name), result.config["data"]
        arguments = dict(result.model.arguments)
    except (KeyError, TypeError) as error:
        raise UserError(f"the result.json of {folder} does not say what data the run had") from error
    profile = load_profile(folder)
    network = create_network(settings, **arguments)
    workload = traced(network, design.input_shape, settings.name)
    model = load_sparse(network, folder)
    try:  # a result.json may come from anywhere: nothing but a data module is made from it
        known = issubclass(get_class(section["_target_"]), ImageData)
    except (KeyError, TypeError, ValueError, ImportError):
        known = False
    if not known:
        raise UserError(f"{folder}'s data is a {section.get('_target_')}, which is no data module of HASS-Train")
    try:
        data = instantiate(section)
        data.setup()
    except InstantiationException as error:
        raise UserError(f"the run's data cannot be loaded: {str(error.__cause__ or error).splitlines()[0]}") from error
    images = torch.cat(list(data.images("val", torch.device("cpu"), images=count)))
    console = report_console()
    with console.status("simulating") as status:
        found = simulate_design(
            design, workload, model, images, profile, sized, lambda what: status.update(f"simulating {what}")
        )
    print_simulation(found, save_simulation(folder, found), console)
    return found.to_dict()


if __name__ == "__main__":
    main()
