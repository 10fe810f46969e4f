"""What the command does, for a notebook: a study by name, and its dataset back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from implicit_bias.errors import UserError

if TYPE_CHECKING:
    import xarray as xr

    from implicit_bias.studies.reporter import Reporter


def run(
    study: str | Path,
    *,
    scale: str | None = None,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
) -> xr.Dataset:
    """Run a study, or whatever of it is not done yet, and return its result.

    As with the command, what is finished is never run again, and a run that was interrupted goes on. For all
    cores of a CPU call ``implicit_bias.runtime.configure()`` before the first array is made.

    Args:
        study: A study's name, a YAML config, or ``module:attribute`` of your own study.
        scale: Size of a study given by name, ``smoke`` by default.
        seeds: Number of independent repetitions, in place of the config's.
        settings: Settings to change, with dots into sections: ``{"model.widths": [64, 64]}``.
        out: Folder for the results; by default ``runs/<study>-<hash of settings>``.
        reporter: Where progress goes; nowhere by default.

    Returns:
        One row a lane, with coordinates such as seed and arm; logs have a dimension of probes besides.
        The report lies in the folder that ``result.attrs["folder"]`` names.

    Raises:
        UserError: There is no such study or setting, or the settings cannot be run.

    Example:
        >>> import implicit_bias as ib
        >>> result = ib.run("stability", seeds=2)  # doctest: +SKIP
    """
    from implicit_bias.studies import runner
    from implicit_bias.studies.config import load_config

    if not isinstance(study, str | Path):
        raise UserError(
            f"study is of type {type(study).__name__}; give a study's name, a YAML file or 'file.py:NAME'"
        )
    if out is not None and not isinstance(out, str | Path):
        raise UserError(f"out is of type {type(out).__name__}; give the path of a folder")
    if settings is not None and not isinstance(settings, Mapping):
        raise UserError(
            f"settings is a {type(settings).__name__}; give a mapping, such as {{'updates': 100}}"
        )
    if reporter is not None and not hasattr(reporter, "begin"):
        raise UserError(
            f"reporter is {reporter!r}; give an object with begin, advance, end and say, as "
            "studies.reporter.Reporter has them, or leave it out"
        )
    given = dict(settings or {}) | ({} if seeds is None else {"seeds": seeds})
    overrides = [f"{key}={_written(key, value)}" for key, value in given.items()]
    found, checked, size = load_config(str(study), scale, overrides)
    folder = Path(out) if out is not None else runner.default_folder(found, checked)
    done = runner.run(found, checked, folder, scale=size, reporter=reporter)
    return done.result.assign_attrs(folder=str(folder))


def _written(key: str, value: Any) -> str:
    """Write a setting as the command would be given it."""
    import numpy as np

    try:
        # JSON has numbers and lists where arrays and NumPy's own numbers are given.
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        return json.dumps(plain)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"setting {key!r} is {value!r} ({error}); give numbers, texts, lists or mappings"
        ) from error
