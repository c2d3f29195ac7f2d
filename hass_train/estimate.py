"""What a device could do with a network, without training anything: `python -m hass_train.estimate`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hass_train import cli
from hass_train.config.commands import job_command


def main(config: DictConfig) -> dict[str, Any]:
    """Trace, explore, print and write.

    Returns:
        What is in estimate.json.

    Raises:
        UserError: whatever the user can mend.
    """
    # late, so that typing errors are told before torch loads; none of these imports Lightning
    from hass_train.estimation import EstimateExperiment
    from hass_train.hardware import CannotFit
    from hass_train.report.console import report_console
    from hass_train.report.estimate import print_estimate, save_estimate_picture
    from hass_train.results.estimation import ESTIMATE, Estimation
    from hass_train.runtime.errors import UserError

    asked, started = EstimateExperiment.of(config), time.perf_counter()
    accelerator, workload = asked.accelerator, asked.workload
    tracing = time.perf_counter()
    profile = asked.profile
    try:
        estimate = accelerator.estimate(workload, profile)
    except (CannotFit, ValueError) as error:
        raise UserError(str(error)) from error
    exploring = time.perf_counter()
    output = Path(asked.config.paths.output)
    output.mkdir(parents=True, exist_ok=True)
    seconds = {"trace": tracing - started, "explore": exploring - tracing, "total": exploring - started}
    answer = Estimation(
        workload.name, workload.input_shape, workload.macs, workload.weights, profile.pair_sparsity(workload),
        asdict(asked.config.profile), asked.hardware, estimate, seconds, job_command(),
    )  # fmt: skip
    files, name = [output / ESTIMATE, output / "estimate.png"], accelerator.name
    answer.save(files[0])
    save_estimate_picture(files[1], estimate, f"{workload.name} on {name}")
    print_estimate(workload, profile, estimate, name, exploring - started, files, report_console())
    return answer.to_dict()


if __name__ == "__main__":
    cli.run("estimate", main)
