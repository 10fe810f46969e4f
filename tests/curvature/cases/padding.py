"""Width padding, which must add only zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from implicit_bias.models import Dense
from tests.curvature.cases.compiling import quick
from tests.curvature.cases.networks import N
from tests.curvature.cases.problems import Build, Problem, matrices

_WIDE, _NARROW = Dense((5,), 3, activation="tanh"), Dense((2,), 3, activation="tanh")


def check_padding(*builds: Build) -> None:
    """Hold a width-padded network's operators against the narrow one's: only zeros are added."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(N, 4)), rng.integers(0, 3, N).astype(np.int32)
    sizes, true = (4, *_WIDE.widths, 3), (4, *_NARROW.widths, 3)
    units = [np.arange(size) < limit for size, limit in zip(sizes, true, strict=True)]
    mask = {
        f"layer_{i}": {
            "weight": (units[i + 1][:, None] & units[i][None, :]).astype(float),
            "bias": units[i + 1].astype(float),
        }
        for i in range(len(_WIDE.widths) + 1)
    }
    live = np.flatnonzero(np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(mask)]))
    values = rng.normal(size=len(live))
    wide = rng.normal(size=sum(leaf.size for leaf in jax.tree.leaves(mask)))
    wide[live] = values  # what stands in the padding does not matter, as the mask is in the network
    narrow_shapes = jax.eval_shape(lambda x: _NARROW.init(jax.random.key(0), x)[0], x[0])

    def unravel_narrow(flat: jax.Array) -> Any:
        leaves, structure = jax.tree.flatten(narrow_shapes)
        cuts = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = jnp.split(flat, cuts)
        return jax.tree.unflatten(
            structure, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        )

    def unravel_wide(flat: jax.Array) -> Any:
        return ravel_pytree(mask)[1](flat)

    def built(apply: Callable[[Any, jax.Array], jax.Array], params: Any) -> list[jax.Array]:
        problem = Problem(apply, "cross_entropy")
        return matrices([build(problem, params, (x, y), chunk_size=3)[0] for build in builds])

    def apply_narrow(params: Any, x: jax.Array) -> jax.Array:
        return _NARROW.apply(params, {}, x)[0]

    def apply_masked(params: Any, x: jax.Array) -> jax.Array:
        return _WIDE.apply(jax.tree.map(jnp.multiply, params, mask), {}, x)[0]

    @quick
    def both(narrow: jax.Array, wide: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
        return (
            built(apply_narrow, unravel_narrow(narrow)),
            built(apply_masked, unravel_wide(wide)),
        )

    dead = np.setdiff1d(np.arange(len(wide)), live)
    pairs_found = zip(*both(jnp.asarray(values), jnp.asarray(wide)), strict=True)
    for build, (narrow_found, wide_found) in zip(builds, pairs_found, strict=True):
        expected, found = np.asarray(narrow_found), np.asarray(wide_found)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            found[np.ix_(live, live)], expected, atol=1e-13 * scale, err_msg=str(build)
        )
        assert not found[dead].any(), build
        assert not found[:, dead].any(), build
