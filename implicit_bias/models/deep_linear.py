"""Deep linear networks that start balanced, as multiples of the identity, orthogonal or Gaussian.

``Dense(widths, outputs, "identity", bias=False)`` is the same function with the usual Gaussian starts; here
the start is what theory of deep linear networks speaks of. With L layers, α the scale of each:

``balanced``
    W_{l+1}ᵀW_{l+1} = W_lW_lᵀ for all pairs (Arora et al. 2019, "Implicit regularization in deep matrix
    factorization", procedure 1): the product is α^L times a Gaussian matrix of entries of variance 1/n_in,
    its singular values are shared evenly by the layers, and hidden layers are turned at random.
``identity``
    W_l = α·I, where layers are not square the corner of I that fits: balanced where all are. The key does
    nothing.
``orthogonal``
    W_l = α·Q with orthonormal rows or columns, whichever are fewer (Saxe et al. 2014).
``gaussian``
    W_l of independent entries of variance α²/n_in.

Only ``identity`` and ``gaussian`` have entries that padding a width leaves as they are, and no start is
promised to be so.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from implicit_bias.errors import UserError, unknown
from implicit_bias.models.base import Params, Scalar, State, require_floating
from implicit_bias.models.dense import Dense

Start = Literal["balanced", "identity", "orthogonal", "gaussian"]
STARTS: tuple[str, ...] = ("balanced", "identity", "orthogonal", "gaussian")


@dataclass(frozen=True)
class DeepLinear:
    """A product of matrices, x ↦ W_L ⋯ W_1 x; inputs of any shape are flattened.

    Parameters are those of ``Dense`` without biases, ``{"layer_0": {"weight": (n_out, n_in)}, …}``.

    Attributes:
        widths: Width of each hidden layer; none for one layer.
        outputs: Number of outputs k.
        start: ``balanced``, ``identity``, ``orthogonal`` or ``gaussian``; see the module's text.
        alpha: Scale of each layer's start.

    Raises:
        UserError: When a field has a value that cannot be used.
    """

    widths: tuple[int, ...]
    outputs: int
    start: Start = "balanced"
    alpha: float = 1.0
    _network: Dense = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        network = Dense(self.widths, self.outputs, "identity", bias=False)
        object.__setattr__(self, "_network", network)
        object.__setattr__(self, "widths", network.widths)
        if self.start not in STARTS:
            raise unknown("start", self.start, STARTS)
        if not (isinstance(self.alpha, int | float) and 0 < self.alpha < math.inf):
            raise UserError(
                f"alpha is {self.alpha!r}; choose a scale of layers above 0, such as 0.1"
            )

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return len(self.widths) + 1

    @property
    def output_axis(self) -> int:
        """Axis of a weight array that counts output units: the first."""
        return 0

    def init(
        self, key: jax.Array, example: jax.Array, *, scale: Scalar = 1.0
    ) -> tuple[Params, State]:
        """Draw initial parameters.

        Args:
            key: Random key.
            example: One input without the batch axis, floating; only its shape and dtype are used.
            scale: Factor on the initial weights of each layer, possibly traced.

        Returns:
            ``(params, {})``.

        Raises:
            UserError: The example is not floating, or a hidden layer is too narrow for a balanced start.
        """
        require_floating(example)
        dtype, sizes = example.dtype, (example.size, *self.widths, self.outputs)
        shapes = [(n_out, n_in) for n_in, n_out in itertools.pairwise(sizes)]
        keys = jax.random.split(key, self.depth)
        if self.start == "balanced":
            weights = self._balanced(keys, sizes, dtype)
        elif self.start == "identity":
            weights = [jnp.eye(*shape, dtype=dtype) for shape in shapes]
        elif self.start == "orthogonal":
            weights = [_frame(one, shape, dtype) for one, shape in zip(keys, shapes, strict=True)]
        else:
            weights = [
                jax.random.normal(one, shape, dtype) * shape[1] ** -0.5
                for one, shape in zip(keys, shapes, strict=True)
            ]
        # The scale is cast on its own: a traced float32 may meet float64 parameters.
        factor = jnp.asarray(self.alpha, dtype) * jnp.asarray(scale, dtype)
        return {f"layer_{i}": {"weight": factor * w} for i, w in enumerate(weights)}, {}

    def apply(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        """Evaluate the network; training and evaluation are the same.

        Args:
            params: As returned by ``init``.
            state: Passed through.
            x: Inputs, shape ``(batch, *features)``, of the parameters' dtype.
            train: Ignored.
            key: Ignored.

        Returns:
            Outputs of shape ``(batch, outputs)``, and the state.
        """
        return self._network.apply(params, state, x, train=train, key=key)

    def product(self, params: Params) -> jax.Array:
        """Return W_L ⋯ W_1, shape (outputs, inputs)."""
        weights = [params[f"layer_{index}"]["weight"] for index in range(self.depth)]
        return functools.reduce(lambda inner, outer: outer @ inner, weights)

    def describe(self) -> dict[str, Any]:
        """Return the architecture as plain values that JSON can hold."""
        fields = {name: value for name, value in asdict(self).items() if name != "_network"}
        fields["widths"] = list(self.widths)
        return {"architecture": "deep linear", "depth": self.depth, **fields}

    def _balanced(self, keys: jax.Array, sizes: tuple[int, ...], dtype: Any) -> list[jax.Array]:
        rank = min(sizes[0], sizes[-1])
        if min(sizes) < rank:
            raise UserError(
                f"widths is {list(self.widths)}, narrower than the {rank} singular values that a balanced "
                f"start shares; choose widths of at least {rank}, or another start"
            )
        shape = (sizes[-1], sizes[0])
        product = jax.random.normal(keys[0], shape, dtype) * sizes[0] ** -0.5
        u, s, vt = _svd(product)
        root = s ** (1.0 / self.depth)
        hidden = [
            _frame(one, (size, rank), dtype)
            for one, size in zip(keys[1:], sizes[1:-1], strict=True)
        ]
        frames = [vt.T, *hidden, u]
        return [(outer * root[None, :]) @ inner.T for inner, outer in itertools.pairwise(frames)]


# Where lanes start in one batch, still one after another: batches of LAPACK's decompositions wait for the
# threads that they run on, and on CPUs of JAX 0.10.2 two devices that did so at once waited for ever.
@sequential_vmap  # type: ignore[untyped-decorator]
def _svd(matrix: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    u, s, vt = jnp.linalg.svd(matrix, full_matrices=False)
    return u, s, vt


@sequential_vmap  # type: ignore[untyped-decorator]
def _qr(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    q, r = jnp.linalg.qr(matrix)
    return q, r


def _frame(key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
    """Draw orthonormal rows or columns, whichever are fewer, evenly."""
    tall = shape if shape[0] >= shape[1] else shape[::-1]
    q, r = _qr(jax.random.normal(key, tall, dtype))
    q = q * jnp.sign(jnp.diagonal(r))[None, :]
    return q if tall == shape else q.T
