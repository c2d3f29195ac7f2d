"""What `make setup` does after it has installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


RATES = ROOT / "hass_train" / "hardware" / "dataflow" / "costs" / "__pycache__"


def test_a_first_search_is_prepared_and_no_run_is_left(tmp_path: Path) -> None:
    command, paths = [sys.executable, "-m", "hass_train.prepare"], {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ready for mobilenetv3_small_100 on u250\n"
    assert list(tmp_path.iterdir()) == []
    assert list(RATES.glob("rates.dense_engine.xc7.*"))
