"""A study in a PostgreSQL database: a real server, two workers."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from tests.chaos.kills import STUDY, Search

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install hass-train[postgres]")
pytestmark = pytest.mark.nightly


def program(name: str) -> str | None:
    """Path of one of PostgreSQL's programs; Debian keeps them beside the versions."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(places[-1]) if places else None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a database on a server of its own; skips where PostgreSQL is not installed."""
    initdb, control = program("initdb"), program("pg_ctl")
    if initdb is None or control is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    as_user: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="hass-postgres-"))
    if os.geteuid() == 0:  # the server refuses to run as root
        if "postgres" not in {one.pw_name for one in pwd.getpwall()} or shutil.which("runuser") is None:
            pytest.skip("running as root, and there is no user postgres to run the server as")
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, capture_output=True, cwd=folder, timeout=100)

    data = str(folder / "data")
    call(initdb, "-D", data, "-A", "trust", "-U", "hass")
    call(control, "-D", data, "-w", "-l", str(folder / "log"), "-o", f"-p {port} -h 127.0.0.1 -k {folder}", "start")
    try:
        yield f"postgresql://hass@127.0.0.1:{port}/postgres"
    finally:
        call(control, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def test_two_workers_share_a_study_in_a_database(server: str, tmp_path: Path) -> None:
    trials = 80  # enough for the second worker, which starts some seconds later
    overrides = (*STUDY, f"search.trials={trials}", f"search.storage={server}", "search.study=shared")
    search = Search(tmp_path, "run", (*overrides, "search.workers=2"))
    assert search.end() == 0, "\n".join(search.lines[-20:])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name="shared", storage=server)
    done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert len(done) == trials
    assert len({tuple(sorted(trial.params.items())) for trial in done}) == trials
    assert len({trial.user_attrs["owner"]["pid"] for trial in done}) == 2
