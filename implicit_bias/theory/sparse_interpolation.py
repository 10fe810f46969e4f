"""Solutions of Xw = y with the least 1-norm or maximum norm, and the lasso's path towards the first.

The least ‖w‖₁ is a linear programme (basis pursuit, Chen, Donoho and Saunders 1998). Its dual is the largest
y·ν with |Xᵀν| ≤ 1 (Xᵀν ≤ 1 where weights must not be negative), and for every w with Xw = y,

    ‖w‖₁ − min = Σ |w_i| − w_i x_i·ν ≥ 0,

which tells even the smallest excess without cancellation. On the support x_i·ν = ±1; the other weights'
1 ∓ x_i·ν are their reduced costs.

The lasso's path, of ½‖Xw − y‖² + λ‖w‖₁ from λ = ‖Xᵀy‖∞ to 0, ends there (Efron, Hastie, Johnstone, Tibshirani
2004: least angle regression). It is linear in λ between knots. Where no |w_i| ever falls along it, it is also
the limit of ε-step coordinate descent (there, and Hastie, Taylor, Tibshirani, Walther, *Forward stagewise
regression and the monotone lasso*, EJS 2007).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.bregman import linear_system
from implicit_bias.theory.checks import finite, rows

SUPPORT = 1e-9
"""Weight relative to the largest from which it counts as not zero."""


class SparseSolution(NamedTuple):
    """A solution with the least 1-norm.

    Attributes:
        weights: w, shape (n,); a vertex, with at most m weights that are not zero.
        norm: ‖w‖₁.
        multipliers: ν of the dual, shape (m,); unique where m weights are not zero.
        reduced_costs: 1 − |x_i·ν|, or 1 − x_i·ν where weights must not be negative, shape (n,); 0 on the
            support.
    """

    weights: np.ndarray
    norm: float
    multipliers: np.ndarray
    reduced_costs: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """Which weights are not zero, shape (n,)."""
        return np.asarray(np.abs(self.weights) > SUPPORT * np.abs(self.weights).max())

    @property
    def least_cost(self) -> float:
        """The least reduced cost off the support: as α → 0, entropy's excess falls like α to this power."""
        return float(self.reduced_costs[~self.support].min())


def least_l1(x: Any, y: Any, *, nonnegative: bool = False) -> SparseSolution:
    """Return a w with Xw = y and the least ‖w‖₁.

    Args:
        x: Inputs, shape (m, n).
        y: Labels, shape (m,), not all zero.
        nonnegative: Whether only w ≥ 0 counts.

    Returns:
        The solution; weights, and multipliers where they are unique, to rounding.

    Raises:
        UserError: There is no such w, or labels are all zero.
    """
    x, y = linear_system(x, y)
    if not y.any():
        raise UserError("labels are all zero, which w = 0 fits; give others")
    n = x.shape[1]
    columns = x if nonnegative else np.concatenate([x, -x], axis=1)
    found = _programme(np.ones(columns.shape[1]), columns, y, nonnegative)
    w = found.x if nonnegative else found.x[:n] - found.x[n:]
    nu = np.asarray(found.eqlin.marginals)
    chosen = np.abs(w) > SUPPORT * max(float(np.abs(w).max()), 1e-300)
    exact = np.zeros(n)
    exact[chosen] = np.linalg.lstsq(x[:, chosen], y, rcond=None)[0]
    if chosen.sum() == len(y):
        nu = np.linalg.solve(x[:, chosen].T, np.sign(w[chosen]))
    along = nu @ x
    costs = np.where(chosen, 0.0, 1 - (along if nonnegative else np.abs(along)))
    return SparseSolution(exact, float(np.abs(exact).sum()), nu, costs)


def l1_excess(weights: Any, x: Any, solution: SparseSolution) -> np.ndarray:
    """Return ‖w‖₁ less its minimum, for w with Xw = y, without cancellation.

    Args:
        weights: Shape (…, n).
        x: Inputs, shape (m, n).
        solution: From :func:`least_l1`.

    Raises:
        UserError: A number is not finite, or shapes do not fit.
    """
    shape = (len(solution.multipliers), len(solution.weights))
    along = solution.multipliers @ finite("inputs", x, shape=shape)
    w = rows("weights", weights, shape[1])
    # On the support |x·ν| = 1 to rounding, which would hide what is smaller than that.
    along = np.where(solution.support, np.sign(solution.weights), along)
    return np.asarray(np.sum(np.abs(w) - w * along, axis=-1))


def least_linf(x: Any, y: Any) -> tuple[np.ndarray, float]:
    """Return a w with Xw = y and the least maximum norm, and that norm.

    Args:
        x: Inputs, shape (m, n).
        y: Labels, shape (m,).

    Raises:
        UserError: There is no w with Xw = y.
    """
    from scipy.optimize import linprog

    x, y = linear_system(x, y)
    m, n = x.shape
    eye, ones = np.eye(n), np.ones((n, 1))
    found = linprog(
        np.append(np.zeros(n), 1.0),
        A_ub=np.block([[eye, -ones], [-eye, -ones]]), b_ub=np.zeros(2 * n),
        A_eq=np.concatenate([x, np.zeros((m, 1))], axis=1), b_eq=y,
        bounds=[(None, None)] * n + [(0, None)], method="highs",
    )  # fmt: skip
    if not found.success:
        raise UserError("no w has Xw = y; choose fewer examples, or inputs of full rank")
    return np.asarray(found.x[:n]), float(found.x[-1])


class LassoPath(NamedTuple):
    """The lasso's path from no weights to the least 1-norm.

    Attributes:
        penalties: λ at the knots, falling, shape (knots,).
        weights: At the knots, shape (knots, n).
    """

    penalties: np.ndarray
    weights: np.ndarray

    @property
    def norms(self) -> np.ndarray:
        """‖w‖₁ at the knots, growing."""
        return np.asarray(np.abs(self.weights).sum(axis=1))

    @property
    def fall(self) -> float:
        """Sum of all falls of any |w_i| along the path, relative to the last ‖w‖₁; 0 if it is monotone."""
        falls = np.maximum(-np.diff(np.abs(self.weights), axis=0), 0.0)
        return float(falls.sum() / self.norms[-1])

    def at(self, norms: Any) -> np.ndarray:
        """Return weights where ‖w‖₁ takes given values, shape (values, n)."""
        norms = finite("norms", norms)
        return np.stack([np.interp(norms, self.norms, one) for one in self.weights.T], axis=-1)


def lasso_path(x: Any, y: Any) -> LassoPath:
    """Return the lasso's path, by least angle regression.

    Args:
        x: Inputs, shape (m, n).
        y: Labels, shape (m,).

    Raises:
        UserError: A number is not finite, or shapes do not fit.
    """
    from sklearn.linear_model import lars_path

    x, y = linear_system(x, y)
    penalties, _, weights = lars_path(x, y, method="lasso")
    return LassoPath(penalties * len(y), weights.T)


def _programme(cost: np.ndarray, columns: np.ndarray, y: np.ndarray, nonnegative: bool) -> Any:
    from scipy.optimize import linprog

    found = linprog(cost, A_eq=columns, b_eq=y, bounds=(0, None), method="highs-ds")
    if not found.success:
        whose = "w >= 0" if nonnegative else "w"
        raise UserError(
            f"no {whose} has Xw = y; choose labels that such weights make, or fewer examples"
        )
    return found
