"""The script that holds finite networks against their infinite-width kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "ntk_vs_finite.py"


def test_wide_networks_err_about_as_often_as_the_kernel() -> None:
    # Breaks if the script no longer runs, grows beyond what is copied, or compares what is not alike.
    assert len(SCRIPT.read_text().splitlines()) < 50
    # It compiles for longer than it trains.
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, env=environment, check=True
    )
    found = {
        line.split(":")[0]: float(re.findall(r"test error ([\d.]+) %", line)[0])
        for line in done.stdout.splitlines()
        if "test error" in line
    }
    assert list(found) == [
        "width 32", "width 128", "width 512", "kernel at the same time", "kernel at the end",
    ]  # fmt: skip
    # Digits: guessing errs by 90 %; the widest networks are within 2 points of the kernel.
    assert all(error < 15 for error in found.values())
    assert abs(found["width 512"] - found["kernel at the same time"]) < 2
