"""Optimisers as records: which one is static, its numbers are traced."""

from __future__ import annotations

from collections.abc import Callable

from implicit_bias.errors import UserError, unknown
from implicit_bias.optimizers import schedules as schedules
from implicit_bias.optimizers.adam import ADAM as ADAM
from implicit_bias.optimizers.adamw import ADAMW as ADAMW
from implicit_bias.optimizers.base import GradientRule as GradientRule
from implicit_bias.optimizers.base import Optimizer as Optimizer
from implicit_bias.optimizers.base import Settings as Settings
from implicit_bias.optimizers.base import with_rule as with_rule
from implicit_bias.optimizers.coordinate_descent import CYCLIC_COORDINATE as CYCLIC_COORDINATE
from implicit_bias.optimizers.coordinate_descent import EPSILON_COORDINATE as EPSILON_COORDINATE
from implicit_bias.optimizers.coordinate_descent import GREEDY_COORDINATE as GREEDY_COORDINATE
from implicit_bias.optimizers.curvature_penalty import top_penalty as top_penalty
from implicit_bias.optimizers.curvature_penalty import trace_penalty as trace_penalty
from implicit_bias.optimizers.gradient_flow import GRADIENT_FLOW as GRADIENT_FLOW
from implicit_bias.optimizers.heavy_ball import HEAVY_BALL as HEAVY_BALL
from implicit_bias.optimizers.mirror_descent import (
    EXPONENTIATED_GRADIENT as EXPONENTIATED_GRADIENT,
)
from implicit_bias.optimizers.mirror_descent import P_NORM_DESCENT as P_NORM_DESCENT
from implicit_bias.optimizers.mirror_descent import SIMPLEX_DESCENT as SIMPLEX_DESCENT
from implicit_bias.optimizers.nesterov import NESTEROV as NESTEROV
from implicit_bias.optimizers.rmsprop import RMSPROP as RMSPROP
from implicit_bias.optimizers.sam import asam as asam
from implicit_bias.optimizers.sam import sam as sam
from implicit_bias.optimizers.schedules import Schedule as Schedule
from implicit_bias.optimizers.sgd import SGD as SGD
from implicit_bias.optimizers.sign_descent import SIGN_DESCENT as SIGN_DESCENT
from implicit_bias.ranges import Setting as Setting

_REGISTRY: dict[str, Optimizer] = {
    optimizer.name: optimizer
    for optimizer in (
        SGD,
        HEAVY_BALL,
        NESTEROV,
        ADAM,
        ADAMW,
        RMSPROP,
        GRADIENT_FLOW,
        P_NORM_DESCENT,
        EXPONENTIATED_GRADIENT,
        SIMPLEX_DESCENT,
        SIGN_DESCENT,
        GREEDY_COORDINATE,
        CYCLIC_COORDINATE,
        EPSILON_COORDINATE,
    )
}

_WRAPPERS: dict[str, Callable[[Optimizer], Optimizer]] = {
    "sam": sam,
    "asam": asam,
    "trace_penalty": trace_penalty,
    "top_penalty": top_penalty,
}


def names() -> tuple[str, ...]:
    """Return the names that ``get`` knows."""
    return tuple(sorted(_REGISTRY))


def get(spec: object) -> Optimizer:
    """Find an optimiser.

    Args:
        spec: A registered name; ``"sam(name)"``, ``"asam(name)"``, ``"trace_penalty(name)"`` or
            ``"top_penalty(name)"`` around one, where the first word alone is around SGD;
            ``"module:attribute"`` or ``"file.py:attribute"`` naming an ``Optimizer``; or an
            ``Optimizer`` itself.

    Returns:
        An optimiser.

    Raises:
        UserError: For an unknown name, or an object that is no optimiser.

    Example:
        >>> get("sam(heavy_ball)").name
        'sam(heavy_ball)'
    """
    found = spec
    if isinstance(spec, str):
        wrapper, inner = _parts(spec)
        if wrapper is not None:
            return wrapper(get(inner))
        if ":" not in spec:
            if spec not in _REGISTRY:
                raise unknown("optimiser", spec, [*_REGISTRY, *_WRAPPERS], own="file.py:NAME")
            return _REGISTRY[spec]
        from implicit_bias.plugins import load_attribute

        found = load_attribute(spec, "optimiser")
    if isinstance(found, Optimizer):
        return found
    raise UserError(
        f"optimiser {spec!r} is {type(found).__name__}; give a name ({', '.join(names())}) or an "
        "implicit_bias.optimizers.Optimizer"
    )


def _parts(spec: str) -> tuple[Callable[[Optimizer], Optimizer] | None, str]:
    """Split ``"sam(adam)"`` into what wraps and what is wrapped."""
    name, bracket, inner = spec.partition("(")
    if name not in _WRAPPERS or (bracket and not inner.endswith(")")):
        return None, spec
    return _WRAPPERS[name], inner[:-1] if bracket else "sgd"
