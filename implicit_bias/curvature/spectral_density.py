"""Density of an operator's eigenvalues, by stochastic Lanczos quadrature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from implicit_bias.arguments import require_number, require_whole
from implicit_bias.curvature.eigenpairs import Eigenpairs, inner, norm
from implicit_bias.curvature.krylov import orthogonalise, padded
from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.curvature.probes import check_probing
from implicit_bias.errors import UserError
from implicit_bias.random_probes import mean_and_standard_error, within_tolerance

_MARGIN = 5  # widths beyond the outermost node, where the default grid ends


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SpectralDensity:
    """How an operator's p eigenvalues are distributed: a smooth bulk, and exact spikes.

    The bulk is the share of the eigenvalues that were not deflated: its density integrates to
    ``1 - k / p``, each of the k spikes counts 1 / p, together one. The methods are those of one
    lane; ``jax.vmap`` them over the records that a map over lanes returns.

    Attributes:
        grid: Shape (g,), eigenvalues at which the density is given.
        density: Shape (g,), mean over the probes, per unit of eigenvalue.
        standard_error: Shape (g,), of that mean over the probes: the half-width of an error band.
            It does not know the bias that smoothing and finite depth bring.
        width: Standard deviation of the Gaussian that each node is smoothed with.
        nodes: Shape (n_probes, depth), each probe's quadrature nodes, ascending where their weight
            is not zero.
        weights: Shape (n_probes, depth); each row sums to ``1 - k / p``. Zeros where the process
            ended early, having found everything its start vector contains.
        spikes: Shape (k,), the eigenvalues deflated.
        spike_residuals: Shape (k,), of those pairs.
        dimension: p.
        products: How many products were used.
        converged: Whether the standard error is at most ``tol`` of the density, in the Euclidean
            norm over the grid, and the deflated pairs were converged.
    """

    grid: jax.Array
    density: jax.Array
    standard_error: jax.Array
    width: jax.Array
    nodes: jax.Array
    weights: jax.Array
    spikes: jax.Array
    spike_residuals: jax.Array
    dimension: jax.Array
    products: jax.Array
    converged: jax.Array

    def mass(self) -> jax.Array:
        """Integrate the density over the grid (trapezoids) and add the spikes' share.

        One, but for what lies outside of the grid and for a grid coarser than the width.
        """
        return jnp.trapezoid(self.density, self.grid) + self._share(jnp.ones_like(self.spikes))

    def moment(self, power: int) -> tuple[jax.Array, jax.Array]:
        """Estimate ``trace(C**power) / p``, spikes included, from nodes and weights, unsmoothed.

        Returns:
            The estimate, unbiased for ``power <= 2 depth - 1`` (and exactly deflated spikes), and
            its standard error over the probes.

        Raises:
            UserError: If ``power`` is negative.
        """
        if power < 0:
            raise UserError(f"power is {power}; choose power >= 0")
        samples = jnp.sum(self.weights * self.nodes**power, axis=1)
        mean, error = mean_and_standard_error(samples)
        return mean + self._share(self.spikes**power), error

    def _share(self, values: jax.Array) -> jax.Array:
        return jnp.sum(values) / self.dimension.astype(values.dtype)


def spectral_density(
    operator: LinearOperator,
    key: jax.Array,
    *,
    n_probes: int = 10,
    depth: int = 80,
    grid: int | Sequence[float] | npt.NDArray[Any] | jax.Array = 1000,
    width: float | jax.Array | None = None,
    deflate: Eigenpairs | None = None,
    batch_size: int = 1,
    tol: float = 0.1,
) -> SpectralDensity:
    """Estimate the eigenvalue density from the Gauss quadratures of random vectors.

    ``depth`` Lanczos steps from a random unit vector v give nodes t_j and weights w_j with
    ``sum_j w_j f(t_j) = v . f(C) v`` exactly for polynomials f up to degree ``2 depth - 1``; over
    Gaussian directions v its mean is ``trace f(C) / p``. With a Gaussian around each grid point for
    f this is the smoothed density. The basis is kept orthogonal by a pass over all
    earlier vectors in every step, so that no node is a spurious copy.

    Deflation: pairs found before (``lanczos``, ``thick_restart_lanczos``) are taken out of every
    start vector and kept out. Their eigenvalues stay exact spikes instead of bumps whose weight
    varies between probes, and the default grid, width and the depth serve the bulk alone. The pairs
    must be orthonormal, as all methods here return them, and should be converged: what a vector
    lacks, the bulk is missing.

    Probe i depends on the key and i alone, so that more probes extend fewer. Memory is depth + k
    vectors, and a few more, for each of the probes that are multiplied at once. Map it over lanes
    with ``lax.map``.

    Args:
        operator: Symmetric, of dimension p.
        key: For the probes.
        n_probes: How many, at least two, for there to be an error band.
        depth: Most products per probe, a static size. Fewer are used where the probe ends in an
            invariant subspace.
        grid: Shape (g,), ascending, where to evaluate; lanes that are to be averaged need the same.
            A list will do. Or how many points from 5 widths below the lowest node to 5 widths
            above the highest.
        width: Standard deviation of the smoothing Gaussian. By default the range of the bulk's
            nodes over the depth, about the resolution that the quadrature has.
        deflate: Eigenpairs of this operator.
        batch_size: Probes multiplied at once.
        tol: Relative standard error up to which the density counts as converged.

    Returns:
        The density; NaN if the products, or the pairs given, are not finite.

    Raises:
        UserError: If ``n_probes`` is below two, ``depth`` below one, ``grid`` has fewer than two
            points or does not ascend, ``width`` or ``tol`` is not positive, or the pairs do not fit the
            operator.

    References:
        Ubaru, Chen & Saad, *Fast estimation of tr(f(A)) via stochastic Lanczos quadrature*, SIAM J.
        Matrix Anal. Appl. 38 (2017), algorithm 1. Lin, Saad & Yang, *Approximating spectral
        densities of large matrices*, SIAM Review 58 (2016), section 3.2. Ghorbani, Krishnan & Xiao,
        *An investigation into neural net optimization via Hessian eigenvalue density*, ICML 2019.
    """
    check_probing(operator, key, n_probes=n_probes, batch_size=batch_size, tol=tol)
    require_whole("depth", depth)
    p, dtype = operator.dimension, operator.dtype
    if depth < 1:
        raise UserError(f"depth is {depth}; choose depth >= 1 products per probe")
    grid = _checked_grid(grid)
    if width is not None:
        require_number("width", width)
        if not isinstance(width, jax.core.Tracer) and not width > 0:
            raise UserError(
                f"width is {width}; choose width > 0, or None for the range over the depth"
            )
    if deflate is None:
        known, spikes = jnp.zeros((0, p), dtype), jnp.zeros((0,), dtype)
        spike_residuals, settled = spikes, jnp.bool_(True)
    elif not isinstance(deflate, Eigenpairs):
        raise UserError(
            f"deflate is of type {type(deflate).__name__}; give Eigenpairs, as lanczos returns them"
        )
    else:
        known, spikes, spike_residuals = deflate.vectors, deflate.values, deflate.residuals
        settled = jnp.all(deflate.converged)
        if known.ndim != 2 or known.shape[1] != p:
            raise UserError(
                f"deflate has vectors of shape {known.shape}; give shape (k, {p}) to fit the "
                "operator"
            )
    k = known.shape[0]
    if k >= p:
        raise UserError(f"deflate has {k} pairs in dimension {p}; leave at least one eigenvalue")
    depth = min(depth, p - k)
    bulk = (p - k) / p

    def probes(indices: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
        starts = jax.vmap(lambda own: jax.random.normal(own, (p,), dtype))(keys)
        nodes, weights, used = _quadratures(operator, starts, known, depth)
        return nodes, bulk * weights, used

    nodes, weights, used = _in_batches(probes, n_probes, batch_size)
    alive = weights > 0
    low = jnp.min(jnp.where(alive, nodes, jnp.inf))
    high = jnp.max(jnp.where(alive, nodes, -jnp.inf))
    if width is None:
        smallest = jnp.maximum(jnp.abs(low), jnp.abs(high)) * 1e-3
        spread = jnp.maximum((high - low) / depth, smallest)  # one eigenvalue has no range
        sigma = jnp.where(spread == 0, jnp.ones_like(spread), spread)
    else:
        sigma = jnp.asarray(width, dtype)
    finite = jnp.all(jnp.isfinite(nodes)) & jnp.all(jnp.isfinite(spikes))
    if isinstance(grid, int):
        edge = _MARGIN * sigma
        grid = jnp.linspace(low - edge, high + edge, grid, dtype=dtype)
    grid = grid.astype(dtype)

    def smooth(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        distance = (grid[:, None] - pair[0][None, :]) / sigma
        bumps = jnp.exp(-jnp.square(distance) / 2) / (sigma * (2 * jnp.pi) ** 0.5)
        return jnp.matmul(bumps, pair[1], precision=jax.lax.Precision.HIGHEST)

    curves = jax.lax.map(smooth, (nodes, weights))
    density = jnp.mean(curves, axis=0)
    error = jnp.std(curves, axis=0, ddof=1) / n_probes**0.5
    nan = jnp.asarray(jnp.nan, dtype)
    return SpectralDensity(
        grid=grid,
        density=jnp.where(finite, density, nan),
        standard_error=jnp.where(finite, error, nan),
        width=sigma,
        nodes=nodes,
        weights=weights,
        spikes=spikes,
        spike_residuals=spike_residuals,
        dimension=jnp.int32(p),
        products=jnp.sum(used),
        converged=settled & finite & within_tolerance(density, error, tol),
    )


def _in_batches(
    probes: Callable[[jax.Array], tuple[jax.Array, ...]], number: int, batch_size: int
) -> tuple[jax.Array, ...]:
    """Call a function of batches of indices, the last one shorter, and join what it returns."""
    size = min(batch_size, number)
    whole = number - number % size
    indices = jnp.arange(number, dtype=jnp.int32)
    parts = jax.lax.map(probes, indices[:whole].reshape(-1, size))
    joined = tuple(part.reshape(whole, *part.shape[2:]) for part in parts)
    if whole == number:
        return joined
    rest = probes(indices[whole:])
    return tuple(jnp.concatenate(pair) for pair in zip(joined, rest, strict=True))


def _checked_grid(grid: Any) -> int | jax.Array:
    """Return how many points there are to be, or the points, shape (g,), floating."""
    if isinstance(grid, int) and not isinstance(grid, bool):
        if grid < 2:
            raise UserError(f"grid is {grid}; choose at least 2 points")
        return grid
    if not isinstance(grid, jax.core.Tracer):
        try:
            known = np.asarray(grid, dtype=getattr(grid, "dtype", np.float64))
        except (TypeError, ValueError):
            known = np.zeros(0)
        if known.ndim != 1 or known.size < 2 or known.dtype.kind not in "fiuV":
            given = f"of shape {known.shape}" if known.ndim > 1 else f"{grid!s:.40}"
            raise UserError(
                f"grid is {given}; choose at least 2 points on one axis, or how many there "
                "are to be"
            )
        if not np.all(np.diff(known) > 0):
            raise UserError("grid does not ascend; give finite points in ascending order")
        grid = known
    elif grid.ndim != 1 or grid.shape[0] < 2:
        raise UserError(f"grid is of shape {grid.shape}; choose at least 2 points on one axis")
    return jnp.asarray(grid)


class _Process(NamedTuple):
    """A Lanczos process: its basis, known rows first, and the matrix it has found so far."""

    basis: jax.Array  # (rows, p)
    vector: jax.Array  # (p,), the next basis vector; zero once the process has ended
    before: jax.Array  # (p,), the last one
    diagonal: jax.Array  # (depth,)
    couplings: jax.Array  # (depth,), each row's with the next
    coupling: jax.Array  # the last of them
    scale: jax.Array  # length of the longest product
    products: jax.Array  # that counted


def _quadratures(
    operator: LinearOperator, starts: jax.Array, known: jax.Array, depth: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return Gauss nodes and weights of vectors' spectral measures, off the known vectors.

    All vectors are multiplied at once; the rest of a step is done one vector after another, which
    saves copies of bases.

    Args:
        operator: Symmetric, of dimension p.
        starts: Shape (b, p), each of any length.
        known: Shape (k, p), orthonormal rows.
        depth: Most products of a vector, at most p - k.

    Returns:
        Nodes and weights, each of shape (b, depth), the weights of a row summing to one, and the
        number of products, shape (b,). Nodes beyond an early end have the weight zero.
    """
    k, p = known.shape
    dtype = operator.dtype
    rounding = 50 * float(jnp.finfo(dtype).eps)
    zero = jnp.zeros((), dtype)

    def begin(start: jax.Array) -> _Process:
        empty = jnp.zeros((padded(k + depth), p), dtype)
        basis = jax.lax.dynamic_update_slice_in_dim(empty, known.astype(dtype), 0, axis=0)
        off = orthogonalise(basis, start, jnp.int32(k))
        row = jnp.zeros((depth,), dtype)
        nothing = jnp.zeros_like(off)
        return _Process(basis, off / norm(off), nothing, row, row, zero, zero, jnp.int32(0))

    def step(process: _Process, image: jax.Array, index: jax.Array) -> _Process:
        vector, alive = process.vector, jnp.any(process.vector != 0)  # not a number is alive
        basis = jax.lax.dynamic_update_index_in_dim(process.basis, vector, k + index, 0)
        scale = jnp.maximum(process.scale, norm(image))
        alpha = inner(vector, image)
        rest = image - alpha * vector - process.coupling * process.before
        rest = orthogonalise(basis, rest, k + index + 1, passes=1)
        beta = norm(rest)
        goes_on = alive & (beta > rounding * scale)  # not where it is not a number
        beta = jnp.where(goes_on, beta, zero)
        return _Process(
            basis,
            jnp.where(goes_on, rest / jnp.where(goes_on, beta, jnp.ones_like(beta)), zero),
            vector,
            process.diagonal.at[index].set(alpha),
            process.couplings.at[index].set(beta),
            beta,
            scale,
            process.products + alive.astype(jnp.int32),
        )

    def steps(state: tuple[jax.Array, list[_Process]]) -> tuple[jax.Array, list[_Process]]:
        index, processes = state
        images = jax.vmap(operator.product)(jnp.stack([each.vector for each in processes]))
        return index + 1, [step(each, images[i], index) for i, each in enumerate(processes)]

    def unfinished(state: tuple[jax.Array, list[_Process]]) -> jax.Array:
        index, processes = state
        alive = [jnp.any(each.vector != 0) for each in processes]
        return (index < depth) & jnp.any(jnp.stack(alive))

    first = [begin(starts[i]) for i in range(starts.shape[0])]
    _, processes = jax.lax.while_loop(unfinished, steps, (jnp.int32(0), first))
    found = [_gauss(each, depth) for each in processes]
    nodes, weights = (jnp.stack(part) for part in zip(*found, strict=True))
    return nodes, weights, jnp.stack([each.products for each in processes])


def _gauss(process: _Process, depth: int) -> tuple[jax.Array, jax.Array]:
    """Return the nodes and weights, each of shape (depth,), of a finished process."""
    diagonal, couplings = process.diagonal, process.couplings
    joins = couplings[:-1]
    reach = jnp.max(jnp.abs(diagonal)) + 2 * jnp.max(jnp.abs(couplings))
    finite = jnp.isfinite(reach)
    # Unused rows get an eigenvalue above all others (Gershgorin), apart from those of the process.
    above = jnp.where(reach > 0, 2 * reach, jnp.ones_like(reach))
    used = jnp.arange(depth, dtype=jnp.int32) < process.products
    joins = jnp.where(used[1:], joins, jnp.zeros_like(joins))
    matrix = jnp.diag(jnp.where(used, diagonal, above)) + jnp.diag(joins, 1) + jnp.diag(joins, -1)
    nodes, vectors = jnp.linalg.eigh(jnp.nan_to_num(matrix), symmetrize_input=False)
    weights = jnp.where(used, jnp.square(vectors[0]), jnp.zeros_like(nodes))
    nan = jnp.asarray(jnp.nan, nodes.dtype)
    return jnp.where(finite, nodes, nan), jnp.where(finite, weights, nan)
