"""What is measured of a finished network: how far its parameters, units, features and kernel moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import geometry, kernels
from implicit_bias.losses import Loss, error
from implicit_bias.models import Linearised, Model, Scaled
from implicit_bias.models.layers import ChainModel, hidden_activations
from implicit_bias.models.width import UNITS
from implicit_bias.studies.evaluation import evaluation_variables
from implicit_bias.training import Evaluator, Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable


@dataclass(frozen=True)
class Movement:
    """Measurement of a finished lane, a padded network or the linearisation of one.

    Padded parameters are zero before and after, so that norms are the narrow network's; fractions of
    units are fractions of the true ones. A linearised network has the kernel, the features and the
    active units of its start by construction: of it they are not measured (NaN).

    Attributes:
        n_test: Test examples, for the per-example record.
        layers: Layers with weights.
        probe_set: Test examples on which kernels and features are compared.
        relu: Whether the network has units that can be off.
        loss_unit: Unit of the loss.
    """

    n_test: int
    layers: int
    probe_set: int = 64
    relu: bool = True
    loss_unit: str = "loss unit"

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        scalars = {
            "absolute_movement": ("parameter", "‖θ − θ₀‖"),
            "initial_norm": ("parameter", "‖θ₀‖"),
            "relative_movement": ("1", "‖θ − θ₀‖ / ‖θ₀‖"),
            "kernel_change": ("1", "‖K − K₀‖ / ‖K₀‖ of the empirical NTK on the probe set"),
            "kernel_distance": ("1", "one minus the cosine of K and K₀"),
            "alignment_before": ("1", "centred alignment of K₀ with the labels"),
            "alignment_after": ("1", "centred alignment of K with the labels"),
            "feature_change": ("1", "‖Φ − Φ₀‖ / ‖Φ₀‖ of the last hidden layer on the probe set"),
            "feature_cka": ("1", "linear CKA of the last hidden layer with its start"),
            "flips": ("fraction", "pairs of a hidden unit and a training example that turned on or off"),
            "active_units": ("fraction", "hidden units on for some training example at the start"),
            "dead_units": ("units", "first-layer units off on all training examples at the start"),
            "dead_movement": ("parameter", "largest change of a parameter of those units"),
        }  # fmt: skip
        return {
            **{
                name: variable
                for name, variable in evaluation_variables(self.loss_unit).items()
                if not name.startswith("valid")
            },
            **{name: Variable((), units, what) for name, (units, what) in scalars.items()},
            "layer_movement": Variable(("layer",), "1", "‖W − W₀‖ / ‖W₀‖ of each layer's weights"),
            "test_wrong": Variable(
                ("test_example",), "1", "whether the test example is misclassified"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Layers, from the inputs on."""
        return {"layer": tuple(range(self.layers))}

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        params, initial = lane.params, lane.initial
        state = lane.model_state
        # On the test set by the outputs that are needed anyway; a scan less to compile.
        trained = Evaluator(model, loss)(pool, lane.examples, params, state, train_only=True)
        outputs, _ = model.apply(params, state, pool.x_test, train=False)
        wrong = error(outputs, pool.y_test)
        values: dict[str, jax.Array] = {
            "train_loss": trained.train_loss,
            "train_error": trained.train_error,
            "test_loss": loss.mean(outputs, pool.y_test),
            "test_error": jnp.mean(wrong),
            "test_wrong": wrong > 0,
            "absolute_movement": geometry.distance(params, initial),
            "initial_norm": geometry.parameter_norm(initial),
            "relative_movement": geometry.relative_movement(params, initial),
            "layer_movement": jnp.stack(
                [
                    geometry.relative_movement(params[name]["weight"], initial[name]["weight"])
                    for name in (f"layer_{index}" for index in range(self.layers))
                ]
            ),
        }
        nothing = jnp.full((), jnp.nan, outputs.dtype)
        values |= dict.fromkeys(self.variables.keys() - values.keys(), nothing)
        if isinstance(model, Linearised):
            return values
        inner, state = network_inside(model, lane.model_state)
        # Start and end one after the other in one loop: half as much to compile.
        both = jax.tree.map(lambda *leaves: jnp.stack(leaves), initial, params)
        values |= self._kernel(inner, state, pool, both)
        values |= self._features(inner, state, pool, both)
        return values | (self._units(inner, state, pool, lane, both) if self.relu else {})

    def _kernel(
        self, model: ChainModel, state: Any, pool: Pool, both: Params
    ) -> dict[str, jax.Array]:
        x, labels = pool.x_test[: self.probe_set], pool.y_test[: self.probe_set]

        def at(params: Params) -> jax.Array:
            return kernels.empirical_ntk(model, params, x, state=state, method="structured")

        before, after = jax.lax.map(at, both)
        return {
            "kernel_change": kernels.relative_change(after, before),
            "kernel_distance": kernels.kernel_distance(after, before),
            "alignment_before": kernels.label_alignment(before, labels),
            "alignment_after": kernels.label_alignment(after, labels),
        }

    def _features(
        self, model: ChainModel, state: Any, pool: Pool, both: Params
    ) -> dict[str, jax.Array]:
        x = pool.x_test[: self.probe_set]
        before, after = jax.lax.map(
            lambda params: hidden_activations(model, params, state, x)[-1], both
        )
        return {
            "feature_change": kernels.feature_change(after, before),
            "feature_cka": kernels.feature_similarity(after, before),
        }

    def _units(
        self, model: ChainModel, state: Any, pool: Pool, lane: FinishedLane, both: Params
    ) -> dict[str, jax.Array]:
        x = pool.x_train[lane.examples.train]
        layers = jax.lax.map(lambda params: hidden_activations(model, params, state, x), both)
        before, after = ([layer[when] for layer in layers] for when in (0, 1))
        dtype = x.dtype
        there = state.get(UNITS, jnp.ones(before[0].shape[1], dtype))
        flips = kernels.pattern_flips(after, before, [there] * len(after))
        ever_on = [jnp.any(layer > 0, axis=0).astype(dtype) for layer in before]
        dead = (1 - ever_on[0]) * there
        moved = jax.tree.map(lambda pair: jnp.abs(pair[1] - pair[0]), both)
        into, out = moved["layer_0"], moved["layer_1"]["weight"]
        touching = jnp.maximum(jnp.max(into["weight"], axis=1), jnp.max(out, axis=0))
        if "bias" in into:
            touching = jnp.maximum(touching, into["bias"])
        return {
            "flips": jnp.mean(jnp.stack(flips).astype(dtype)),
            "active_units": jnp.mean(jnp.stack([jnp.sum(on * there) for on in ever_on]))
            / jnp.sum(there),
            "dead_units": jnp.sum(dead),
            "dead_movement": jnp.max(touching * dead),
        }


def network_inside(model: Model, state: Any) -> tuple[ChainModel, Any]:
    """Return the network, and its state, of a model that may be centred."""
    if isinstance(model, Scaled):
        model, state = model.model, state["state"]
    assert isinstance(model, ChainModel)
    return model, state
