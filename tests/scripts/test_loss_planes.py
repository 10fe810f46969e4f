"""The script that times planes of the loss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "loss_planes.py"


def test_both_ways_agree() -> None:
    # Breaks if the script no longer runs, or times two things that are not the same planes.
    small = ["--data", "digits", "--images", "100", "--points", "3"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *small], capture_output=True, text=True, check=True
    )
    *times, difference = done.stdout.splitlines()
    assert [line.split(":")[0] for line in times] == [
        "every point computed anew",
        "first layer's sums moved",
    ]
    assert float(difference.split()[2]) < 1e-5
