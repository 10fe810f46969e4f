"""Small results of all studies, for the test that no verdict is a constant: made, kept and read.

Each is a study's smoke config with three seeds, or another small run with the arms that smoke configs leave
out; of it are kept the variables that the study's rules read. Running all takes a quarter of an hour, so
they lie beside this file. Where a rule reads something new, make its study's anew:

    python -m tests.ledger.small_results --runs FOLDER [NAME ...]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

FOLDER = Path(__file__).with_name("small_results")

LARGEST = 200_000
"""Bytes of a file."""

RUNS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    name: (name, "smoke", ("seeds=3",))
    for name in (
        "batch-size", "edge-of-stability", "sharpness", "landscape", "flat-minima", "ntk-prediction",
        "ntk-width", "laziness", "double-descent", "benign-overfitting", "lottery-ticket",
        "mirror-descent", "minimum-norm", "margin", "early-stopping", "factorization", "pac-bayes",
        "sgd-noise", "stability", "attention", "step-size", "residual", "normalization",
    )
}  # fmt: skip
"""What is run, by name: study, size and settings changed."""


def read(file: Path) -> xr.Dataset:
    """Return a kept result."""
    with np.load(file) as stored:
        about = json.loads(str(stored["about"]))
        parts: dict[str, Any] = {
            name: (dims, stored[f"value {place}"], attrs)
            for place, (name, dims, attrs) in enumerate(about["variables"])
        }
    data = {name: part for name, part in parts.items() if name not in about["coordinates"]}
    coordinates = {name: parts[name] for name in about["coordinates"]}
    return xr.Dataset(data, coordinates, about["attrs"])


def write(result: xr.Dataset, file: Path) -> None:
    """Keep a result; of what made it, study and settings alone."""
    variables = result.variables
    about = {
        "variables": [(name, variables[name].dims, variables[name].attrs) for name in variables],
        "coordinates": list(result.coords),
        "attrs": {name: result.attrs[name] for name in ("study", "schema_version", "settings")},
    }
    values = {f"value {place}": variables[name].values for place, name in enumerate(variables)}
    file.parent.mkdir(exist_ok=True)
    np.savez_compressed(file, about=np.array(json.dumps(about)), **values)


def needed(result: xr.Dataset) -> xr.Dataset:
    """Leave out variables that no rule of the study reads; without them, all findings are the same."""
    from implicit_bias import studies
    from implicit_bias.results.claims import evaluate, to_json

    claims = studies.get(result.attrs["study"]).claims
    asked: set[Any] = set()
    get = xr.Dataset.__getitem__

    def noted(dataset: xr.Dataset, key: Any) -> Any:
        asked.update([key] if isinstance(key, str) else key)
        return get(dataset, key)

    xr.Dataset.__getitem__ = noted  # type: ignore[assignment,method-assign]
    try:
        expected = to_json(evaluate(claims, result))
    finally:
        xr.Dataset.__getitem__ = get  # type: ignore[method-assign]
    part = result.drop_vars([name for name in result.data_vars if name not in asked])
    found = to_json(evaluate(claims, part))
    assert found == expected, "a rule reads variables in a way that is not noticed here"
    return part


def make(name: str, runs: Path) -> Path:
    """Run what a kept result is made from, unless its folder holds it, and keep it."""
    from implicit_bias import runtime
    from implicit_bias.studies import runner
    from implicit_bias.studies.config import load_config

    target, scale, changes = RUNS[name]
    study, settings, label = load_config(target, scale, changes)
    runtime.configure(float64=settings.dtype == "float64")
    done = runner.run(study, settings, runs / name, scale=label)
    file = FOLDER / f"{name}.npz"
    write(needed(done.result), file)
    return file


def main() -> None:
    """Make what is asked for; all, if nothing is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(RUNS)}")
    parser.add_argument("--runs", type=Path, default=Path("runs/small-results"))
    asked = parser.parse_args()
    for name in asked.names or RUNS:
        file = make(name, asked.runs)
        print(f"{file.name}: {file.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
