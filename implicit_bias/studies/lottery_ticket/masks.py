"""The masks of the arms: by trained weights, by the start, or at random."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from implicit_bias import losses, pruning
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key
from implicit_bias.models.base import Model, abstract_init
from implicit_bias.models.layers import ChainModel, Conv, with_weights
from implicit_bias.pruning.masks import Mask
from implicit_bias.studies.lottery_ticket.settings import ARMS, LotterySettings
from implicit_bias.training.lane import LaneInputs, Params, lane_examples

SCORED = ("snip", "grasp", "synflow")
"""Arms whose mask is made by a score of the untrained network; the pruner has the arm's name."""

FIRST_DRAW = 1000
"""Random masks are drawn from a seed's key of measurements, behind what measurements draw from it."""


class Layers(NamedTuple):
    """The layers whose weights can be pruned.

    Attributes:
        names: From the inputs on.
        rates: By name, how fast a layer is pruned, relative to most.
    """

    names: tuple[str, ...]
    rates: dict[str, float]


def schedule(settings: LotterySettings) -> tuple[float, ...]:
    """Return the fraction of weights that remains in each round, 1 first."""
    return pruning.levels(settings.rate, settings.levels)


def layers(settings: LotterySettings, dataset: Dataset) -> Layers:
    """Return the layers of the network that are pruned, and how fast."""
    model = settings.model.build(dataset.n_outputs)
    names = pruning.masks.prunable(shapes(model, dataset))
    rates = dict.fromkeys(names, 1.0)
    convolutions: set[str] = set()
    if isinstance(model, ChainModel):
        entries = model.weight_layers(dataset.input_shape)
        kinds = list(with_weights(model.chain()))
        # In the order in which they run; a tree is sorted by name.
        names = tuple(entry.name for entry in entries)
        convolutions = {
            name for name, kind in zip(names, kinds, strict=True) if isinstance(kind, Conv)
        }
    if settings.conv_rate is not None:
        rates |= dict.fromkeys(convolutions, settings.conv_rate / settings.rate)
    if settings.output_rate is not None:
        rates[names[-1]] = settings.output_rate / settings.rate
    return Layers(names, rates)


def shapes(model: Model, dataset: Dataset) -> Any:
    """Return the shapes of a network's parameters."""
    example: Any = jax.ShapeDtypeStruct(dataset.input_shape, np.dtype("float32"))
    return abstract_init(model, example)[0]


def check_levels(settings: LotterySettings, dataset: Dataset) -> None:
    """Refuse levels at which a layer would be emptied, before anything is trained.

    Pruned layer by layer, it is known how many weights each layer will keep. Of weights compared over all
    layers it is known only that each layer needs one.

    Raises:
        UserError: One would be.
    """
    counted = layers(settings, dataset)
    mask = pruning.masks.full(shapes(settings.model.build(dataset.n_outputs), dataset))
    uniform = {"random"} & set(settings.arms)
    at: Any = pruning.masks.layer_count(mask)
    sizes = dict(at)
    for level in schedule(settings)[1:]:
        try:
            found = pruning.allocation.counts_of(
                sizes,
                at,
                level,
                settings.scope,
                counted.rates if settings.scope == "layer" else None,
            )
            at = found if isinstance(found, dict) else at
            if uniform and level in settings.levels:
                pruning.allocation.counts_of(sizes, sizes, level, "layer")
        except UserError as error:
            raise UserError(f"levels: {error}") from error


def prune_further(
    settings: LotterySettings, counted: Layers, mask: Mask, params: Params, level: float
) -> Mask:
    """Return a mask of the largest weights among those that a mask keeps.

    Args:
        settings: Whether layers compete.
        counted: How fast each is pruned.
        mask: The mask so far.
        params: Trained weights.
        level: Fraction of all weights to keep.
    """
    rates = counted.rates if settings.scope == "layer" else None
    counts = pruning.keep_counts(mask, level, scope=settings.scope, layer_rates=rates)
    return numpy_mask(pruning.prune(mask, magnitudes(params), counts))


def control_mask(
    arm: str,
    settings: LotterySettings,
    level: float,
    ticket: Mask,
    initial: Params,
    trained: Params,
    key: jax.Array,
) -> Mask:
    """Return the mask of a control that needs no score.

    Args:
        arm: Which.
        settings: How masks are shuffled.
        level: Fraction of weights that remains.
        ticket: The ticket's mask at that level.
        initial: Weights of the dense network before training.
        trained: And after.
        key: For random masks.

    Raises:
        KeyError: There is no such control.
    """
    whole = pruning.masks.full(initial)
    as_ticket = pruning.masks.layer_count(ticket)
    match arm:
        case "random":
            counts = pruning.keep_counts(whole, level, scope="layer")
            random = pruning.get("random").scores(None, initial, whole, key)
            mask = pruning.prune(whole, random, counts)
        case "random-layerwise":
            mask = pruning.random_like(ticket, key)
        case "shuffled":
            mask = pruning.shuffled(ticket, key, settings.shuffle)
        case "magnitude-at-init":
            mask = pruning.prune(whole, magnitudes(initial), as_ticket)
        case "one-shot":
            mask = pruning.prune(whole, magnitudes(trained), as_ticket)
        case "reinit":
            mask = ticket
        case _:
            raise KeyError(arm)
    return numpy_mask(mask)


def scored_mask(
    arm: str,
    settings: LotterySettings,
    dataset: Dataset,
    level: float,
    seed: int,
    initial: Params,
    key: jax.Array,
) -> Mask:
    """Return the mask of a score of the untrained network, all layers together.

    Args:
        arm: Which.
        settings: Network, examples and rounds of the score.
        dataset: Data.
        level: Fraction of weights that remains.
        seed: Of the lane, of whose training examples the first are looked at.
        initial: Weights before training.
        key: For pruners that draw.
    """
    model = settings.model.build(dataset.n_outputs)
    sizes = settings.data.sizes(dataset)
    inputs = LaneInputs(np.uint32(seed), {"label_noise": np.float32(0)})
    examples = lane_examples(dataset, *sizes, inputs)
    rows = np.asarray(examples.train[: settings.score_examples])
    _, state = model.init(role_key(seed, "initialisation"), dataset.x_train[0])
    problem = pruning.PruningProblem(
        model,
        state,
        losses.get("cross_entropy"),
        dataset.x_train[rows].astype(settings.dtype),
        np.asarray(examples.targets[: settings.score_examples]),
    )
    rounds = settings.score_rounds if arm == "synflow" else 1
    return numpy_mask(
        pruning.iterate(
            pruning.get(arm), problem, initial, None, key, level, rounds=rounds, scope="global"
        )
    )


def mask_key(seed: int, arm: str, number: int) -> jax.Array:
    """Return the key of a random mask: of a seed, an arm and a round."""
    key = jax.random.fold_in(role_key(seed, "probe"), FIRST_DRAW + list(ARMS).index(arm))
    return jax.random.fold_in(key, number)


def magnitudes(params: Params) -> Any:
    """Return the score of magnitude pruning."""
    return pruning.get("magnitude").scores(None, params, params, None)


def numpy_mask(mask: Mask) -> Mask:
    """Return a mask as lanes take it."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.uint8), mask)
