"""Finished runs: shards put together, verdicts and figures made anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results import store
from implicit_bias.results.checkpoint import save_error, write_atomic
from implicit_bias.results.lock import RunLock
from implicit_bias.studies.base import Study
from implicit_bias.studies.present import present
from implicit_bias.studies.runner import Run

if TYPE_CHECKING:
    import xarray as xr


def merge(folders: Sequence[Path], out: Path) -> Run:
    """Put the shards of one sweep together.

    The merged folder goes on like any other: run there, seeds that no shard had are added, and lanes that
    one had are not trained again.

    Args:
        folders: Finished runs with the same settings and different seeds.
        out: Folder for the merged run.

    Returns:
        The merged run, judged anew. Lanes stand in the order of stages, arms and batch sizes, those of a
        batch size by seed.

    Raises:
        UserError: A folder holds no finished run, the runs do not belong together, or ``out`` cannot be
            written to.
    """
    if not folders:
        raise UserError("merge needs at least one folder; name the folders of the shards")
    shards = [store.load(folder / "results.nc") for folder in folders]
    combined = _as_run(store.combine(shards), shards)
    record = _recorded(folders[0])
    for folder in folders[1:]:
        if _recorded(folder).get("made_by", "") != record.get("made_by", ""):
            raise UserError(
                f"{folders[0]} and {folder} were made with different versions of your own files; run one "
                "again (what did not change is kept), then merge"
            )
    seeds = np.unique(combined["seed"].values).size
    asked = record.get("seeds", 0)
    record |= {"shard": None, "complete": seeds >= asked}
    record.pop("presented", None)  # of the shard alone
    note = "" if seeds >= asked else f"{seeds} of {asked} seeds: shards are missing"
    study = _study(folders[0], combined)
    if out.exists() and (not out.is_dir() or any(p.name != ".lock" for p in out.iterdir())):
        raise UserError(f"--out {out} exists and is not an empty folder; name another")
    with RunLock(out):
        _copy_lanes(folders, out)
        store.save(combined, out / "results.nc")
        write_atomic(out / "run.json", json.dumps(record, indent=1, sort_keys=True))
        return Run(out, combined, present(study, combined, out), note=note)


def _as_run(combined: xr.Dataset, shards: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put stages, arms and batch sizes in the order in which they were run, and then seeds.

    Combining sorts lanes by identity.
    """

    def cells(result: xr.Dataset) -> list[tuple[str, str]]:
        arms = result["arm"] if "arm" in result.coords else result["stage"]
        return list(zip(result["stage"].values, arms.values, strict=True))

    def places(keys: Sequence[Any], own: Sequence[Any]) -> np.ndarray:
        order = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        return np.asarray([order[key] for key in own])

    first = places([cell for shard in shards for cell in cells(shard)], cells(combined))
    sizes = [size for shard in shards for size in shard["batch_size"].values]
    second = places(sizes, list(combined["batch_size"].values))
    ranks = {name: rank for shard in shards for rank, name in enumerate(shard["lane_id"].values)}
    third = np.asarray([ranks[name] for name in combined["lane_id"].values])
    order = np.lexsort((third, combined["seed"].values, second, first))
    return combined.isel(lane=order)


def _copy_lanes(folders: Sequence[Path], out: Path) -> None:
    try:
        for folder in folders:
            if (folder / "lanes").is_dir():
                shutil.copytree(folder / "lanes", out / "lanes", dirs_exist_ok=True)
    except OSError as error:
        remedy = f"remove {out} and merge again"
        raise save_error("lanes", out / "lanes", error, remedy) from error


def report(folder: Path) -> Run:
    """Judge a finished run again, and write its verdicts, tables, figures and report anew.

    Raises:
        UserError: The folder holds no finished run.
    """
    result = store.load(folder / "results.nc")
    study = _study(folder, result)
    with RunLock(folder):
        return Run(folder, result, present(study, result, folder), already_done=True)


def _recorded(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return content


def _study(folder: Path, result: xr.Dataset) -> Study:
    """Return the study a result belongs to, also one that does not come with the package."""
    from implicit_bias.studies import get

    return get(str(_recorded(folder).get("origin", result.attrs["study"])))
