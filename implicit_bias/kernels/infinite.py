"""The kernels of a network at infinite width, made from the network's own description."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import as_numbers, require_number, require_whole
from implicit_bias.errors import UserError
from implicit_bias.kernels.architectures import Engine, chain_of, choose_engine
from implicit_bias.kernels.closed_form import Kernels, LayerNumbers, closed_form, layer_numbers
from implicit_bias.kernels.stax_chain import kernel_positions, stax_kernels
from implicit_bias.kernels.tiles import by_tiles, tile_sizes
from implicit_bias.models.base import Scalar
from implicit_bias.models.layers import Chain, ChainModel, Residual
from implicit_bias.runtime import compiled

MEMORY = 2**30
"""Default bytes for two kernels and what is computed on the way."""

# Numbers of a block's size that are alive at once, as measured on compiled blocks and rounded up.
_LIVE_CLOSED_FORM = 12
_LIVE_STAX = 16
_LIVE_RESIDUAL = 8  # more for each residual branch that is being computed


@dataclass(frozen=True)
class InfiniteKernel:
    """The NNGP and neural tangent kernels of a model; build it by :func:`infinite_kernel`.

    Attributes:
        model: The finite network.
        engine: ``"closed form"`` or ``"neural-tangents"``.
        scale: Factor on the initial weights, as in ``model.init``; possibly traced.
        input_shape: Shape of one input, where it was given.
    """

    model: ChainModel
    engine: Engine
    scale: Scalar = 1.0
    input_shape: tuple[int, ...] | None = None

    def __call__(
        self, x1: jax.Array, x2: jax.Array | None = None, *, memory: int = MEMORY
    ) -> Kernels:
        """Compute both kernels, by blocks that fit a memory budget.

        The blocks are one compiled loop (one compilation for each shape of the inputs); like any
        function of JAX, this one may be used inside other transformations.

        Args:
            x1: Inputs, floating, shape (n1, *features).
            x2: Inputs of the same features and dtype, shape (n2, *features); None for x1 again,
                where blocks are computed once and mirrored.
            memory: Bytes for the two kernels and for what is computed on the way.

        Returns:
            Kernels of shape (n1, n2), of the inputs' dtype.

        Raises:
            UserError: If the inputs do not fit the network or each other, or the kernels do not fit
                the memory; or inputs that are known are not finite, or so small or large that the
                products of their mean squares leave the range of their type.
        """
        x1, x2 = self.checked(x1, x2)
        require_whole("memory", memory)
        sizes = tile_sizes(
            x1.shape[0],
            None if x2 is None else x2.shape[0],
            entry_bytes=x1.dtype.itemsize,
            pair_bytes=self.pair_bytes(x1.shape[1:], x1.dtype),
            memory=memory,
        )
        blocks = _compiled if isinstance(self.scale, float) else _blocks
        kernels: Kernels = blocks(kernel=self, sizes=sizes, x1=x1, x2=x2)
        return kernels

    def block(self, x1: jax.Array, x2: jax.Array | None = None) -> Kernels:
        """Compute both kernels at once and without compiling: the pure function behind the call.

        Args:
            x1: Inputs, shape (n1, *features).
            x2: Inputs, shape (n2, *features); None for x1 again.

        Returns:
            Kernels of shape (n1, n2), of the inputs' dtype.

        Raises:
            UserError: As the call, but for the memory.
        """
        x1, x2 = self.checked(x1, x2)
        chain = self.model.chain()
        numbers = self.numbers(x1.shape[1:], x1.dtype)
        return (closed_form if self.engine == "closed form" else stax_kernels)(
            chain, numbers, x1, x2
        )

    def numbers(
        self, input_shape: tuple[int, ...], dtype: jax.typing.DTypeLike
    ) -> tuple[LayerNumbers, ...]:
        """Return what each layer with weights does to the kernels.

        Args:
            input_shape: Shape of one input.
            dtype: Type of numbers that are traced.
        """
        return layer_numbers(self.model.weight_layers(input_shape), self.scale, dtype)

    def pair_bytes(self, input_shape: tuple[int, ...], dtype: Any) -> int:
        """Return what one pair of inputs takes while its kernels are computed, in bytes.

        Args:
            input_shape: Shape of one input.
            dtype: Type of the inputs.
        """
        chain = self.model.chain()
        branches = _LIVE_RESIDUAL * _nesting(chain)
        if self.engine == "closed form":
            return (_LIVE_CLOSED_FORM + branches) * jnp.dtype(dtype).itemsize
        computed = jax.dtypes.canonicalize_dtype(float).itemsize  # whatever the inputs' type
        return (_LIVE_STAX + branches) * computed * kernel_positions(chain, input_shape)

    def checked(self, x1: Any, x2: Any = None) -> tuple[jax.Array, jax.Array | None]:
        """Return inputs as arrays that this kernel can be computed of.

        Args:
            x1: Inputs, shape (n1, *features).
            x2: Inputs, shape (n2, *features); None for x1 again.

        Raises:
            UserError: As the call, but for the memory.
        """
        x1 = _inputs("x1", x1)
        x2 = None if x2 is None else _inputs("x2", x2)
        if x2 is not None and (x2.shape[1:] != x1.shape[1:] or x2.dtype != x1.dtype):
            raise UserError(
                f"x1 has inputs of shape {x1.shape[1:]} and type {x1.dtype}, but x2 has "
                f"{x2.shape[1:]} and {x2.dtype}; give inputs of one shape and type"
            )
        if self.input_shape is not None and x1.shape[1:] != self.input_shape:
            raise UserError(
                f"the inputs have shape {x1.shape[1:]}, but the kernel was made for "
                f"{self.input_shape}; give inputs of that shape"
            )
        if self.input_shape is None:  # a chain without Flatten takes vectors or images
            choose_engine(self.model.chain(), self.engine, x1.shape[1:])
        return x1, x2


def infinite_kernel(
    model: Any,
    input_shape: tuple[int, ...] | None = None,
    *,
    engine: str = "auto",
    scale: Scalar = 1.0,
) -> InfiniteKernel:
    """Return the kernels that a network's have as limits when its hidden widths grow.

    The limits are of the network as ``model.init(key, example, scale=scale)`` draws it. Under the
    ``ntk`` parameterisation they do not depend on its widths. Under ``standard`` the neural tangent
    kernel grows with the widths, and what is returned is its leading order at the model's own; so do
    ``glorot`` spreads depend on the widths. ``ARCHITECTURES`` says which networks have kernels.

    Args:
        model: A ``Dense``, a ``Network`` or another model that is made of a chain of layers.
        input_shape: Shape of one input; where it is given, what does not fit is refused here.
        engine: ``"closed form"`` (fully connected networks of ReLU, erf or linear units),
            ``"neural-tangents"`` (the ``ntk`` extra), or ``"auto"``, the first of them that can.
        scale: Factor on the initial weights, possibly traced.

    Returns:
        A function of inputs to kernels.

    Raises:
        UserError: If the network has no kernel limit that is known here, or not by this engine, or
            the ``ntk`` extra is missing.

    References:
        Neal, *Priors for infinite networks* (1994). Lee et al., *Deep neural networks as Gaussian
        processes* (2018). Jacot, Gabriel & Hongler, *Neural tangent kernel* (2018). Novak et al.,
        *Neural Tangents* (2020), of the second engine. Sohl-Dickstein et al., *On the infinite width
        limit of neural networks with a standard parameterization* (2020).

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import kernels, models
        >>> network = models.get(
        ...     "dense", widths=(1,), outputs=1, parameterisation="ntk", bias=False
        ... )
        >>> found = kernels.infinite_kernel(network, (2,))(jnp.eye(2))
        >>> round(float(found.ntk[0, 0]), 4), round(float(found.ntk[0, 1]), 4)  # 1/π between the two
        (2.0, 0.3183)
    """
    require_number("scale", scale)
    if not isinstance(scale, jax.core.Tracer):
        if np.asarray(scale).dtype.kind not in "fiuV":  # V: JAX's short floating types
            raise UserError(f"scale is {scale!r}; give a number")
        scale = float(scale)
        if not math.isfinite(scale):
            raise UserError(f"scale is {scale}; choose a finite number")
    if isinstance(model, type):
        raise UserError(
            f"model is the class {model.__name__}; give a network, such as Dense((512,), 10)"
        )
    shape = None if input_shape is None else _shape(input_shape)
    chain = chain_of(model)
    chosen = choose_engine(chain, engine, shape)
    if shape is not None:
        model.weight_layers(shape)  # refuses a shape that does not fit
    if chosen == "neural-tangents":
        from implicit_bias.kernels import _neural_tangents

        _neural_tangents.load()
    return InfiniteKernel(model, chosen, scale, shape)


def _inputs(name: str, values: Any) -> jax.Array:
    x = as_numbers(name, values)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise UserError(
            f"{name} has type {x.dtype}; give floating numbers, as {name}.astype(float)"
        )
    if x.ndim < 2 or not x.size:
        raise UserError(
            f"{name} has shape {x.shape}; give at least one input, shape (n, *features)"
        )
    if not isinstance(x, jax.core.Tracer):
        _require_in_range(name, x)
    return x


def _require_in_range(name: str, x: jax.Array) -> None:
    """Refuse inputs that are not finite, or whose mean squares' products would not be.

    The recursion multiplies mean squares of two inputs, fourth powers of their entries. Inputs that
    are zero are exact.
    """
    rows = np.asarray(x).reshape(x.shape[0], -1)
    rows = rows.astype(np.float32) if rows.dtype.itemsize < 4 else rows
    largest = np.max(np.abs(rows), axis=1)
    if not np.all(np.isfinite(largest)):
        raise UserError(f"{name} has values that are not finite; leave those inputs out")
    rows, largest = rows[largest > 0], largest[largest > 0]
    if not largest.size:
        return
    # The mean is of numbers up to one: what has no share in it may vanish.
    with np.errstate(under="ignore"):
        shares = np.mean(np.square(rows / largest[:, None]), axis=1)
    sizes = largest.astype(np.float64) * np.sqrt(shares.astype(np.float64))
    limits = jnp.finfo(x.dtype)
    low, high = float(limits.tiny) ** 0.25, float(limits.max) ** 0.25
    if np.min(sizes) < low or np.max(sizes) > high:
        wrong = np.min(sizes) if np.min(sizes) < low else np.max(sizes)
        raise UserError(
            f"{name} has an input whose entries' root mean square is {wrong:.3g}, where {x.dtype} "
            f"allows zero or {low:.2g} to {high:.2g}; rescale the inputs, or use a wider type"
        )


def _shape(given: Any) -> tuple[int, ...]:
    try:
        shape = tuple(operator.index(size) for size in given)
    except TypeError:
        shape = ()
    if shape and min(shape) >= 1:
        return shape
    raise UserError(
        f"input_shape is {given!r}; give the shape of one input, whole numbers >= 1, such as (784,)"
    )


def _nesting(chain: Chain) -> int:
    branches = [layer.branch for layer in chain if isinstance(layer, Residual)]
    return max((1 + _nesting(branch) for branch in branches), default=0)


def _blocks(
    kernel: InfiniteKernel, sizes: tuple[int, int], x1: jax.Array, x2: jax.Array | None
) -> Kernels:
    return by_tiles(kernel.block, x1, x2, sizes)


_compiled = compiled(_blocks, static=("kernel", "sizes"))
