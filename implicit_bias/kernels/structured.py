r"""The tangent kernel of a chain of layers, without its Jacobian.

A layer computes ``m · W a_p + β · b`` at each of its positions p (one for an affine layer, one a
patch for a convolution). With δ_{c,p} the derivative of output c with respect to those sums, the
gradient of output c is ``m Σ_p δ_{c,p} ⊗ a_p`` for W and ``β Σ_p δ_{c,p}`` for b, so that the layer
adds

.. math:: m^2 \sum_{p,q} (a_p · a'_q)(δ_{c,p} · δ'_{d,q}) + β^2 \sum_{p,q} δ_{c,p} · δ'_{d,q}

to the kernel of outputs c and d. Inputs a and cotangents δ are far smaller than the gradients. The
cotangents come from derivatives with respect to taps on the sums; inputs and cotangents are
contracted in one of four ways, chosen for each layer by its arithmetic:

``known``
    The last layer: δ_{c,p} is the c-th unit vector, and only the inputs are contracted.
``factored``
    The layer before it, for the kernel that is reduced by the mean over outputs, where nothing but
    an elementwise function lies between: δ_c = w_c ∘ g with w_c row c of the last weights, and
    Σ_c δ_c · δ'_c = Σ_j (Σ_c w_cj²) g_j g'_j needs no sum over outputs.
``pairs``
    Pairs of positions, as in the formula.
``gradients``
    The gradients of one layer's weights for each example: cheaper where positions are many.

References:
    Novak, Sohl-Dickstein & Schoenholz, *Fast finite width neural tangent kernel* (2022), section 3.3
    ("structured derivatives"). ``factored`` is ours.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError
from implicit_bias.kernels.blocks import gram
from implicit_bias.kernels.costs import Reduction, Work
from implicit_bias.models.layers import Activation, Affine, ChainModel, Residual, only_weights

Way = Literal["known", "factored", "pairs", "gradients"]
EXAMPLE_AXES: dict[str, tuple[int, int]] = {"trace": (0, 1), "classes": (1, 2), "full": (0, 2)}
"""Axes of a kernel, by its reduction, that count examples."""


class LayerSize(NamedTuple):
    """The sizes of one layer with weights."""

    positions: int
    fan_in: int
    n_out: int
    bias: bool


class Factors(NamedTuple):
    """What is contracted for one layer; the parts that its way does not need are None.

    Attributes:
        inputs: Shape (b, positions, fan_in).
        cotangents: Shape (b, k, positions, n_out); for ``factored`` (b, n_out), and for
            ``gradients`` the gradients, (b, k, n_out · fan_in).
        sums: Cotangents summed over positions, shape (b, k, n_out), where there are biases.
    """

    inputs: jax.Array | None
    cotangents: jax.Array | None
    sums: jax.Array | None


class Structured:
    """The features of a chain of layers and their contraction, for one set of parameters."""

    def __init__(
        self,
        model: ChainModel,
        params: Any,
        state: Any,
        input_shape: tuple[int, ...],
        dtype: Any,
        reduce: Reduction,
        rows: tuple[int, int],
    ) -> None:
        """Look at the network and choose a way for each layer.

        Args:
            model: The network.
            params: Its parameters.
            state: Its state.
            input_shape: Shape of one input.
            dtype: Dtype of the inputs.
            reduce: How the kernel is reduced over outputs.
            rows: Numbers of examples (n1, n2), for the choice.

        Raises:
            UserError: If the network learns more than weights and biases.
        """
        if not only_weights(model.chain()):
            raise UserError(
                "the structured kernel counts weights and biases alone, but the network has "
                "normalisation or learned scalars; choose method='jacobian' or 'products'"
            )
        self.model, self.params, self.state, self.reduce = model, params, state, reduce
        example = jax.ShapeDtypeStruct((1, *input_shape), dtype)
        outputs, inputs = jax.eval_shape(
            lambda params, state, x: model.tapped(params, state, x), params, state, example
        )
        self.outputs = outputs.shape[-1]
        self.layers = model.weight_layers(input_shape)
        self.sizes = tuple(
            LayerSize(given.shape[1], given.shape[2], *_units(params[layer.name]))
            for layer, given in zip(self.layers, inputs, strict=True)
        )
        self.ways = _ways(model, self.sizes, reduce, self.outputs, rows)

    def work(self) -> Work:
        """Return what rows and pairs of rows need."""
        k, kept = self.outputs, {"trace": 1, "classes": self.outputs, "full": self.outputs**2}
        through = [2.0 * size.positions * size.fan_in * size.n_out for size in self.sizes]
        # Forwards, and for each output backwards, not beyond the first layer's sums.
        row, pair = sum(through) + k * sum(through[1:]), 0.0
        held = passing = pair_held = 0.0
        for size, way in zip(self.sizes, self.ways, strict=True):
            flops = _flops(size, way, self.reduce, k)
            row, pair = row + flops[0], pair + flops[1]
            seen, sums = size.positions * size.fan_in, size.positions * size.n_out
            passing += 3 * sums + k * sums
            match way:
                case "known":
                    held += seen
                case "factored":
                    held += seen + sums
                    passing += k * sums
                case "pairs":
                    # Kernels of single outputs are contracted from a copy in the order of outputs.
                    held += seen + (2 if self.reduce == "classes" else 1) * k * sums
                    together = size.positions**2 * (k if self.reduce == "full" else 1)
                    pair_held = max(pair_held, 3 * together if size.positions > 1 else 0)
                case "gradients":
                    held += k * size.fan_in * size.n_out
                    passing += seen
            if size.bias and (size.positions > 1 or way == "gradients"):
                held += k * size.n_out
        return Work(row, pair, held, passing, pair_held + 3 * kept[self.reduce])

    def features(self, x: jax.Array) -> tuple[Factors, ...]:
        """Return what is contracted, layer by layer.

        Args:
            x: Inputs of shape (b, *input_shape).
        """
        taps = tuple(
            jnp.zeros((x.shape[0], size.positions, size.n_out), x.dtype) for size in self.sizes
        )
        outputs, pull, inputs = jax.vjp(
            lambda taps: self.model.tapped(self.params, self.state, x, taps), taps, has_aux=True
        )

        def of_output(unit: jax.Array) -> tuple[jax.Array, ...]:
            cotangents: tuple[jax.Array, ...] = pull(jnp.broadcast_to(unit[None], outputs.shape))[0]
            return cotangents

        units = jnp.eye(self.outputs, dtype=outputs.dtype)
        cotangents = jax.vmap(of_output, out_axes=1)(units)
        return tuple(
            self._factors(*parts) for parts in zip(self.ways, inputs, cotangents, self.sizes,
                                                   strict=True)
        )  # fmt: skip

    def contract(self, first: tuple[Factors, ...], second: tuple[Factors, ...] | None) -> jax.Array:
        """Return the kernel of two sets of examples; None for the second means the first.

        Returns:
            Shape (b1, b2), (k, b1, b2) or (b1, k, b2, k), by the reduction.
        """
        total = None
        others = (None,) * len(first) if second is None else second
        for index, (one, other) in enumerate(zip(first, others, strict=True)):
            part = self._layer(index, one, other)
            total = part if total is None else total + part
        assert total is not None
        return total

    def _factors(
        self, way: Way, inputs: jax.Array, cotangents: jax.Array, size: LayerSize
    ) -> Factors:
        apart = size.positions > 1 or way == "gradients"
        sums = cotangents.sum(axis=2) if size.bias and apart else None
        match way:
            case "known":
                return Factors(inputs, None, None)
            case "factored":
                last = self.params[self.layers[-1].name]["weight"].astype(cotangents.dtype)
                squares = jnp.sum(jnp.square(last), axis=0)
                lengths = jnp.sqrt(jnp.where(squares > 0, squares, jnp.ones_like(squares)))
                # w_c ∘ g contracted with w_c / |w|, unit by unit, is |w| ∘ g; a unit whose last
                # weights are all zero, as padded ones are, has no cotangent.
                scaled = cotangents[:, :, 0, :] * (last / lengths[None])[None]
                return Factors(inputs, scaled.sum(axis=1), None)
            case "gradients":
                gradients = jnp.einsum("bkpo,bpf->bkof", cotangents, inputs)
                flat = gradients.reshape(*gradients.shape[:2], -1)
                return Factors(None, flat, sums)
        return Factors(inputs, cotangents, sums)

    def _layer(self, index: int, first: Factors, second: Factors | None) -> jax.Array:
        name, size = self.layers[index].name, self.sizes[index]
        given = self.state.get("multipliers", {}) if self.state else {}
        if name in given:  # those of a padded network's true widths
            weight, bias = given[name]["weight"], given[name]["bias"]
        else:
            weight, bias = self.layers[index].weight_multiplier, self.layers[index].bias_multiplier
        dtype = next(part.dtype for part in first if part is not None)
        # Squared after the cast: a multiplier may be a number of Python's or of another dtype.
        weight, bias = (jnp.square(jnp.asarray(factor, dtype)) for factor in (weight, bias))
        other: Any = Factors(None, None, None) if second is None else second

        def outer(one: jax.Array, two: jax.Array | None) -> jax.Array:
            return _over_outputs(one, two, self.reduce)

        match self.ways[index]:
            case "gradients":
                part = weight * outer(_some(first.cotangents), other.cotangents)
            case "pairs" if size.positions > 1:
                twin = first if second is None else second
                part = weight * _over_positions(
                    _some(first.inputs), _some(first.cotangents),
                    _some(twin.inputs), _some(twin.cotangents), self.reduce,
                )  # fmt: skip
            case way:
                seen = weight * gram(_single(_some(first.inputs)), _maybe_single(other.inputs))
                if size.bias:
                    seen = seen + bias
                if way == "known":
                    return _of_units(seen, self.outputs, self.reduce)
                if way == "factored":
                    return seen * gram(_some(first.cotangents), other.cotangents) / self.outputs
                two = None if other.cotangents is None else other.cotangents[:, :, 0]
                backwards = outer(_some(first.cotangents)[:, :, 0], two)
                return _spread(seen, self.reduce) * backwards
        if size.bias:
            part = part + bias * outer(_some(first.sums), other.sums)
        return part


def _ways(
    model: ChainModel,
    sizes: tuple[LayerSize, ...],
    reduce: Reduction,
    outputs: int,
    rows: tuple[int, int],
) -> tuple[Way, ...]:
    """Choose a way for each layer."""
    chain, last = model.chain(), len(sizes) - 1

    def way(index: int, size: LayerSize) -> Way:
        if index == last and isinstance(chain[-1], Affine) and size.positions == 1:
            return "known"
        if index == last - 1 and reduce == "trace" and _elementwise_to_last(model):
            return "factored"

        def flops(way: Way) -> float:
            row, pair = _flops(size, way, reduce, outputs)
            return sum(rows) * row + math.prod(rows) * pair

        return "pairs" if flops("pairs") <= flops("gradients") else "gradients"

    return tuple(way(index, size) for index, size in enumerate(sizes))


def _elementwise_to_last(model: ChainModel) -> bool:
    """Say whether the last layer sees an elementwise function of the affine one before it, alone."""
    chain = model.chain()
    if not isinstance(chain[-1], Affine):
        return False
    before = chain[:-2] if len(chain) > 1 and isinstance(chain[-2], Activation) else chain[:-1]
    if not before:
        return False
    layer = before[-1]
    if isinstance(layer, Residual):
        layer = (layer.shortcut or layer.branch)[-1]  # what runs last
    return isinstance(layer, Affine)


def _flops(size: LayerSize, way: Way, reduce: Reduction, k: int) -> tuple[float, float]:
    """Return the operations for a row, beside its passes, and for a pair of rows."""
    positions, fan_in, n_out, bias = size
    products = k * k if reduce == "full" else k
    match way:
        case "known":
            return 0.0, 2.0 * fan_in
        case "factored":
            return 2.0 * k * n_out, 2.0 * (fan_in + n_out)
        case "gradients":
            row, pair = 2.0 * k * positions * n_out * fan_in, 2.0 * products * n_out * fan_in
        case _:
            row, pair = 0.0, 2.0 * positions**2 * (fan_in + products * n_out)
            pair += 2.0 * positions**2 * products if positions > 1 else 0.0
    if bias and (positions > 1 or way == "gradients"):
        pair += 2.0 * products * n_out
    return row, pair


def _over_outputs(first: jax.Array, second: jax.Array | None, reduce: Reduction) -> jax.Array:
    """Contract (b, k, q) with (b', k, q) over q, reduced over outputs."""
    k = first.shape[1]
    if reduce == "trace":
        flat = [None if part is None else part.reshape(len(part), -1) for part in (first, second)]
        return gram(_some(flat[0]), flat[1]) / k
    if reduce == "classes":
        one = first.swapaxes(0, 1)
        if second is None:
            return jax.vmap(gram)(one)
        return jax.vmap(gram)(one, second.swapaxes(0, 1))
    rows = [None if part is None else part.reshape(-1, part.shape[2]) for part in (first, second)]
    others = first if second is None else second
    return gram(_some(rows[0]), rows[1]).reshape(*first.shape[:2], *others.shape[:2])


def _over_positions(
    inputs1: jax.Array,
    cotangents1: jax.Array,
    inputs2: jax.Array,
    cotangents2: jax.Array,
    reduce: Reduction,
) -> jax.Array:
    """Contract inputs and cotangents of all pairs of positions, and sum over them."""
    (b1, positions, _), b2 = inputs1.shape, inputs2.shape[0]

    def rows(part: jax.Array) -> jax.Array:
        return part.reshape(-1, part.shape[-1])

    def pairs(one: jax.Array, two: jax.Array) -> jax.Array:
        return gram(rows(one), rows(two)).reshape(b1, positions, b2, positions)

    seen = pairs(inputs1, inputs2)
    if reduce == "trace":
        k = cotangents1.shape[1]
        ordered = [part.swapaxes(1, 2) for part in (cotangents1, cotangents2)]
        flat = [part.reshape(*part.shape[:2], -1) for part in ordered]
        return jnp.sum(seen * pairs(*flat), axis=(1, 3)) / k
    by_output1, by_output2 = (part.swapaxes(0, 1) for part in (cotangents1, cotangents2))

    def one(parts: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.sum(seen * pairs(*parts), axis=(1, 3))

    if reduce == "classes":
        return jax.lax.map(one, (by_output1, by_output2))

    def against_all(part: jax.Array) -> jax.Array:
        return jax.lax.map(lambda other: one((part, other)), by_output2)

    return jax.lax.map(against_all, by_output1).transpose(2, 0, 3, 1)


def _of_units(seen: jax.Array, k: int, reduce: Reduction) -> jax.Array:
    """Return ``seen`` times the products of unit cotangents."""
    if reduce == "trace":
        return seen
    if reduce == "classes":
        return jnp.broadcast_to(seen[None], (k, *seen.shape))
    return seen[:, None, :, None] * jnp.eye(k, dtype=seen.dtype)[None, :, None, :]


def _spread(seen: jax.Array, reduce: Reduction) -> jax.Array:
    """Give a kernel of examples the axes of outputs."""
    if reduce == "trace":
        return seen
    return seen[None] if reduce == "classes" else seen[:, None, :, None]


def _units(parameters: Any) -> tuple[int, bool]:
    """Return how many units a layer has, and whether they have biases."""
    return parameters["weight"].shape[0], "bias" in parameters


def _single(part: jax.Array) -> jax.Array:
    """Drop the axis of positions, which has one."""
    return part.reshape(*part.shape[:-2], part.shape[-1])


def _maybe_single(part: jax.Array | None) -> jax.Array | None:
    return None if part is None else _single(part)


def _some(part: jax.Array | None) -> jax.Array:
    assert part is not None
    return part
