"""What the rest of the package knows about a network: two pure functions and a description.

A model is a frozen, hashable record. Its parameters are a nested dict of arrays that the caller
holds; its state (the running statistics of a normalisation layer, say) travels explicitly beside
them and is an empty dict for most models.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import jax

from implicit_bias.errors import UserError
from implicit_bias.ranges import Setting

Params = dict[str, Any]
"""Nested dict of parameter arrays, all of one floating dtype."""

State = dict[str, Any]
"""Nested dict of arrays that ``apply`` reads and returns anew; usually empty."""

Scalar = float | jax.Array
"""A number that may be traced."""


@runtime_checkable
class Model(Protocol):
    """A network as two pure functions, usable inside ``jit``, ``grad`` and ``lax.map``.

    Implementations are frozen and hashable (two equal models share one compiled program), and
    follow the dtype of what they are given.

    A model may also have an attribute ``traced``, a tuple of ``ranges.Setting``: numbers that vary
    from lane to lane without a new compilation. Its ``init`` then takes each as a keyword argument,
    possibly traced, and keeps in its state what ``apply`` needs of them.

    A model whose training looks at the batch as a whole (batch normalisation) says so by a true
    attribute ``batch_statistics``. Its ``apply`` then also takes ``example_weights``, shape
    ``(batch,)``: how much each example counts in the statistics of the batch, all alike by default.
    Training passes them, as it fills the empty slots of a smaller last batch with examples of
    weight 0.
    """

    @property
    def output_axis(self) -> int:
        """Axis that counts output units, in every weight array of two or more axes.

        Normalisation by filter needs it: the entries that share an index along it are the incoming
        weights of one unit. It is 0 for ``Dense``, and -1 for Flax networks. A class attribute will
        do.
        """
        ...

    def init(self, key: jax.Array, example: jax.Array, *, scale: Scalar = 1.0) -> tuple[Any, Any]:
        """Draw initial parameters.

        Args:
            key: Random key; the same key gives the same parameters.
            example: One input, without the batch axis; its shape and dtype are used, not its
                values.
            scale: Factor on the initial weights, possibly traced. Biases are not scaled.

        Returns:
            ``(params, state)``.
        """
        ...

    def apply(
        self,
        params: Any,
        state: Any,
        x: jax.Array,
        *,
        train: bool,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """Evaluate the network.

        Args:
            params: As returned by ``init``.
            state: As returned by ``init`` or by an earlier ``apply``.
            x: Inputs, shape ``(batch, *features)``.
            train: Whether this is a training step (static); matters for normalisation and dropout.
            key: Random key for models that are random while training.

        Returns:
            Outputs of shape ``(batch, k)``, and the new state.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return the architecture as plain values that JSON can hold."""
        ...


def parameter_count(params: Any) -> int:
    """Count the numbers in a pytree of arrays (or of shape records).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from implicit_bias import models
        >>> model = models.get("dense", widths=(32,), outputs=10)
        >>> params, _ = model.init(jax.random.key(0), jnp.zeros(64))
        >>> models.parameter_count(params)  # 64 · 32 + 32 + 32 · 10 + 10
        2410
    """
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def traced_settings(model: Model) -> tuple[Setting, ...]:
    """Return the traced settings that a model's ``init`` takes, none for most models."""
    found: tuple[Setting, ...] = getattr(model, "traced", ())
    return found


def uses_batch_statistics(model: Model) -> bool:
    """Say whether training looks at the batch as a whole; see ``Model``."""
    return bool(getattr(model, "batch_statistics", False))


def abstract_init(model: Model, example: jax.Array) -> tuple[Any, Any]:
    """Return the shapes and dtypes of a model's parameters and state without computing them.

    Args:
        model: Any model.
        example: One input, without the batch axis.

    Returns:
        ``(params, state)`` with a ``jax.ShapeDtypeStruct`` in place of each array.
    """
    return jax.eval_shape(lambda e: model.init(jax.random.key(0), e), example)


def failure_in(name: str, x: Any, error: Exception) -> UserError:
    """Build the error for a user's network that failed: what it said, in one line.

    Args:
        name: The network's name.
        x: Its inputs.
        error: What it raised. Raise the result ``from`` it, so that a debugger finds the place.
    """
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(
        f"the model {name} failed on inputs of shape {jax.numpy.shape(x)}: {said:.300}; "
        "give inputs and parameters that fit it, or mend the network"
    )


def evaluate(model: Model, params: Any, state: Any, x: jax.Array) -> jax.Array:
    """Evaluate any model outside of training, held to the contract of ``Model.apply``.

    Args:
        model: Any model.
        params: Its parameters.
        state: Its state.
        x: Inputs, shape ``(batch, *features)``.

    Returns:
        Outputs, shape ``(batch, k)``.

    Raises:
        UserError: If the model fails on these shapes, or returns something else.
    """
    try:
        found = model.apply(params, state, x, train=False)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        if isinstance(error, jax.errors.JAXTypeError):  # a tracer misused: its own text is best
            raise
        raise failure_in(type(model).__name__, x, error) from error
    if not isinstance(found, tuple) or len(found) != 2:
        raise UserError(
            f"the model {type(model).__name__} returns {type(found).__name__}; "
            "its apply must return (outputs, state)"
        )
    shape = getattr(found[0], "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != x.shape[0]:
        raise UserError(
            f"the model {type(model).__name__} returns outputs of shape {shape} for inputs of "
            f"shape {x.shape}; return shape (batch, outputs)"
        )
    return found[0]


def require_floating(example: jax.Array) -> None:
    """Raise ``UserError`` unless an input is floating: parameters take its dtype."""
    if not hasattr(example, "dtype"):
        raise UserError(
            f"the example input is of type {type(example).__name__}; give one input as an array"
        )
    if not jax.numpy.issubdtype(example.dtype, jax.numpy.floating):
        raise UserError(
            f"the example input has dtype {example.dtype}, but parameters take the input's dtype; "
            "convert inputs to float32 or float64"
        )
