"""Checks shared by models that are made of another model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implicit_bias.errors import UserError
from implicit_bias.models.base import Model


def require_model(wrapper: str, model: object) -> None:
    """Raise ``UserError`` unless what is wrapped is a model, not its class or a Flax network."""
    if isinstance(model, type) or not isinstance(model, Model):
        given = model.__name__ if isinstance(model, type) else type(model).__name__
        raise UserError(
            f"{wrapper} is given {given}, which is not a model; give a model, such as "
            "Dense((64,), 10), or a Flax network adapted by from_flax"
        )


def remembered(wrapper: str, state: Any, *names: str) -> tuple[Any, ...]:
    """Return entries of a wrapper's state.

    Raises:
        UserError: If the state lacks one of them: it is the inner model's, say.
    """
    if not isinstance(state, Mapping) or any(name not in state for name in names):
        raise UserError(
            f"the state given to {wrapper} lacks {' or '.join(names)}; give the state that its "
            "init or around returns"
        )
    return tuple(state[name] for name in names)
