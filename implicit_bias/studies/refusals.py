"""What a study refuses of its settings: one line that names the settings as a user writes them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from implicit_bias.errors import UserError
from implicit_bias.studies.schema_words import show

if TYPE_CHECKING:
    from implicit_bias.data import Dataset

T = TypeVar("T")


class Refusal(ValueError):
    """Settings that cannot be used, or not together: raised by checks within validation.

    Who catches it knows where the section that refuses stands, and which settings the user gave.

    Attributes:
        values: By dotted key, counted from what refuses; empty where that is the value itself.
        advice: What to do.
    """

    def __init__(self, values: Mapping[str, Any], advice: str) -> None:
        self.values, self.advice = dict(values), advice
        super().__init__(refusal(values, advice) if values else advice)


def refusal(values: Mapping[str, Any], advice: str) -> str:
    """Write a refusal as one line: ``"a is 1 and b is [2, 3]; advice"``."""
    given = [f"{key} is {show(value)}" for key, value in values.items()]
    return f"{' and '.join(given)}; {advice}"


def value_of(settings: Any, key: str) -> Any:
    """Return the setting of a dotted key."""
    for part in key.split("."):
        settings = getattr(settings, part)
    return settings


def check_at_most(settings: Any, key: str, most: int, there: str) -> None:
    """Refuse a setting, or a list with an item, that is larger than what there is; None is not.

    Args:
        settings: All settings of the study.
        key: Dotted.
        most: The largest that is allowed.
        there: Where that comes from, as in ``"a lane trains on 200 examples"``.

    Raises:
        UserError: It is larger.
    """
    value = value_of(settings, key)
    if value is None:
        return
    if max(value if isinstance(value, tuple) else (value,)) > most:
        raise UserError(f"{key} is {show(value)}, but {there}; choose at most {most}")


def check_at_least(settings: Any, key: str, least: float, there: str) -> None:
    """Refuse a number, or a list with an item, that is smaller than what makes sense.

    Args:
        settings: All settings of the study.
        key: Dotted.
        least: The smallest that is allowed.
        there: Where that comes from.

    Raises:
        UserError: It is smaller.
    """
    value = value_of(settings, key)
    if min(value if isinstance(value, tuple) else (value,)) < least:
        raise UserError(f"{key} is {show(value)}, but {there}; choose at least {least:.3g}")


def check_below(settings: Any, key: str, limit: float, why: str) -> None:
    """Refuse a number that is not below what makes sense; None is not refused.

    Args:
        settings: All settings of the study.
        key: Dotted.
        limit: The smallest that is refused.
        why: What is wrong from there on.

    Raises:
        UserError: It is not below.
    """
    value = value_of(settings, key)
    if value is not None and value >= limit:
        raise UserError(f"{key} is {show(value)}, but {why}; choose less than {limit:.3g}")


def check_classification(dataset: Dataset, why: str = "errors are compared") -> None:
    """Refuse data without classes.

    Args:
        dataset: The study's data.
        why: What needs classes.

    Raises:
        UserError: The task is another.
    """
    if dataset.task != "classification":
        raise UserError(
            f"data.name is {dataset.name}, a {dataset.task}, but {why}; choose data with classes "
            "(targets of an integer type)"
        )


def different(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse a list that holds something twice; numbers count as one if results would name them alike."""
    names = [f"{value:g}" if isinstance(value, float) else value for value in values]
    if len(set(names)) < len(names):
        raise Refusal({}, "name each once")
    return values


def increasing(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse a list that does not increase."""
    rising: list[Any] = list(different(values))
    if rising != sorted(rising):
        raise Refusal({}, "give increasing numbers")
    return values


def check_names(names: tuple[str, ...], known: Collection[str]) -> tuple[str, ...]:
    """Refuse a list that holds a name that is not known, or one twice."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), 1, 0.6)
            hint = f"; did you mean {near[0]}?" if near else ""
            # Some names have commas of their own.
            listed = "; " if any("," in one for one in known) else ", "
            raise Refusal({}, f"there is no {name!r}{hint} (known: {listed.join(known)})")
    return different(names)
