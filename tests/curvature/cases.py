"""The case list that every operator is held against, and the dense matrices it must equal.

A case picks a network, a loss, a block of parameters, a chunk size, how lanes are mapped, and the
rest; the list is short because it covers every *pair* of choices and not every combination. The
matrices are NumPy's, in float64, from explicit first and second derivatives of the outputs
(``jax.jacfwd`` and ``jax.jacrev``) and textbook derivatives of the losses.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from jax.flatten_util import ravel_pytree

from implicit_bias import losses
from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.models import Dense

N, TOKENS, FEATURES, CLASSES, LANES = 7, 3, 2, 3, 2
DENSITIES = {"squared": "gaussian", "cross_entropy": "categorical", "logistic": "bernoulli"}

FACTORS: dict[str, tuple[Any, ...]] = {
    "network": ("deep linear", "dense", "residual", "convolution", "attention"),
    "block": (None, "layer_0", "weights", "biases", ("layer_1", "biases")),
    "chunk_size": (None, 1, 3, 50),  # 3 does not divide 7
    "loss": ("squared", "cross_entropy", "logistic"),
    "lanes": ("one", "map", "vmap"),
    "linearize": (True, False),
    "weighted": (False, True),
    "dtype": ("float64", "float32"),
}


@dataclass(frozen=True)
class Case:
    """One choice of everything."""

    network: str
    block: Any
    chunk_size: int | None
    loss: str
    lanes: str
    linearize: bool
    weighted: bool
    dtype: str

    def __str__(self) -> str:
        return "-".join(str(getattr(self, name)).replace(" ", "_") for name in FACTORS)


def _pairs(levels: tuple[int, ...]) -> set[tuple[int, int, int, int]]:
    """Return the pairs (factor, level, factor, level) that a row of levels covers."""
    return {(i, levels[i], j, levels[j]) for i, j in itertools.combinations(range(len(levels)), 2)}


def all_pairs() -> set[tuple[int, int, int, int]]:
    """Return all pairs there are."""
    sizes = [len(values) for values in FACTORS.values()]
    return {
        (i, a, j, b)
        for i, j in itertools.combinations(range(len(sizes)), 2)
        for a in range(sizes[i])
        for b in range(sizes[j])
    }


def _rows() -> Iterator[tuple[int, ...]]:
    """Cover all pairs: start each row from an open pair, fill it greedily, keep the best of some."""
    rng = np.random.default_rng(4)  # of the first forty, none needs fewer rows
    sizes = [len(values) for values in FACTORS.values()]
    missing = all_pairs()
    while missing:
        candidates = []
        for _ in range(20):
            i, a, j, b = sorted(missing)[rng.integers(len(missing))]
            row = {i: a, j: b}
            for factor in rng.permutation(len(sizes)):
                if factor not in row:
                    gains = [
                        sum(
                            ((factor, level, g, v) if factor < g else (g, v, factor, level))
                            in missing
                            for g, v in row.items()
                        )
                        for level in range(sizes[factor])
                    ]
                    best = np.flatnonzero(np.array(gains) == max(gains))
                    row[int(factor)] = int(rng.choice(best))
            candidates.append(tuple(row[factor] for factor in range(len(sizes))))
        chosen = max(candidates, key=lambda row: len(_pairs(row) & missing))
        missing -= _pairs(chosen)
        yield chosen


def pairs(case: Case) -> set[tuple[int, int, int, int]]:
    """Return the pairs that a case covers."""
    return _pairs(tuple(values.index(getattr(case, name)) for name, values in FACTORS.items()))


CASES = [
    Case(**{name: FACTORS[name][level] for name, level in zip(FACTORS, row, strict=True)})
    for row in _rows()
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


# ------------------------------------------------------------------------------------ compiling


def _known_options() -> dict[str, Any]:
    """Return what makes XLA compile small programs about seven times faster, where it is known."""
    wanted = {
        "xla_backend_optimization_level": 0,
        "xla_cpu_use_fusion_emitters": False,
        "xla_cpu_parallel_codegen_split_count": 1,
    }
    known = {}
    for name, value in wanted.items():
        try:
            jax.jit(lambda x: x, compiler_options={name: value})(np.float32(0))
        except Exception:  # another release or backend has others; the tests only take longer
            continue
        known[name] = value
    return known


def quick(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile with little optimisation: these programs run for microseconds."""
    return jax.jit(function, compiler_options=_options(), **options)


_options = functools.cache(_known_options)


# ------------------------------------------------------------------------------------- networks


# Written with few primitives: tracing and compiling them is what these tests spend their time on.


def _affine(layer: Any, x: jax.Array) -> jax.Array:
    y = jax.lax.dot_general(x, layer["kernel"], (((x.ndim - 1,), (0,)), ((), ())))
    return y + jnp.broadcast_to(layer["bias"], y.shape)


def _deep_linear(params: Any, x: jax.Array) -> jax.Array:
    return _affine(params["layer_1"], _affine(params["layer_0"], x.reshape(len(x), -1)))


_DENSE = Dense((3,), CLASSES, activation="relu")


def _dense(params: Any, x: jax.Array) -> jax.Array:
    return _DENSE.apply(params, {}, x)[0]


def _residual(params: Any, x: jax.Array) -> jax.Array:
    h = _affine(params["layer_0"], x.reshape(len(x), -1))
    unit = h * jax.lax.rsqrt(jnp.sum(h * h, axis=1, keepdims=True) + 0.1)
    unit = unit * params["norm"]["scale"][None, :] + params["norm"]["bias"][None, :]
    return h + jax.lax.erf(_affine(params["layer_1"], unit))


def _convolution(params: Any, x: jax.Array) -> jax.Array:
    layer = params["layer_0"]
    h = jax.lax.conv_general_dilated(
        x, layer["kernel"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    h = jnp.sum(jnp.tanh(h + layer["bias"][None, None, :]), axis=1)
    return _affine(params["layer_1"], h)


def _attention(params: Any, x: jax.Array) -> jax.Array:
    # The keys' matrix and the queries' only occur as a product: one of them is enough.
    query, value = (_affine(params["layer_0"][name], x) for name in ("query", "value"))
    weights = jnp.exp(jax.lax.dot_general(query, x, (((2,), (2,)), ((0,), (0,)))))
    mixed = jax.lax.dot_general(weights, value, (((2,), (1,)), ((0,), (0,))))
    mixed = mixed / jnp.sum(weights, axis=2, keepdims=True)
    return _affine(params["layer_1"], jnp.sum(mixed, axis=1))


def _shapes(n_in: int, n_out: int) -> dict[str, tuple[int, ...]]:
    return {"kernel": (n_in, n_out), "bias": (n_out,)}


NETWORKS: dict[str, tuple[Callable[[Any, jax.Array], jax.Array], Any]] = {
    "deep linear": (_deep_linear, {"layer_0": _shapes(6, 2), "layer_1": _shapes(2, CLASSES)}),
    "dense": (
        _dense,
        {
            "layer_0": {"weight": (3, 6), "bias": (3,)},
            "layer_1": {"weight": (CLASSES, 3), "bias": (CLASSES,)},
        },
    ),
    "residual": (
        _residual,
        {
            "layer_0": _shapes(6, CLASSES),
            "layer_1": _shapes(CLASSES, CLASSES),
            "norm": {"scale": (CLASSES,), "bias": (CLASSES,)},
        },
    ),
    "convolution": (
        _convolution,
        {"layer_0": {"kernel": (2, FEATURES, 3), "bias": (3,)}, "layer_1": _shapes(3, CLASSES)},
    ),
    "attention": (
        _attention,
        {
            "layer_0": {name: _shapes(FEATURES, 2) for name in ("query", "value")},
            "layer_1": _shapes(2, CLASSES),
        },
    ),
}


def make(network: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return parameters of all lanes, inputs and classes; float64, but exact in float32."""
    rng = np.random.default_rng(list(NETWORKS).index(network))

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        values = rng.normal(size=(LANES, *shape)) * (0.8 if len(shape) > 1 else 0.4)
        return values.astype(np.float32).astype(np.float64)

    params = jax.tree.map(draw, NETWORKS[network][1], is_leaf=lambda x: isinstance(x, tuple))
    x = rng.normal(size=(N, TOKENS, FEATURES)).astype(np.float32).astype(np.float64)
    return params, x, rng.integers(0, CLASSES, N).astype(np.int32)


# ------------------------------------------------------------------------------------ operators


@dataclass(frozen=True)
class Problem:
    """What an operator is built from."""

    apply: Callable[[Any, jax.Array], jax.Array]
    loss: str

    @property
    def density(self) -> str:
        """The density whose negative logarithm is the loss."""
        return DENSITIES[self.loss]

    def outputs(self, params: Any, batch: Any) -> jax.Array:
        """Return the outputs; the logistic loss takes one."""
        f = self.apply(params, batch[0])
        return f[:, :1] if self.loss == "logistic" else f

    def loss_of_outputs(self, f: jax.Array, batch: Any) -> jax.Array:
        """Return the examples' losses."""
        return losses.get(self.loss).per_example(f, targets(self.loss, batch[1]))

    def weighted(self, params: Any, batch: Any, weights: jax.Array) -> jax.Array:
        """Return the weighted sum of the losses."""
        return jnp.sum(weights * self.loss_of_outputs(self.outputs(params, batch), batch))


def targets(loss: str, y: Any) -> Any:
    """Return class numbers, two of them for the logistic loss."""
    return (y == 0).astype(np.int32) if loss == "logistic" else y


Build = Callable[..., tuple[LinearOperator, Callable[[jax.Array], Any]]]
Oracle = Callable[["Exact", "Case", int], np.ndarray]


def cast(tree: Any, dtype: str) -> Any:
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if np.issubdtype(leaf.dtype, np.floating) else leaf, tree
    )


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


def lane_of(case: Case, lane: int) -> tuple[Problem, Any, Any]:
    """Return the problem, one lane's parameters and the data, in the case's type."""
    params, x, y = cast(make(case.network), case.dtype)
    problem = Problem(NETWORKS[case.network][0], case.loss)
    return problem, jax.tree.map(lambda leaf: leaf[lane], params), (x, y)


def matrices(operators: list[LinearOperator]) -> list[jax.Array]:
    """Form the matrices of operators of one dimension, column by column, as ``dense`` does."""
    basis = jnp.eye(operators[0].dimension, dtype=operators[0].dtype)
    columns = jax.lax.map(lambda v: [operator.product(v) for operator in operators], basis)
    return [each.T for each in columns]


def check(case: Case, *held: tuple[Build, Oracle]) -> None:
    """Hold operators against their dense matrices, all in one program.

    Args:
        case: What to build them from.
        held: For each operator, how to build it, called as ``build(problem, params, data,
            **options)``, and its matrix with respect to all parameters, of a lane.
    """
    given = weights(case)
    options = {
        "chunk_size": case.chunk_size,
        "linearize": case.linearize,
        "block": case.block,
        "weights": None if given is None else jnp.asarray(given, case.dtype),
    }
    problem, _, data = lane_of(case, 0)
    params = cast(make(case.network)[0], case.dtype)
    one = jax.tree.map(lambda leaf: leaf[0], params)

    def all_matrices(params: Any) -> list[jax.Array]:
        return matrices([build(problem, params, data, **options)[0] for build, _ in held])

    if case.lanes == "one":
        found = [np.asarray(each)[None] for each in quick(all_matrices)(one)]
    elif case.lanes == "map":
        found = quick(lambda params: jax.lax.map(all_matrices, params))(params)
    else:
        found = quick(jax.vmap(all_matrices))(params)
    where = positions(one, case.block)
    for (build, oracle), lanes in zip(held, found, strict=True):
        for lane, matrix_found in enumerate(np.asarray(lanes)):
            expected = oracle(exact(case, lane), case, lane)[np.ix_(where, where)]
            assert matrix_found.dtype == case.dtype, build
            assert matrix_found.shape == expected.shape, build
            scale = np.linalg.norm(expected, 2)
            assert scale > 1e-3, "a case that tells nothing"
            # The norm of the error bounds that of every product with a vector of length one.
            error = np.linalg.norm(matrix_found - expected, 2)
            bound = 1e-10 if case.dtype == "float64" else 1e-5
            assert error <= bound * scale, (build, error / scale)


# ------------------------------------------------------------- properties shared by the operators

_WIDE, _NARROW = Dense((5,), 3, activation="tanh"), Dense((2,), 3, activation="tanh")


def plain(loss: str = "cross_entropy", network: str = "dense") -> tuple[Problem, Any, Any]:
    """Return a problem with parameters and data, float64."""
    return lane_of(Case(network, None, None, loss, "one", True, False, "float64"), 0)


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


@functools.cache
def _random_matrices(builds: tuple[Build, ...], loss: str) -> Callable[..., Any]:
    problem, params, (_, y) = plain(loss, "convolution")
    unravel = ravel_pytree(params)[1]

    @quick
    def made(flat: jax.Array, x: jax.Array, weights: jax.Array) -> tuple[list, jax.Array]:
        data = (x, y)
        operators = [
            build(problem, unravel(flat), data, chunk_size=3, weights=weights)[0]
            for build in builds
        ]
        jacobian = jax.jacrev(lambda flat: problem.outputs(unravel(flat), data))(flat)
        return matrices(operators), jacobian

    return made


def check_semi_definite(builds: tuple[Build, ...], loss: str, seed: int, scale: float) -> None:
    """Hold the least eigenvalues against zero, at random parameters, inputs and weights."""
    rng = np.random.default_rng(seed)
    _, params, (x, _) = plain(loss, "convolution")
    flat = scale * rng.normal(size=sum(leaf.size for leaf in jax.tree.leaves(params)))
    x = rng.normal(size=x.shape)
    weights = rng.uniform(0, 1, N) * rng.integers(0, 2, N) + 0.01
    found, jacobian = jax.tree.map(np.asarray, _random_matrices(builds, loss)(flat, x, weights))
    # Saturated outputs make the matrix far smaller than the Jacobian that it is rounded like.
    least = np.einsum("n,nkp->", weights, jacobian**2)
    for build, matrix in zip(builds, found, strict=True):
        rounding = 1e-14 * (np.trace(matrix) + least)
        np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=rounding, err_msg=str(build))
        assert np.linalg.eigvalsh((matrix + matrix.T) / 2)[0] >= -rounding, build


semi_definite = settings(max_examples=20, deadline=None)  # the first example compiles


def check_shared_primal(build: Build) -> None:
    """See that products repeat the forward pass only where they are told to."""
    problem, params, data = plain(network="convolution")

    def program(**options: Any) -> str:
        text = []

        def trace(params: Any) -> None:
            operator, _ = build(problem, params, data, **options)
            text.append(str(jax.make_jaxpr(operator.product)(np.ones(operator.dimension))))

        jax.eval_shape(trace, params)
        return text[0]

    for chunk_size in (None, 3):
        assert " tanh " in program(chunk_size=chunk_size, linearize=False)
        assert " tanh " not in program(chunk_size=chunk_size, linearize=True)


def check_precision(build: Build) -> None:
    """See that every matrix product asks for the highest precision; a GPU would take TF32."""
    for network in ("dense", "convolution"):
        problem, params, data = plain(network=network)
        for chunk_size, linearize in itertools.product((None, 3), (True, False)):
            options = {"chunk_size": chunk_size, "linearize": linearize}

            def product(
                params: Any, problem: Problem = problem, options: Any = options, data: Any = data
            ) -> jax.Array:
                operator, _ = build(problem, params, data, **options)
                return operator.product(np.ones(operator.dimension))

            text = str(jax.make_jaxpr(product)(params))
            products = text.count("dot_general[") + text.count("conv_general_dilated[")
            assert products > 0
            assert text.count("precision=(Precision.HIGHEST") == products


BAD_REQUESTS = [
    ({"chunk_size": 0}, "chunk_size is 0"),
    ({"data": (np.ones((0, 6)), np.ones((0,), np.int32))}, "0 examples"),
    ({"data": (np.ones((3, 6)), np.ones((2,), np.int32))}, "share one leading axis"),
    ({"weights": jnp.ones(3)}, "give shape (7,)"),
    ({"block": "layer_9"}, "unknown block 'layer_9'"),
    ({"block": ()}, "is empty"),
    ({"params": {"layer_0": {"weight": np.ones(3, np.int32)}}}, "floating-point"),
]
every_bad_request = pytest.mark.parametrize(("change", "message"), BAD_REQUESTS)


def request(build: Build, change: dict[str, Any]) -> None:
    """Build an operator with one argument changed."""
    problem, params, data = plain()
    arguments = {"params": params, "data": data} | change
    build(problem, arguments.pop("params"), arguments.pop("data"), **arguments)
