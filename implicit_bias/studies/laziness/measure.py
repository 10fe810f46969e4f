"""What is measured of a finished network: how far its parameters, units, features and kernel moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import geometry, kernels
from implicit_bias.losses import Loss
from implicit_bias.models import Model, Scaled
from implicit_bias.models.base import evaluate
from implicit_bias.models.layers import ChainModel, hidden_activations
from implicit_bias.models.width import UNITS
from implicit_bias.training import Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable


@dataclass(frozen=True)
class Regime:
    """Measurement of a finished lane, a scaled network or the linearisation of one.

    Kernels and features are those of the network without its factor, which would cancel. A linearised
    network has the kernel, the features and the active units of its start by construction: of it they
    are not measured (NaN).

    Attributes:
        hidden_layers: Most hidden layers of a lane; entries of layers a lane has not are NaN.
        probe_set: Test examples on which kernels and features are compared.
        relu: Whether the network has units that can be off.
    """

    hidden_layers: int = 1
    probe_set: int = 128
    relu: bool = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        scalars = {
            "absolute_movement": ("parameter", "‖θ − θ₀‖"),
            "relative_movement": ("1", "‖θ − θ₀‖ / ‖θ₀‖"),
            "kernel_change": ("1", "‖K − K₀‖ / ‖K₀‖ of the empirical NTK on the probe set"),
            "alignment_before": ("1", "centred alignment of K₀ with the labels"),
            "alignment_after": ("1", "centred alignment of K with the labels"),
            "feature_change": ("1", "‖Φ − Φ₀‖ / ‖Φ₀‖ of the last hidden layer on the probe set"),
            "feature_cka": ("1", "linear CKA of the last hidden layer with its start"),
            "flips": ("fraction", "pairs of a hidden unit and a training example that turned on or off"),
            "linearisation_error": (
                "1", "distance of the outputs' change from its first order, relative, on the probe set"
            ),
        }  # fmt: skip
        layers = ("hidden_layer",)
        return {
            **{name: Variable((), units, what) for name, (units, what) in scalars.items()},
            "layer_alignment_before": Variable(
                layers,
                "1",
                "centred alignment of each hidden layer's features with the labels, start",
            ),
            "layer_alignment_after": Variable(layers, "1", "the same after training"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Hidden layers, from the inputs on."""
        return {"hidden_layer": tuple(range(1, self.hidden_layers + 1))}

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        params, initial = lane.params, lane.initial
        moved = {
            "absolute_movement": geometry.distance(params, initial),
            "relative_movement": geometry.relative_movement(params, initial),
        }
        nothing = jnp.full((), jnp.nan, moved["absolute_movement"].dtype)
        absent = {
            name: jnp.full((self.hidden_layers,) if variable.dims else (), nothing)
            for name, variable in self.variables.items()
            if name not in moved
        }
        if not isinstance(model, Scaled):
            return {**absent, **moved}
        inner, state = model.model, lane.model_state["state"]
        assert isinstance(inner, ChainModel)
        x, labels = pool.x_test[: self.probe_set], pool.y_test[: self.probe_set]

        def kernel(params: Params) -> jax.Array:
            return kernels.empirical_ntk(inner, params, x, state=state)

        before, after = kernel(initial), kernel(params)
        first, last = (hidden_activations(inner, each, state, x) for each in (initial, params))
        found = {
            "kernel_change": kernels.relative_change(after, before),
            "alignment_before": kernels.label_alignment(before, labels),
            "alignment_after": kernels.label_alignment(after, labels),
            "feature_change": kernels.feature_change(last[-1], first[-1]),
            "feature_cka": kernels.feature_similarity(last[-1], first[-1]),
            "linearisation_error": kernels.linearisation_error(
                lambda params, x: evaluate(inner, params, state, x), params, initial, x
            ),
            "layer_alignment_before": self._layers(first, labels),
            "layer_alignment_after": self._layers(last, labels),
        }
        if self.relu:
            found["flips"] = _flips(inner, lane, state, pool)
        return {**absent, **moved, **found}

    def _layers(self, features: list[jax.Array], labels: jax.Array) -> jax.Array:
        """Return the alignment of each layer's features with the labels, NaN for missing layers."""
        own = [kernels.label_alignment(layer @ layer.T, labels) for layer in features]
        missing = jnp.full((self.hidden_layers - len(own),), jnp.nan, own[0].dtype)
        return jnp.concatenate([jnp.stack(own), missing])


def _flips(inner: ChainModel, lane: FinishedLane, state: Any, pool: Pool) -> jax.Array:
    x = pool.x_train[lane.examples.train]
    before, after = (
        hidden_activations(inner, params, state, x) for params in (lane.initial, lane.params)
    )
    dtype = before[0].dtype
    there = [state.get(UNITS, jnp.ones(layer.shape[1], dtype)) for layer in before]
    return jnp.mean(jnp.stack(kernels.pattern_flips(after, before, there)))
