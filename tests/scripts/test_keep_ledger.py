"""The script that keeps what runs say of the claims."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import xarray as xr

from implicit_bias import ledger, studies
from implicit_bias.results import store
from implicit_bias.studies.config import load_config
from implicit_bias.studies.present import code_digest

ROOT = Path(__file__).parents[2]
FINDING = {
    "id": "ch11.thm-1.4", "kind": "statistical", "verdict": "refuted", "effect": 0.5, "interval": [0.4, 0.6],
    "n_seeds": 8, "criterion": "below 0.1", "condition": "", "reason": "for a test", "details": {},
}  # fmt: skip


def keep(run: Path, configs: Path) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "keep_ledger.py"), str(run), "--configs", str(configs)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def make_run(folder: Path, digest: str) -> Path:
    """Write what the script reads of a finished run."""
    record = {
        "complete": True, "scale": "laptop", "digest": digest, "version": "0", "data_checksum": "0",
        "seeds": [0], "study": "stability",
        "presented": {"code": code_digest(studies.get("stability")), "files": []},
    }  # fmt: skip
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "claims.json").write_text(json.dumps([FINDING]))
    about = {"cpu": "a processor", "device": {"backend": "cpu", "count": 2}}
    coords = {"lane_id": ("lane", ["a"])}
    result = store.make({}, coords, study="stability", settings={}, provenance=about, units={})
    timing = xr.Dataset({"wall_seconds": 61.6}, attrs={"started": "2026-02-03T04:05:06+00:00"})
    store.save(result, folder / "results.nc", timing)
    return folder


def test_only_runs_of_shipped_configs_are_kept(tmp_path: Path) -> None:
    # Breaks if a row loses its numbers, or a run of other settings takes the place of the shipped one's.
    _, settings, _ = load_config(str(ROOT / "configs" / "stability" / "laptop.yaml"))
    done = keep(make_run(tmp_path / "run", settings.digest()), tmp_path / "configs")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "configs" / "stability" / "results" / "laptop.ledger.json"
    assert done.stdout == f"{file}\n"
    row = ledger.load(file)["ch11.thm-1.4"]
    assert (row.verdict, row.effect, row.interval, row.n_seeds) == ("refuted", 0.5, (0.4, 0.6), 8)
    cost = {"date": "2026-02-03", "seconds": 62, "machine": "a processor, 2 cpu device(s)"}
    assert row.run.items() >= cost.items()
    assert str(tmp_path) not in file.read_text()
    other = keep(make_run(tmp_path / "other", "0123456789"), tmp_path / "configs")
    assert other.returncode == 2
    assert "are no shipped config's" in other.stderr
    assert len(other.stderr.splitlines()) == 1
