"""What every estimate from random probes asks of its arguments."""

from __future__ import annotations

from typing import Any

from implicit_bias.arguments import require_key, require_whole
from implicit_bias.curvature.operators import LinearOperator, require_operator
from implicit_bias.random_probes import check_probes, check_tolerance


def check_probing(
    operator: LinearOperator,
    key: Any,
    *,
    n_probes: int = 2,
    batch_size: int = 1,
    tol: float = 0.1,
) -> None:
    """Refuse what no estimate can be made of.

    Raises:
        UserError: If ``operator`` is none, ``key`` is not one random key, or the numbers are out of
            range; see ``check_probes`` and ``check_tolerance``.
    """
    require_operator(operator)
    require_key(key)
    require_whole("n_probes", n_probes)
    require_whole("batch_size", batch_size)
    check_probes(n_probes, batch_size)
    check_tolerance(tol)
