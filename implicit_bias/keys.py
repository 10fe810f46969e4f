"""Random keys by role.

A lane's randomness comes from its seed alone. Each use of randomness has a role with a number that
never changes, so that a new role leaves every old number as it was, and two arms of a comparison share
exactly what they should share: the same seed gives the same initial weights and the same data order,
whatever the optimiser does with them.
"""

from __future__ import annotations

import itertools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Role = Literal[
    "initialisation",
    "data_order",
    "label_noise",
    "gradient_noise",
    "augmentation",
    "dropout",
    "probe",
    "split",
    "data",
    "gradient_rule",
]

ROLES: dict[str, int] = {
    "initialisation": 0,
    "data_order": 1,
    "label_noise": 2,
    "gradient_noise": 3,
    "augmentation": 4,
    "dropout": 5,
    "probe": 6,
    "split": 7,
    "data": 8,
    "gradient_rule": 9,
}
"""Role numbers. Append only: renumbering changes every result ever made."""


def role_key(seed: int | jax.Array, role: Role, replicate: jax.Array | None = None) -> jax.Array:
    """Return the key of one role of one seed.

    The generator is named (threefry) so that a global JAX setting cannot change results.

    Args:
        seed: Non-negative integer below 2**32, possibly traced.
        role: One of ``ROLES``.
        replicate: Which of a seed's draws of this role, below 2**32, possibly traced; 0 is the one that
            is meant where nothing is said.

    Returns:
        A typed scalar key.

    Example:
        >>> bool(role_key(0, "data_order") == role_key(0, "data_order"))
        True
        >>> bool(role_key(0, "data_order") == role_key(0, "initialisation"))
        False
    """
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), ROLES[role])
    if replicate is None:
        return key
    return jnp.where(replicate == 0, key, jax.random.fold_in(key, replicate))


def role_generator(seed: int, role: Role, *parts: int | str) -> np.random.Generator:
    """Return NumPy's generator of one role of one seed, for what is drawn outside compiled code.

    Args:
        seed: Non-negative integer below 2**32.
        role: One of ``ROLES``.
        *parts: What tells a role's draws apart, so that no draw depends on another: numbers, or words, of
            which the bytes count.
    """
    words = (part.encode() if isinstance(part, str) else (int(part),) for part in parts)
    return np.random.default_rng([int(seed), ROLES[role], *itertools.chain.from_iterable(words)])
