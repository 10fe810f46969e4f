"""Pruning: masks as trees of 0 and 1, what is kept, and what a pruned network restarts from.

scores = pruning.get("snip").scores(problem, params, mask, key)
mask = pruning.prune(mask, scores, pruning.keep_counts(mask, 0.1))
"""

from __future__ import annotations

from implicit_bias.errors import UserError, unknown
from implicit_bias.pruning import masks as masks
from implicit_bias.pruning import rewinding as rewinding
from implicit_bias.pruning.allocation import Scope as Scope
from implicit_bias.pruning.allocation import keep_counts as keep_counts
from implicit_bias.pruning.controls import random_like as random_like
from implicit_bias.pruning.controls import shuffled as shuffled
from implicit_bias.pruning.grasp import GRASP as GRASP
from implicit_bias.pruning.iterative import iterate as iterate
from implicit_bias.pruning.iterative import levels as levels
from implicit_bias.pruning.magnitude import MAGNITUDE as MAGNITUDE
from implicit_bias.pruning.problem import Pruner as Pruner
from implicit_bias.pruning.problem import PruningProblem as PruningProblem
from implicit_bias.pruning.random_order import RANDOM as RANDOM
from implicit_bias.pruning.rewinding import Restart as Restart
from implicit_bias.pruning.rewinding import Rewinding as Rewinding
from implicit_bias.pruning.rewinding import restart as restart
from implicit_bias.pruning.selection import Counts as Counts
from implicit_bias.pruning.selection import prune as prune
from implicit_bias.pruning.snip import SNIP as SNIP
from implicit_bias.pruning.synflow import SYNFLOW as SYNFLOW

_REGISTRY: dict[str, Pruner] = {
    pruner.name: pruner for pruner in (MAGNITUDE, RANDOM, SNIP, GRASP, SYNFLOW)
}


def names() -> tuple[str, ...]:
    """Return the names that ``get`` knows."""
    return tuple(sorted(_REGISTRY))


def get(spec: object) -> Pruner:
    """Find a pruner.

    Args:
        spec: A registered name; ``"module:attribute"`` or ``"file.py:attribute"`` naming a ``Pruner``; or a
            ``Pruner`` itself.

    Raises:
        UserError: For an unknown name, or an object that is no pruner.

    Example:
        >>> get("magnitude").name
        'magnitude'
    """
    found = spec
    if isinstance(spec, str):
        if ":" not in spec:
            if spec not in _REGISTRY:
                raise unknown("pruner", spec, _REGISTRY, own="file.py:NAME")
            return _REGISTRY[spec]
        from implicit_bias.plugins import load_attribute

        found = load_attribute(spec, "pruner")
    if isinstance(found, Pruner):
        return found
    raise UserError(
        f"pruner {spec!r} is {type(found).__name__}; give a name ({', '.join(names())}) or an "
        "implicit_bias.pruning.Pruner"
    )
