"""From a study's name, a YAML file or a user's own study to validated settings.

A mistake is one line that names the key as it is written on the command line (``model.widths``),
where it was given, what was given, and what is allowed. What is allowed is read off the settings'
own types, so a study that adds a setting adds nothing here.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

import implicit_bias
from implicit_bias.errors import UserError
from implicit_bias.plugins import is_plugin
from implicit_bias.studies import schema_words
from implicit_bias.studies.refusals import Refusal, refusal
from implicit_bias.studies.schema_words import Schema, show
from implicit_bias.studies.yaml_text import KeyPath, dotted, parse

if TYPE_CHECKING:
    from implicit_bias.studies.base import Study
    from implicit_bias.studies.settings import StudySettings

SCALES = ("smoke", "laptop", "full")
"""The sizes every study comes in, smallest first."""

CUSTOM = "custom"
"""Name of the size of settings that are none of a study's own."""


def load_config(
    target: str, scale: str | None = None, overrides: Sequence[str] = ()
) -> tuple[Study, StudySettings, str]:
    """Find a study and its settings.

    Args:
        target: A study's name, a YAML file, or ``module:attribute`` (``file.py:attribute``) of a
            study that lies outside the package.
        scale: Which of a study's shipped configs is meant, ``smoke`` if None; only for a name.
        overrides: ``key=value`` in the order given, with dots into sections
            (``model.widths=[64, 64]``) and values written as in YAML; a later one wins.

    Returns:
        The study, its settings, and the name of the size: that of the study's shipped config; of another
        config its ``scale``, else ``custom``.

    Raises:
        UserError: There is no such study, file or size, the YAML is malformed, or a setting is
            unknown, of the wrong type or out of range.
    """
    from implicit_bias import studies

    if _is_config_file(target):
        config = read_config(Path(target))
        study = studies.get(config.study)
        shipped = (name for name, path in sizes(study.name).items() if _same(path, Path(target)))
        size = next(shipped, config.scale)
        if scale is not None and scale != size:
            raise UserError(
                f"--scale is {scale!r}, but {target} is a config of its own; leave out --scale, or "
                "name the study instead of the file"
            )
    elif is_plugin(target):
        if scale is not None:
            raise UserError(
                f"--scale is {scale!r}, but {target} brings no sizes; leave out --scale, and "
                "change settings with --set or in a YAML file"
            )
        study = studies.get(target)
        config, size = Config(target, {}, CUSTOM, {}), CUSTOM
    else:
        if target.endswith(".py"):
            raise UserError(f"{target} is a Python file; write {target}:NAME of the study in it")
        study = studies.get(target)
        size = scale or SCALES[0]
        config = read_config(_shipped(target, size))
    return study, _settings(study, config, overrides), size


@dataclass(frozen=True)
class Config:
    """A config as it was read, not validated yet.

    Attributes:
        study: The study it is for, as a name or ``module:attribute``.
        content: The settings that it gives.
        scale: Its label.
        lines: Where each key was given, for messages.
    """

    study: str
    content: Mapping[str, Any]
    scale: str
    lines: Mapping[KeyPath, str]


def read_config(path: Path) -> Config:
    """Read a YAML config.

    Its ``study`` and the files named in its settings (``my_model.py:net``, ``arrays.npz``) are
    looked for beside it first, then from the current folder.

    Raises:
        UserError: The file is missing or unreadable, its YAML is malformed, holds a key twice, or
            names no study.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _no_file(path) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 ({error.reason})") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    content, lines = parse(text, str(path))
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds {show(content)}"
        raise UserError(f"{path} {what}; a config has lines `key: value`, one of them `study`")
    content = dict(content)
    name, label = content.pop("study", None), content.pop("scale", CUSTOM)
    if not isinstance(name, str):
        from implicit_bias import studies

        given = "names no study" if name is None else f"has study {show(name)}"
        known = f"{', '.join(sorted(studies.names()))}; of your own: file.py:NAME"
        raise UserError(f"{path} {given}; add a line `study: NAME` (known: {known})")
    if label not in (*SCALES, CUSTOM):
        raise UserError(
            f"{lines[('scale',)]}: scale is {show(label)}; give one of {', '.join(SCALES)}, or "
            "leave it out"
        )
    if is_plugin(name):
        name = _from_here(name, path.parent)
    return Config(name, _neighbours(content, path.parent), label, lines)


def sizes(study: str) -> dict[str, Path]:
    """Return the configs shipped for a study: ``smoke``, ``laptop``, ``full``, then any others.

    Example:
        >>> list(sizes("stability"))
        ['smoke', 'laptop']
    """
    folder = config_root() / study.replace("-", "_")
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    ordered = [name for name in SCALES if name in found]
    return {name: found[name] for name in [*ordered, *(n for n in found if n not in SCALES)]}


def config_root() -> Path:
    """Return the folder of the shipped configs: inside an installed package, or of the checkout."""
    package = Path(implicit_bias.__file__).resolve().parent
    installed = package / "_configs"
    return installed if installed.is_dir() else package.parent / "configs"


@dataclass(frozen=True)
class Setting:
    """A setting of a study: dotted key, what is allowed, default, what it means."""

    key: str
    allowed: str
    default: Any
    description: str


def settings_help(study: Study) -> list[Setting]:
    """List every setting of a study, those of sections with dots."""
    schema = _schema(study)
    defaults = json.loads(study.settings.model_construct().model_dump_json())
    found = []
    for path, node, section in schema_words.keys(schema, schema):
        if section:
            continue
        default: Any = defaults
        for part in path:
            default = default.get(part) if isinstance(default, dict) else None
        words = schema_words.allowed(node, schema)
        found.append(Setting(dotted(path), words, default, node.get("description", "")))
    return found


# Where configs are


def _is_config_file(target: str) -> bool:
    if target.lower().endswith((".yaml", ".yml", ".json")):
        return True
    looks_like_path = os.sep in target or Path(target).suffix != ""
    return looks_like_path and not is_plugin(target) and not target.endswith(".py")


def _shipped(study: str, scale: str) -> Path:
    known = sizes(study)
    if scale not in known:
        raise UserError(
            f"study {study!r} has no size {scale!r}; choose one of {', '.join(known) or '(none)'}, "
            "or give a YAML file"
        )
    return known[scale]


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _no_file(path: Path) -> UserError:
    hint = "give a YAML file, or a study named by `implicit-bias list`"
    if (config_root() / path.parent.name / path.name).is_file():
        study = path.parent.name.replace("_", "-")
        hint = f"the config of this name that is installed runs with `{study} --scale {path.stem}`"
    return UserError(f"there is no file {path}; {hint}")


def _from_here(name: str, folder: Path) -> str:
    """Rewrite a file that lies in a config's folder so that it is found from the current one."""
    place, colon, attribute = name.rpartition(":") if is_plugin(name) else (name, "", "")
    # The suffix tells a file from a name: `digits` stays the dataset, whatever lies there.
    if not Path(place).suffix or Path(place).is_absolute() or not (folder / place).is_file():
        return name
    return os.path.relpath(folder / place) + colon + attribute


def _neighbours(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {str(key): _neighbours(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_neighbours(item, folder) for item in value]
    return _from_here(value, folder) if isinstance(value, str) else value


# Overrides and validation


def _settings(study: Study, config: Config, overrides: Sequence[str]) -> StudySettings:
    content, lines = dict(config.content), dict(config.lines)
    for text in overrides:
        path = _override(content, text, study)
        # What the command line says is not to be looked for in the file.
        lines = {key: line for key, line in lines.items() if key[: len(path)] != path}
        lines[path] = ""
    try:
        # As JSON: pydantic's strict mode then takes lists for tuples, but no text for numbers.
        text = json.dumps(_whole_numbers(content), default=str)
        return study.settings.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _explain(study, error, lines) from error
    except (UserError, RecursionError):
        raise
    except ValueError as error:
        raise UserError(f"the settings of {config.study} cannot be read: {error}") from error


def _override(content: dict[str, Any], text: str, study: Study) -> KeyPath:
    """Set one ``key=value`` in the settings as they were read, and return its path."""
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(re.fullmatch(r"\w[\w-]*", part) for part in path):
        raise UserError(
            f"--set is {text!r}; write key=value, with dots into sections, as in "
            "model.widths=[64, 64]"
        )
    if path[0] in ("study", "scale") and path[0] not in study.settings.model_fields:
        instead = "name the study itself" if path[0] == "study" else "use --scale"
        raise UserError(f"--set {text}: {path[0]} is not a setting; {instead}")
    if not value.strip():
        raise UserError(f"--set {text} gives no value; write {key}=null for none")
    parsed, _ = parse(value, f"--set {key}")
    section = content
    for depth, part in enumerate(path[:-1], start=1):
        inner = section.get(part)
        if inner is not None and not isinstance(inner, dict):
            raise UserError(
                f"--set {text}: {dotted(path[:depth])} is {show(inner)}, which has no keys; give "
                f"all of it, as in --set {dotted(path[:depth])}=…"
            )
        # A copy: the config as it was read stays as it is.
        section[part] = dict(inner or {})
        section = section[part]
    section[path[-1]] = parsed
    return path


def _whole_numbers(value: Any) -> Any:
    """Turn 5.0 and 1e3 into whole numbers, which both kinds of number setting accept."""
    if isinstance(value, dict):
        return {str(key): _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _explain(study: Study, error: ValidationError, lines: Mapping[KeyPath, str]) -> UserError:
    """Turn pydantic's list of errors into one line: the first, unknown keys before others."""
    schema = _schema(study)
    found: dict[KeyPath, str] = {}
    for item in sorted(_mistakes(error), key=lambda item: item["type"] != "extra_forbidden"):
        path, node = schema_words.locate(item["loc"], schema, item["type"] == "extra_forbidden")
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, Refusal):
            values = {(*path, *key.split(".")): value for key, value in cause.values.items()}
            values = values or {path: item["input"]}
            # What the user has just set comes first: that is what there is to mend.
            ordered = sorted(values, key=lambda key: not _is_override(key, lines))
            path = ordered[0]
            message = refusal({dotted(key): values[key] for key in ordered}, cause.advice)
        else:
            message = _message(item, path, node, schema)
        where = _place(path, lines)
        found.setdefault(path, f"{where}: {message}" if where else message)
    first, *others = found.values()
    return UserError(first + (f" (and {len(others)} more)" if others else ""))


def _mistakes(error: ValidationError) -> list[Any]:
    """Return pydantic's errors, one a mistake.

    Items that are missing from a list are told of the list, which says how many it takes. A list that is
    too short only because its bad items were not counted is not told of beside them.
    """
    items: list[Any] = []
    for item in error.errors():
        if item["type"] == "missing" and isinstance(item["loc"][-1], int):
            items.append({**item, "type": "too_short", "loc": item["loc"][:-1]})
        elif item["type"] != "too_short" or len(item["input"]) < item["ctx"]["min_length"]:
            items.append(item)
    whole = {item["loc"] for item in items if item["type"] in ("too_short", "too_long")}
    return [
        item for item in items if not any(item["loc"][:n] in whole for n in range(len(item["loc"])))
    ]


def _is_override(path: KeyPath, lines: Mapping[KeyPath, str]) -> bool:
    """Say whether a setting, a part of it, or a section that it is in was given on the command line."""
    own = any(not where and key[: len(path)] == path for key, where in lines.items())
    return own or any(lines.get(path[:n]) == "" for n in range(1, len(path)))


def _place(path: KeyPath, lines: Mapping[KeyPath, str]) -> str:
    """Return where a file has a setting, or the section it is in; empty for the command line."""
    if _is_override(path, lines):
        return ""
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), "")


def _message(item: Any, path: KeyPath, node: Schema, schema: Schema) -> str:
    key = dotted(path)
    if item["type"] == "extra_forbidden":
        return _unknown_key(path, schema)
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, Exception):  # a study's own check, in its own words
        return str(cause) if not path or str(path[-1]) in str(cause) else f"{key}: {cause}"
    words = schema_words.allowed(node, schema)
    if item["type"] == "missing":
        return f"{key} is not given; give {words or 'it'}"
    if item["type"] == "finite_number":  # a schema does not say that it excludes NaN
        words = words.replace("a number", "a finite number")
    least = item.get("ctx", {}).get("min_length")
    if item["type"] == "too_short" and least and words.startswith("a list,"):
        # A bound that stands behind a check of the list is not in the schema.
        words = words.replace("a list", f"a list of at least {least}", 1)
    said = f"give {words}" if words else item["msg"]
    return f"{key or 'the config'} is {show(item['input'])}; {said}"


def _unknown_key(path: KeyPath, schema: Schema) -> str:
    """Name the nearest known key: in the same section, else in any, else by its whole path."""
    known = {dotted(path): path for path, _, _ in schema_words.keys(schema, schema)}
    siblings = {str(p[-1]): key for key, p in known.items() if p[:-1] == path[:-1]}
    anywhere = {str(p[-1]): key for key, p in known.items()}
    last = str(path[-1])
    near: list[str] = []
    for names in (siblings, anywhere):
        near = near or [names[name] for name in difflib.get_close_matches(last, names, 1, 0.6)]
    near = near or difflib.get_close_matches(dotted(path), known, 1, 0.75)
    hint = f"; did you mean {near[0]}?" if near else ""
    where = f" in {dotted(path[:-1])}" if len(path) > 1 else ""
    return f"unknown setting {dotted(path)}{hint} (known{where}: {', '.join(siblings)})"


def _schema(study: Study) -> Schema:
    try:
        return study.settings.model_json_schema()
    except Exception:  # a user's type without a schema: pydantic's own words have to do
        return {}
