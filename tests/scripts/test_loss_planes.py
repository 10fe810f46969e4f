"""The script that times planes of the loss."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "loss_planes.py"


def test_both_ways_agree() -> None:
    # Breaks if the script no longer runs, or times two things that are not the same planes.
    small = ["--data", "digits", "--images", "100", "--points", "3"]
    # It compiles for longer than it computes.
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *small],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    *times, difference = done.stdout.splitlines()
    assert [line.split(":")[0] for line in times] == [
        "every point computed anew",
        "first layer's sums moved",
    ]
    assert float(difference.split()[2]) < 1e-5
