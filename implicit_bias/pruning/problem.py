"""What a pruner is, and what it looks at."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax

from implicit_bias.errors import UserError
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.pruning import masks
from implicit_bias.pruning.masks import Mask, Params


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["model_state", "x", "targets"],
    meta_fields=["model", "loss"],
)
@dataclass(frozen=True)
class PruningProblem:
    """What scores may depend on beside the weights; a pytree, whose arrays may differ from lane to lane.

    Attributes:
        model: Network.
        model_state: Its state.
        loss: Training loss; its mean over the examples is what is differentiated.
        x: Inputs, shape (n, *features).
        targets: Their targets, shape (n, ...).
    """

    model: Model
    model_state: Any
    loss: Loss
    x: Any
    targets: Any


class Scores(Protocol):
    """How a pruner values weights."""

    def __call__(
        self,
        problem: PruningProblem | None,
        params: Params,
        mask: Mask,
        key: jax.Array | None,
        /,
    ) -> Any:
        """Return scores, a tree like the parameters; higher is kept.

        Args:
            problem: Network, loss and data; None will do for pruners that say so.
            params: Parameters; where the mask has zeros they are taken as zero.
            mask: What is kept now.
            key: For pruners that draw.

        Returns:
            Scores of the weights that are kept; other entries have no meaning.
        """
        ...


@dataclass(frozen=True)
class Pruner:
    """A way to value weights; hashable.

    Attributes:
        name: Name in configs and results.
        scores: The values; pure, may be mapped over lanes. See :class:`Scores`.
        needs_problem: Whether scores depend on the network, not on the weights alone.
        needs_key: Whether scores are drawn.
        rounds: Rounds in which its source prunes to a level, computing scores anew in each.
    """

    name: str
    scores: Scores
    needs_problem: bool = False
    needs_key: bool = False
    rounds: int = 1

    def __repr__(self) -> str:
        return f"Pruner({self.name!r})"


def weight_loss(
    problem: PruningProblem, params: Params, mask: Mask
) -> tuple[Callable[[dict[str, Any]], jax.Array], dict[str, Any]]:
    """Return the mean loss as a function of the prunable weights alone, and the weights.

    Args:
        problem: Network, loss and data; the network runs as outside of training.
        params: Parameters.
        mask: Weights it prunes are held at zero, and have no derivative.

    Returns:
        The function of a dict of arrays by layer, and the masked weights.
    """
    keep = masks.weights(mask)

    def loss(weights: dict[str, Any]) -> jax.Array:
        held = {name: leaf * keep[name].astype(leaf.dtype) for name, leaf in weights.items()}
        outputs, _ = problem.model.apply(
            masks.with_weights(params, held), problem.model_state, problem.x, train=False
        )
        return problem.loss.mean(outputs, problem.targets)

    return loss, masks.weights(masks.apply(mask, params))


def require_problem(name: str, problem: PruningProblem | None) -> PruningProblem:
    """Return the problem.

    Raises:
        UserError: There is none.
    """
    if problem is None:
        raise UserError(f"pruner {name!r} looks at the network; give a PruningProblem")
    return problem
