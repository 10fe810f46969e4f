"""The dense matrices that operators must equal, NumPy's, in float64.

They are made of explicit first and second derivatives of the outputs (``jax.jacfwd`` and
``jax.jacrev``) and textbook derivatives of the losses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from tests.curvature.cases.compiling import quick
from tests.curvature.cases.listing import Case
from tests.curvature.cases.networks import CLASSES, LANES, NETWORKS, N, make
from tests.curvature.cases.problems import targets


@dataclass(frozen=True)
class Exact:
    """One lane in float64: what the dense matrices are made of.

    Attributes:
        outputs: Shape (n, k).
        jacobian: Shape (n, k, p), of the outputs.
        network: The network's name.
        lane: The lane's number.
        residual: Shape (n, k), derivative of each loss with respect to its outputs.
        metric: Shape (n, k, k), second derivative of the same.
        weights: Shape (n,), or None for the operator's own.
    """

    outputs: np.ndarray
    jacobian: np.ndarray
    network: str
    lane: int
    residual: np.ndarray
    metric: np.ndarray
    weights: np.ndarray | None

    @property
    def mean_weights(self) -> np.ndarray:
        """The given weights, or 1/n."""
        return np.full(N, 1 / N) if self.weights is None else self.weights

    @property
    def bend(self) -> np.ndarray:
        """Second derivatives of the outputs, shape (n, k, p, p)."""
        return _second_derivatives(self.network)[self.lane][:, : self.outputs.shape[1]]

    @property
    def gradients(self) -> np.ndarray:
        """Each example's gradient, shape (n, p)."""
        return np.einsum("nk,nkp->np", self.residual, self.jacobian)

    def pulled_back(self, metric: np.ndarray) -> np.ndarray:
        """Return ``sum_i w_i J_iᵀ M_i J_i``."""
        return np.einsum(
            "n,nkp,nkl,nlq->pq",
            self.mean_weights, self.jacobian, metric, self.jacobian, optimize=True,
        )  # fmt: skip


def _of_lanes(network: str, derive: Callable[..., Any]) -> list[Any]:
    """Return what ``derive`` makes of the outputs as a function of the flat parameters, by lane."""
    apply = NETWORKS[network][0]
    params, x, _ = make(network)

    @quick
    def derived(params: Any) -> Any:
        flat, unravel = ravel_pytree(params)
        return derive(lambda flat: apply(unravel(flat), x), flat)

    lanes = [jax.tree.map(lambda leaf, lane=lane: leaf[lane], params) for lane in range(LANES)]
    return [jax.tree.map(np.asarray, derived(lane)) for lane in lanes]


@functools.cache
def _derivatives(network: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return outputs and Jacobian of each lane."""
    return _of_lanes(network, lambda f, flat: (f(flat), jax.jacrev(f)(flat)))


@functools.cache
def _second_derivatives(network: str) -> list[np.ndarray]:
    """Return the second derivatives of each lane's outputs."""
    return _of_lanes(network, lambda f, flat: jax.jacfwd(jax.jacrev(f))(flat))


def exact(case: Case, lane: int) -> Exact:
    """Return the parts of the dense matrices of one lane."""
    f, jacobian = _derivatives(case.network)[lane]
    y = targets(case.loss, make(case.network)[2])
    if case.loss == "logistic":
        f, jacobian = f[:, :1], jacobian[:, :1]
        p = 1 / (1 + np.exp(-f))
        residual, metric = p - y[:, None], (p * (1 - p))[:, :, None]
    elif case.loss == "squared":
        residual, metric = f - np.eye(CLASSES)[y], np.broadcast_to(np.eye(CLASSES), (N, 3, 3))
    else:
        p = np.exp(f) / np.sum(np.exp(f), axis=1, keepdims=True)
        residual = p - np.eye(CLASSES)[y]
        metric = p[:, :, None] * np.eye(CLASSES)[None] - p[:, :, None] * p[:, None, :]
    return Exact(f, jacobian, case.network, lane, residual, metric, weights(case))


def weights(case: Case) -> np.ndarray | None:
    """Return unequal weights, one of them zero, or None."""
    return np.array([0.5, 0.0, 0.25, 0.125, 0.375, 1.0, 0.25]) if case.weighted else None


def positions(params: Any, block: Any) -> np.ndarray:
    """Return where a block's numbers stand in the flat vector; written without the library."""
    names = (block,) if isinstance(block, str) else block
    found, position = [], 0

    def belongs(path: list[str]) -> bool:
        wanted = {"weights": ("kernel", "weight"), "biases": ("bias",)}
        return names is None or any(
            path[-1] in wanted[name]
            if name in wanted
            else "/".join([*path, ""]).startswith(f"{name}/")
            for name in names
        )

    def walk(tree: Any, path: list[str]) -> None:
        nonlocal position
        if isinstance(tree, dict):
            for name in sorted(tree):
                walk(tree[name], [*path, name])
            return
        size = int(np.size(tree))
        if belongs(path):
            found.extend(range(position, position + size))
        position += size

    walk(params, [])
    return np.array(found)
