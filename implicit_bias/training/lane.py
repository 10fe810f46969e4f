"""The lane as pure functions: its data, its start, its updates.

Everything here concerns one lane. Batching over lanes, devices and time is done elsewhere, and nothing
here knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from implicit_bias.data.batches import epoch_batch, epoch_order, replacement_batch
from implicit_bias.data.dataset import Dataset
from implicit_bias.data.transforms import split_indices, symmetric_label_noise
from implicit_bias.keys import Role, role_key
from implicit_bias.models import Model
from implicit_bias.models.base import traced_settings, uses_batch_statistics
from implicit_bias.training.noise import noisy_weights
from implicit_bias.training.recipe import NOISE_SETTING, Recipe

Params = Any
"""A pytree of parameter arrays."""


class Pool(NamedTuple):
    """Arrays every lane reads: the training pool and the test set.

    ``x_train`` has shape (pool, *features); ``y_train`` (pool,) integers or (pool, targets) floats.
    """

    x_train: Any
    y_train: Any
    x_test: Any
    y_test: Any


class LaneInputs(NamedTuple):
    """What distinguishes a lane.

    Fields are arrays of NumPy or JAX, with the lane as leading axis where lanes are stacked: the seed
    (uint32 scalar), traced settings (scalars), a mask of the parameters or None, the parameters to begin
    with or None, and by role which of the seed's draws is meant (uint32 scalars), or None for the first.
    """

    seed: Any
    settings: Mapping[str, Any]
    mask: Any = None
    start: Any = None
    replicates: Any = None

    def key(self, role: Role) -> jax.Array:
        """Return the lane's key of a role."""
        return role_key(self.seed, role, (self.replicates or {}).get(role))


class LaneExamples(NamedTuple):
    """Which examples of the pool a lane uses.

    ``train`` (n_train,) and ``valid`` (n_valid,) index the pool; ``targets`` (n_train, ...) are the
    training targets after label noise. ``inputs`` (n_train, *features) are the training inputs
    themselves, held only while updates run that use all of them.
    """

    train: jax.Array
    valid: jax.Array
    targets: jax.Array
    inputs: Any = None


class LaneState(NamedTuple):
    """What an update changes: parameters, model state (normalisation statistics), optimiser state."""

    params: Params
    model_state: Any
    optimizer_state: Any


def lane_examples(dataset: Dataset, n_train: int, n_valid: int, inputs: LaneInputs) -> LaneExamples:
    """Draw a lane's training and validation examples and its label noise.

    The training and validation sets are disjoint draws from the pool under the seed's ``split`` key,
    stratified by class; a lane that uses the whole pool for training keeps the pool's order.

    Args:
        dataset: The pool; its labels are needed on the host for stratification.
        n_train: Training examples.
        n_valid: Validation examples.
        inputs: Gives the seed and the label-noise rate.

    Returns:
        Index arrays into the pool and the training targets.
    """
    if n_train == dataset.n_train and n_valid == 0:
        train, valid = jnp.arange(n_train, dtype=jnp.int32), jnp.zeros((0,), jnp.int32)
    else:
        key = role_key(inputs.seed, "split")
        train, valid = split_indices(key, dataset, (n_train, n_valid))
    label_noise = inputs.settings["label_noise"]
    targets = jnp.asarray(dataset.y_train)
    targets = targets[train]
    if dataset.task == "classification":
        key = role_key(inputs.seed, "label_noise")
        targets = symmetric_label_noise(key, targets, label_noise, dataset.n_outputs)
    return LaneExamples(train, valid, targets)


def initial_parameters(model: Model, example: jax.Array, inputs: LaneInputs) -> tuple[Params, Any]:
    """Return a lane's parameters and model state before its first update.

    Args:
        model: Network.
        example: One input, shape ``features``; only its shape and dtype matter.
        inputs: Seed, initial scale, the model's own traced settings, mask, and parameters to begin with.
    """
    own = {setting.name: inputs.settings[setting.name] for setting in traced_settings(model)}
    key = inputs.key("initialisation")
    params, model_state = model.init(key, example, scale=inputs.settings["init_scale"], **own)
    if inputs.start is not None:
        params = jax.tree.map(lambda drawn, given: given.astype(drawn.dtype), params, inputs.start)
    return _masked(params, inputs.mask), model_state


def initial_state(recipe: Recipe, example: jax.Array, inputs: LaneInputs) -> LaneState:
    """Return a lane's state before its first update.

    Args:
        recipe: Model, optimiser and dtype.
        example: One input, shape ``features``; only its shape and dtype matter.
        inputs: Seed, settings and mask.
    """
    params, model_state = initial_parameters(recipe.model, example, inputs)
    transform = recipe.optimizer.build(recipe.schedule, inputs.settings, recipe.first_update)
    return LaneState(params, model_state, transform.init(params))


def run_updates(
    recipe: Recipe,
    pool: Pool,
    inputs: LaneInputs,
    examples: LaneExamples,
    state: LaneState,
    start: jax.Array,
    stop: jax.Array,
) -> tuple[LaneState, jax.Array]:
    """Run updates ``start`` to ``stop - 1`` of one lane.

    The result does not depend on how a run is cut into such segments: whatever an update draws is a
    function of the seed and the update's number. The loops have traced bounds, so one compiled program
    serves segments of any length.

    A batch of all training examples has them in the order in which they are stored: an order would
    only change rounding, and drawing it and collecting the inputs anew took up to half of an update.

    Args:
        recipe: Static half of the lane.
        pool: Shared data.
        inputs: The lane's seed, settings and mask.
        examples: The lane's examples.
        state: State before update ``start``.
        start: Integer scalar.
        stop: Integer scalar; nothing happens where it is not above ``start``.

    Returns:
        The state after update ``stop - 1``, and the sum of the updates' batch losses.
    """
    transform = recipe.optimizer.build(recipe.schedule, inputs.settings, recipe.first_update)
    order_key = inputs.key("data_order")
    if recipe.batch_size == recipe.n_train and recipe.micro_batch is None:
        examples = examples._replace(inputs=_training_inputs(recipe, pool, examples))

    def update(
        step: jax.Array,
        batch: tuple[jax.Array | None, jax.Array],
        carry: tuple[LaneState, jax.Array],
    ) -> tuple[LaneState, jax.Array]:
        state, total = carry
        indices, weights = batch
        value, model_state, gradient = batch_gradient(
            recipe, pool, inputs, examples, state, step, indices, weights
        )
        gradient = _masked(gradient, inputs.mask)
        if recipe.optimizer.rule is not None:

            def gradient_of(params: Params) -> Params:
                there = state._replace(params=_masked(params, inputs.mask))
                _, _, found = batch_gradient(
                    recipe, pool, inputs, examples, there, step, indices, weights
                )
                return _masked(found, inputs.mask)

            rule_key = jax.random.fold_in(role_key(inputs.seed, "gradient_rule"), step)
            gradient = recipe.optimizer.update_gradient(
                recipe.schedule,
                inputs.settings,
                step,
                gradient,
                gradient_of,
                state.params,
                rule_key,
            )
        updates, optimizer_state = transform.update(gradient, state.optimizer_state, state.params)
        params = optax.apply_updates(state.params, _masked(updates, inputs.mask))
        return LaneState(params, model_state, optimizer_state), total + value

    dtype = jnp.dtype(recipe.dtype)
    carry = (state, jnp.zeros((), dtype))
    if recipe.sampling == "replacement":

        def step_with_replacement(step: jax.Array, carry: tuple[LaneState, jax.Array]) -> Any:
            batch = replacement_batch(
                order_key, step, recipe.n_train, recipe.batch_size, dtype=dtype
            )
            return update(step, batch, carry)

        return jax.lax.fori_loop(start, stop, step_with_replacement, carry)

    if recipe.batch_size == recipe.n_train:
        positions = jnp.arange(recipe.n_train, dtype=jnp.int32) if recipe.micro_batch else None
        everything = positions, jnp.full((recipe.n_train,), 1 / recipe.n_train, dtype)

        def step_on_all(step: jax.Array, carry: tuple[LaneState, jax.Array]) -> Any:
            return update(step, everything, carry)

        return jax.lax.fori_loop(start, stop, step_on_all, carry)

    length = recipe.updates_per_epoch

    def epoch(number: jax.Array, carry: tuple[LaneState, jax.Array]) -> Any:
        order = epoch_order(order_key, number, recipe.n_train)

        def step_in_epoch(step: jax.Array, carry: tuple[LaneState, jax.Array]) -> Any:
            batch = epoch_batch(order, step - number * length, recipe.batch_size, dtype=dtype)
            return update(step, batch, carry)

        first = jnp.maximum(start, number * length)
        last = jnp.minimum(stop, (number + 1) * length)
        return jax.lax.fori_loop(first, last, step_in_epoch, carry)

    last_epoch = jnp.where(stop > start, (stop + length - 1) // length, start // length)
    return jax.lax.fori_loop(start // length, last_epoch, epoch, carry)


def batch_gradient(
    recipe: Recipe,
    pool: Pool,
    inputs: LaneInputs,
    examples: LaneExamples,
    state: LaneState,
    step: jax.Array,
    indices: jax.Array | None,
    weights: jax.Array,
) -> tuple[jax.Array, Any, Params]:
    """Return loss, model state and gradient of one batch.

    Args:
        recipe: Static half of the lane.
        pool: Shared data.
        inputs: The lane's seed and settings.
        examples: The lane's examples.
        state: Current state.
        step: Number of the update, for the keys of dropout, injected noise and augmentation.
        indices: (batch_size,) positions in the lane's training set; None for all of it, where
            ``examples`` hold the inputs.
        weights: (batch_size,) example weights, summing to 1; 0 marks an empty slot of the last batch.

    Returns:
        The weighted mean loss, the new model state, and the gradient of the loss, or of the loss with
        the noise of a smaller batch added where the recipe asks for it.
    """
    gradient_weights = weights
    if recipe.gradient_noise:
        noise_key = jax.random.fold_in(role_key(inputs.seed, "gradient_noise"), step)
        gradient_weights = noisy_weights(noise_key, weights, inputs.settings[NOISE_SETTING])
    dropout_key = jax.random.fold_in(role_key(inputs.seed, "dropout"), step)
    moves = None
    if recipe.augmentation is not None:
        # Drawn for the whole batch, before it is cut into parts.
        augmentation_key = jax.random.fold_in(role_key(inputs.seed, "augmentation"), step)
        moves = recipe.augmentation.draw(augmentation_key, recipe.batch_size)

    of_batch = uses_batch_statistics(recipe.model)

    def weighted_loss(
        params: Params,
        model_state: Any,
        indices: Any,
        weights: jax.Array,
        loss_weights: Any,
        moves: Any,
    ) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        if indices is None:
            x, targets = examples.inputs, examples.targets
        else:
            x, targets = pool.x_train[examples.train[indices]], examples.targets[indices]
        if recipe.augmentation is not None:
            x = recipe.augmentation.apply(x, moves)
        # Statistics of the batch are those of the examples in it, without injected noise.
        counted = {"example_weights": loss_weights} if of_batch else {}
        outputs, model_state = recipe.trained_model.apply(
            params, model_state, x, train=True, key=dropout_key, **counted
        )
        losses = recipe.loss.per_example(outputs, targets)
        # An empty slot repeats an example with weight 0.
        return jnp.sum(weights * losses), (jnp.sum(loss_weights * losses), model_state)

    gradient_of = jax.grad(weighted_loss, has_aux=True)
    micro = recipe.micro_batch
    if micro is None or micro == recipe.batch_size:
        gradient, (value, model_state) = gradient_of(
            state.params, state.model_state, indices, gradient_weights, weights, moves
        )
        return value, model_state, gradient

    parts = -(-recipe.batch_size // micro)
    padding = parts * micro - recipe.batch_size

    def split(array: Any) -> jax.Array:
        return jnp.pad(array, (0, padding)).reshape(parts, micro)

    split_moves = jax.tree.map(split, moves)

    def accumulate(carry: Any, part: Any) -> tuple[Any, None]:
        gradient, value, model_state = carry
        extra, (part_value, model_state) = gradient_of(state.params, model_state, *part)
        return (jax.tree.map(jnp.add, gradient, extra), value + part_value, model_state), None

    zero = jax.tree.map(jnp.zeros_like, state.params)
    (gradient, value, model_state), _ = jax.lax.scan(
        accumulate,
        (zero, jnp.zeros((), weights.dtype), state.model_state),
        (split(indices), split(gradient_weights), split(weights), split_moves),
    )
    return value, model_state, gradient


def _training_inputs(recipe: Recipe, pool: Pool, examples: LaneExamples) -> jax.Array:
    """Collect a lane's training inputs, unless they are the pool as it is."""
    inputs: jax.Array = pool.x_train
    return inputs if recipe.n_train == inputs.shape[0] else inputs[examples.train]


def _masked(tree: Any, mask: Any) -> Any:
    """Set what the mask does not keep to zero: chosen, not multiplied, so that a NaN becomes zero too."""
    if mask is None:
        return tree
    return jax.tree.map(
        lambda leaf, keep: jnp.where(keep != 0, leaf, jnp.zeros((), leaf.dtype)), tree, mask
    )
