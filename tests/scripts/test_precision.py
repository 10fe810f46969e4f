"""The script that measures what precision does to curvature."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "precision.py"


def test_three_precisions_are_told_apart() -> None:
    # Breaks if the script no longer runs, or measures one precision three times.
    small = ["--images", "60", "--epochs", "1", "--width", "4"]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *small],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    head, _, *rows, note = done.stdout.splitlines()
    assert head.startswith("cpu, digits, 60 images; float64: ")
    change = {row.split()[0]: abs(float(row.split()[2])) for row in rows}
    assert list(change) == ["float32", "tf32", "bf16"]
    assert change["tf32"] == change["float32"] < 1e-4 < change["bf16"] < 0.2
    assert note == "a CPU has no TF32: that row is float32"
