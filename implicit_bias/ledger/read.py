"""Reading ledgers and findings: nothing is taken for a number, a text or a verdict that is none.

Who reads these files must not have to ask again, so a file that somebody edited or that was damaged is
refused as a whole, with what is wrong in it.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from implicit_bias.errors import UserError
from implicit_bias.ledger.ledger import SCHEMA, VERDICTS, Ledger, Row
from implicit_bias.ledger.registry import DOCUMENTS

_TEXTS = ("id", "document", "study", "config", "verdict", "unit", "condition", "reason")
_NAMES = tuple(one.name for one in fields(Row))


def load(path: Path) -> Ledger:
    """Read a ledger: a file that ``Ledger.save`` wrote, or a folder with a ``ledger.json``.

    Raises:
        UserError: There is none, or it cannot be read, or a row is no row, or a statement has two.
    """
    file = path / "ledger.json" if path.is_dir() else path
    try:
        content = parsed(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
        lacking = [key for key in ("schema", "scale", "rows") if key not in content]
        if lacking:
            raise ValueError(f"it has no {', '.join(lacking)}")
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']}, not {SCHEMA}")
        if not isinstance(content["rows"], list):
            raise ValueError("its rows are no list")
        rows = tuple(_row(given) for given in content["rows"])
        ids = [row.id for row in rows]
        twice = sorted({id for id in ids if ids.count(id) > 1})
        if twice:
            raise ValueError(f"it has two rows of {', '.join(twice)}")
        if not isinstance(content["scale"], str):
            raise ValueError(f"its size is {content['scale']!r}")
        return Ledger(content["scale"], rows)
    except FileNotFoundError:
        if (path / "results.nc").exists():  # a ledger in a run's folder would hide the run
            raise UserError(
                f"{path} is the folder of a run and holds no ledger; make one of it with "
                f"`implicit-bias verify --merge {shlex.quote(str(path))}`"
            ) from None
        raise UserError(
            f"{file} does not exist; make a ledger with `implicit-bias verify --out {shlex.quote(str(path))}`"
        ) from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); name a ledger") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file} is no ledger ({error}); name a folder that `implicit-bias verify` made"
        ) from error


def parsed(text: str) -> Any:
    """Return what a JSON text says; NaN and infinities, which JSON has not, are refused.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, parse_constant=_no_number)


def check_finding(given: Any) -> None:
    """See that an effect, an interval and a verdict are such; a ledger's row and a run's finding have them.

    Raises:
        ValueError: One of them is none; what is wrong.
        KeyError: It has no id or verdict.
        TypeError: It is no record.
    """
    id, verdict = given["id"], given["verdict"]
    if not isinstance(id, str):
        raise ValueError(f"the id {id!r} is no text")
    if verdict not in VERDICTS:
        raise ValueError(f"{id!r} has the verdict {verdict!r}")
    _check_effect(given, id)
    seeds = given.get("n_seeds") or 0
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 0:
        raise ValueError(f"the number of seeds of {id} is {seeds!r}")


def _row(given: Any) -> Row:
    known = {name: value for name, value in given.items() if name in _NAMES}
    check_finding(known)
    id = known["id"]
    for name in _TEXTS:
        if name in known and not isinstance(known[name], str):
            raise ValueError(f"{name} of {id} is {known[name]!r}, and no text")
    if known["document"] not in DOCUMENTS:
        raise ValueError(f"{id} is of the document {known['document']!r}")
    for name in ("arms", "run", "follow_ups"):
        if not isinstance(known.get(name, {}), Mapping):
            raise ValueError(f"{name} of {id} is no record")
    for name, arm in known.get("arms", {}).items():
        if not isinstance(arm, Mapping) or not isinstance(arm.get("verdict"), str):
            raise ValueError(f"comparison {name!r} of {id} has no verdict")
        _check_effect(arm, f"{id}, {name}")
    if not isinstance(known.get("run", {}).get("path", ""), str):
        raise ValueError(f"the run of {id} has a path that is no text")
    for other, verdict in known.get("follow_ups", {}).items():
        if verdict not in VERDICTS:
            raise ValueError(f"{other!r}, which follows from {id}, has the verdict {verdict!r}")
    if known.get("interval") is not None:
        known["interval"] = tuple(known["interval"])
    return Row(**known)


def _check_effect(given: Mapping[str, Any], whose: str) -> None:
    effect, interval = given.get("effect"), given.get("interval")
    pair = [None, None] if interval is None else interval
    if (
        not isinstance(pair, list)
        or len(pair) != 2
        or not all(_is_number(one) for one in (effect, *pair))
    ):
        raise ValueError(f"effect and interval of {whose} are {effect!r} and {interval!r}")


def _is_number(value: Any) -> bool:
    """Say whether a value is a finite number, or None for one that is not there."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
