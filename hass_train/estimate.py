"""What a device could do with a network, without training anything: `python -m hass_train.estimate`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hass_train import cli


def main(config: DictConfig) -> dict[str, Any]:
    """Trace, explore, print and write.

    Returns:
        What is in estimate.json.

    Raises:
        UserError: whatever the user can mend.
    """
    # late, so that typing errors are told before torch loads; none of these imports Lightning
    from hass_train.experiment import Estimation
    from hass_train.hardware import CannotFit
    from hass_train.report.console import report_console
    from hass_train.report.estimate import print_estimate, save_estimate_picture
    from hass_train.runtime.errors import UserError

    asked, started = Estimation.of(config), time.perf_counter()
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
    answer = {
        "schema": 1,
        "network": workload.name,
        "input_shape": list(workload.input_shape),
        "macs": workload.macs,
        "weights": workload.weights,
        "pair_sparsity": profile.pair_sparsity(workload),
        "profile": asdict(asked.config.profile),
        "hw": asked.config.hw,
        "estimate": estimate.to_dict(),
        "folds": {row.name: dict(row.folds) for row in estimate.layers},
        "wall_s": {"trace": tracing - started, "explore": exploring - tracing, "total": exploring - started},
        "command": cli.job_command(),
    }
    files = [output / "estimate.json", output / "estimate.png"]
    files[0].write_text(json.dumps(answer, indent=1))
    save_estimate_picture(files[1], estimate, f"{workload.name} on {accelerator.name}")
    print_estimate(
        workload, profile, estimate, accelerator.name, accelerator, exploring - started, files, report_console()
    )
    return answer


if __name__ == "__main__":
    cli.run("estimate", main)
