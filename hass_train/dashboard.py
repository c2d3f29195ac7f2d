"""Make a W&B workspace that shows this project's runs: `python -m hass_train.dashboard PROJECT`.

With `--dry-run` it only prints what it would make, and needs neither W&B's server nor its package for workspaces.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hass_train.runtime.terminal import Parser, fail
from hass_train.tracking.workspace import described, workspace


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = Parser(prog="python -m hass_train.dashboard", description=__doc__)
    parser.add_argument("project", nargs="?", default="hass-train", help="of logger.wandb.project (hass-train)")
    parser.add_argument("--entity", help="user or team on W&B; your own by default")
    parser.add_argument("--dry-run", action="store_true", help="print what would be made, and make nothing")
    given = parser.parse_args(arguments)
    if given.dry_run:
        print(described(given.project, given.entity))
        return
    print(_save(given.project, given.entity))


def _save(project: str, entity: str | None) -> str:
    """Make the workspace; returns its address."""
    from hass_train.tracking.loggers import has_wandb_key

    if not has_wandb_key():
        fail("W&B has no key: run `wandb login` or set WANDB_API_KEY, or say --dry-run")
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError:
        fail("the package wandb-workspaces is missing: pip install 'hass-train[dashboard]', or say --dry-run")
    import wandb

    try:
        made = workspace(project, entity or wandb.Api().default_entity)
        made.save()
    except Exception as error:  # of the network, the server, or the package's own checks
        fail(f"W&B did not take the workspace: {(str(error).strip() or type(error).__name__).splitlines()[0]}")
    return str(made.url)


if __name__ == "__main__":
    main(sys.argv[1:])
