"""What training minimises: squared error, softmax cross-entropy and the logistic loss.

A loss is given per example, so that the caller can weight examples: a batch with padding, a noise
injection, a sum over micro-batches. All are finite with finite gradients wherever the outputs are
finite and their squares do not overflow.

An example may ask for several classes, such as every next token of a text: targets (n, t) with outputs
(n, t·k). Its loss and its error are then means over its t predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_function
from implicit_bias.errors import UserError, unknown

PerExample = Callable[[jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True)
class Loss:
    """A loss function with a name; hashable.

    Attributes:
        name: Name in results.
        function: Maps outputs (n, k) and targets to one number per example, shape (n,).
        tasks: The kinds of data it can be used on.
        unit: Its unit, as results state it.
    """

    name: str
    # Its text would hold an address, and records that hold a loss are told apart by theirs.
    function: PerExample = field(repr=False)
    tasks: tuple[str, ...] = ("classification", "regression")
    unit: str = "loss unit"

    def per_example(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Evaluate the loss of each example.

        Args:
            outputs: The network's outputs, shape (n, k).
            targets: Class numbers, shape (n,), integer; or target vectors, shape (n, k), floating; or
                class numbers of t predictions, shape (n, t), with outputs (n, t·k).

        Returns:
            Losses, shape (n,), of the outputs' dtype.

        Raises:
            UserError: When shapes or dtypes do not fit this loss, or a user's own function does
                not return one number per example.
        """
        _check_outputs(self.name, outputs, targets)
        if _several(targets):
            return _mean_over_predictions(self.per_example, outputs, targets)
        losses = self.function(outputs, targets)
        if jnp.shape(losses) != outputs.shape[:1]:
            raise UserError(
                f"loss {self.name!r} returns shape {jnp.shape(losses)} for outputs of shape "
                f"{outputs.shape}; return one loss per example, not their mean or sum"
            )
        return losses

    def mean(
        self, outputs: jax.Array, targets: jax.Array, weights: jax.Array | None = None
    ) -> jax.Array:
        """Average the loss over examples.

        Args:
            outputs: Shape (n, k).
            targets: As in ``per_example``.
            weights: Shape (n,): the result is the sum of weight times loss. By default each is 1/n;
                other weights are used as they are, not normalised.

        Returns:
            A scalar.
        """
        losses = self.per_example(outputs, targets)
        return jnp.mean(losses) if weights is None else jnp.sum(weights * losses)

    def error(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Evaluate the error of each example; see :func:`error`."""
        return error(outputs, targets)

    def check(self, task: str, n_outputs: int) -> None:
        """Check that this loss suits a task before anything is compiled.

        Args:
            task: ``"classification"`` or ``"regression"``.
            n_outputs: Number of outputs of the network.

        Raises:
            UserError: When it does not.
        """
        if task not in self.tasks:
            raise UserError(
                f"loss {self.name!r} cannot be used for {task}; choose loss='squared' "
                f"or data for {' or '.join(self.tasks)}"
                + (" (targets of an integer type)" if task == "regression" else "")
            )
        if self == LOGISTIC and n_outputs != 1:
            raise UserError(
                f"loss 'logistic' needs one output, but the network has {n_outputs}; "
                "choose outputs=1 for two classes, or loss='cross_entropy'"
            )
        if self == CROSS_ENTROPY and n_outputs < 2:
            raise UserError(
                "loss 'cross_entropy' needs two outputs or more, but the network has 1; "
                "choose one output per class, or loss='logistic'"
            )
        if self == SQUARED and task == "classification" and n_outputs < 2:
            raise UserError(
                "loss 'squared' codes classes as one-hot vectors, but the network has 1 output; "
                "choose one output per class, or loss='logistic'"
            )


def error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Evaluate what is reported beside the loss: misclassification, or squared error.

    Args:
        outputs: Shape (n, k).
        targets: Class numbers, shape (n,), or target vectors, shape (n, k); or class numbers of t
            predictions, shape (n, t), with outputs (n, t·k).

    Returns:
        Shape (n,), of the outputs' dtype. For class numbers, 1 where the predicted class is wrong
        and 0 elsewhere; the prediction is the largest output (the first of equals), or with one
        output, class 1 where it is positive. An output that is not a number is wrong. For target
        vectors, the squared distance.
    """
    _check_outputs("error", outputs, targets)
    if _several(targets):
        return _mean_over_predictions(error, outputs, targets)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        return jnp.sum(jnp.square(outputs - targets.astype(outputs.dtype)), axis=1)
    if outputs.shape[1] == 1:
        predicted = (outputs[:, 0] > 0).astype(targets.dtype)
    else:
        predicted = jnp.argmax(outputs, axis=1).astype(targets.dtype)
    wrong = (predicted != targets) | jnp.any(jnp.isnan(outputs), axis=1)
    return wrong.astype(outputs.dtype)


def squared(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Half the squared distance to the target, ½‖f − y‖²; class numbers become one-hot vectors.

    Raises:
        UserError: Targets are classes, and there is one output.
    """
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        return 0.5 * jnp.sum(jnp.square(outputs - targets.astype(outputs.dtype)), axis=1)
    if outputs.shape[1] < 2:
        raise UserError(
            "loss 'squared' codes classes as one-hot vectors, but the network has 1 output; "
            "choose one output per class, or loss='logistic'"
        )
    return 0.5 * jnp.sum(jnp.square(outputs - _chosen(outputs, targets).astype(outputs.dtype)), 1)


def cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Softmax cross-entropy, log Σⱼ exp fⱼ − f_y, in nats; target vectors are class probabilities.

    The largest output is taken out first, so outputs of any size and offset are safe. The target's
    output is picked by a comparison and a sum: the gradient of an indexed read is a scatter, slow
    on CPUs.
    """
    largest = jax.lax.stop_gradient(jnp.max(outputs, axis=1, keepdims=True))
    shifted = outputs - largest
    normaliser = jnp.log(jnp.sum(jnp.exp(shifted), axis=1))
    if jnp.issubdtype(targets.dtype, jnp.integer):
        picked = jnp.sum(jnp.where(_chosen(outputs, targets), shifted, 0.0), axis=1)
        return normaliser - picked
    probabilities = targets.astype(outputs.dtype)
    return jnp.sum(probabilities, axis=1) * normaliser - jnp.sum(probabilities * shifted, axis=1)


def logistic(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Logistic loss log(1 + exp(−s·f)) of one output, s = ±1 for class 1 or 0; in nats.

    Raises:
        UserError: There are several outputs, or targets are no class numbers.
    """
    if outputs.shape[1] != 1:
        raise UserError(
            f"loss 'logistic' needs one output, but the network has {outputs.shape[1]}; "
            "choose outputs=1 for two classes, or loss='cross_entropy'"
        )
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise UserError("loss 'logistic' needs class numbers 0 and 1; give integer targets")
    sign = 2 * targets.astype(outputs.dtype) - 1
    return jax.nn.softplus(-sign * outputs[:, 0])


SQUARED = Loss("squared", squared, unit="squared output")
CROSS_ENTROPY = Loss("cross_entropy", cross_entropy, ("classification",), "nats")
LOGISTIC = Loss("logistic", logistic, ("classification",), "nats")

_REGISTRY: dict[str, Loss] = {loss.name: loss for loss in (SQUARED, CROSS_ENTROPY, LOGISTIC)}


def names() -> tuple[str, ...]:
    """Return the names that ``get`` knows."""
    return tuple(sorted(_REGISTRY))


def get(spec: object) -> Loss:
    """Find a loss.

    Args:
        spec: A registered name; ``"module:attribute"`` or ``"file.py:attribute"`` naming a ``Loss``
            or a function of outputs (n, k) and targets that returns shape (n,); or such an object
            itself.

    Returns:
        A loss.

    Raises:
        UserError: For an unknown name, or an object that is no loss.

    Example:
        >>> get("squared").unit
        'squared output'
    """
    found = spec
    if isinstance(spec, str):
        if ":" not in spec:
            if spec not in _REGISTRY:
                raise unknown("loss", spec, _REGISTRY, own="file.py:NAME")
            return _REGISTRY[spec]
        from implicit_bias.plugins import load_attribute

        found = load_attribute(spec, "loss")
    if isinstance(found, Loss):
        return found
    if callable(found):
        require_function("loss", found, ("outputs", "targets"), "one loss per example")
        return Loss(getattr(found, "__name__", type(found).__name__), found)
    raise UserError(
        f"loss {spec!r} is {type(found).__name__}; give a name ({', '.join(names())}), a Loss, "
        "or a function of outputs and targets"
    )


def _chosen(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Mark each example's class: boolean, shape (n, k)."""
    classes = jnp.arange(outputs.shape[1], dtype=targets.dtype)
    return targets[:, None] == classes[None, :]


def _several(targets: jax.Array) -> bool:
    """Say whether an example asks for several classes."""
    return bool(jnp.issubdtype(targets.dtype, jnp.integer)) and targets.ndim == 2


def _mean_over_predictions(
    function: PerExample, outputs: jax.Array, targets: jax.Array
) -> jax.Array:
    """Evaluate each prediction as an example of its own, and average over those of one example."""
    n, t = targets.shape
    single = function(outputs.reshape(n * t, -1), targets.reshape(n * t))
    return jnp.mean(single.reshape(n, t), axis=1)


def _check_outputs(name: str, outputs: jax.Array, targets: jax.Array) -> None:
    """Check static shapes, which costs nothing once compiled."""
    for kind, given in (("outputs", outputs), ("targets", targets)):
        if not hasattr(given, "dtype"):
            raise UserError(f"{name}: {kind} are {type(given).__name__}; give an array")
    integer = jnp.issubdtype(targets.dtype, jnp.integer)
    allowed = (outputs.shape[0],) if integer else outputs.shape
    if integer and targets.ndim == 2 and outputs.ndim == 2:
        each, left = divmod(outputs.shape[1], max(1, targets.shape[1]))
        # One-hot rows of whole numbers are no classes of several predictions: those have two outputs each.
        allowed = (outputs.shape[0], targets.shape[1] if each >= 2 and not left else -1)
    if outputs.ndim != 2 or targets.shape != allowed:
        kind = "target vectors (n, k)"
        if integer:
            kind = "class numbers (n,), or outputs (n, t·k) with class numbers (n, t)"
        raise UserError(
            f"{name}: outputs have shape {outputs.shape} and targets {targets.shape}; "
            f"give outputs (n, k) with {kind}"
        )
