"""Compiles loops and prices modules before a first search needs them: `python -m hass_train.prepare`.

Both are kept beside the code. In a fresh copy they would make the first search half a minute longer, so `make setup`
asks here what the command that README begins with asks before it trains.
"""

from __future__ import annotations

import tempfile

from hydra import compose, initialize_config_dir

from hass_train.cli import CONFIG_DIR


def main() -> None:
    """Ask the hardware about the default network, dense and sparse, and forget the answers."""
    from hass_train.experiment import Experiment

    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("search", [f"paths.output={folder}", f"paths.runs={folder}", "logger=csv"])
        question = Experiment.of(config).question
    print(f"ready for {question.workload.name} on {question.accelerator.name}")


if __name__ == "__main__":
    main()
