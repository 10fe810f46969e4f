"""Parameters that can be measured: all of them numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.errors import UserError


def require_finite(params: Any) -> None:
    """Refuse parameters that hold a NaN or an infinity; traced ones cannot be looked at and pass.

    Raises:
        UserError: If a value is not finite, or there is no parameter at all.
    """
    leaves = jax.tree.leaves(params)
    if not any(jnp.size(leaf) for leaf in leaves):
        raise UserError("there are no parameters; give at least one parameter")
    for leaf in leaves:
        if not hasattr(leaf, "dtype") and np.asarray(leaf).dtype.kind in "OSU":
            raise UserError(f"the parameters hold {leaf!s:.40}; give arrays of numbers")
    known = [leaf for leaf in leaves if not isinstance(leaf, jax.core.Tracer)]
    bad = sum(int(np.sum(~np.isfinite(np.asarray(leaf)))) for leaf in known)
    if bad:
        raise UserError(
            f"{bad} of the parameters are not finite; leave out runs that diverged, "
            "or measure an earlier step"
        )
