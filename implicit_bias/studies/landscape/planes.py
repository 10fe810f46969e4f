"""Random planes through an end point, raw and normalised by filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import geometry
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.studies.landscape.arms import Subject
from implicit_bias.studies.landscape.evaluation import SPLITS, Examples, scaled, stacked
from implicit_bias.training import Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable

KINDS = ("raw", "filter")


@dataclass(frozen=True)
class RandomPlanes:
    """Loss over random planes through the end point of a lane, on training and test examples.

    Raw directions are two orthonormal ones of all parameters, so that a unit is a parameter's. Those
    normalised by filter give every unit's incoming weights a random change of their own length at 1, and
    leave biases alone. The planes of a seed are drawn alike for all arms.

    The Hessian over a plane is that of the loss as a function of the plane's two coordinates, exactly.

    A control: the first layer is multiplied by a factor and the second divided by it, which changes no
    output of a ReLU network, and the first plane is looked at again.

    Attributes:
        subject: Network, loss and examples.
        slices: Planes of each kind.
        grid: Points along each axis.
        fine_grid: The same for a closer look at the first plane.
        reach: Half a raw plane's side.
        filter_reach: Half a filter-normalised plane's side.
        rescaling: Factor of the control.
    """

    subject: Subject
    slices: int
    grid: int
    fine_grid: int
    reach: float
    filter_reach: float
    rescaling: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        curvature = {"raw": "nats per squared parameter", "filter": "nats per squared relative"}
        found: dict[str, Variable] = {}
        for kind, (a, b) in {"raw": ("a", "b"), "filter": ("u", "v")}.items():
            found |= {
                f"plane_{kind}": Variable(
                    ("split", "slice", a, b), "nats", f"loss over {kind} random planes"
                ),
                f"portrait_{kind}": Variable(
                    ("split", f"fine_{a}", f"fine_{b}"), "nats",
                    f"loss over the first {kind} random plane",
                ),
                f"plane_curvature_{kind}": Variable(
                    ("split", "slice", "mode"), curvature[kind],
                    f"eigenvalues of the Hessian over {kind} random planes",
                ),
            }  # fmt: skip
        return found | {
            "rescaled_rise": Variable(
                ("kind",), "nats", "mean rise of the test loss at the first plane's boundary, "
                "same function with rescaled layers",
            ),
            "train_loss": Variable((), "nats", "mean loss of the training examples looked at"),
            "train_error": Variable((), "fraction", "their error"),
            "test_loss": Variable((), "nats", "mean test loss"),
            "test_error": Variable((), "fraction", "test error"),
            "parameter_norm": Variable((), "parameter", "‖θ‖"),
            "relative_movement": Variable((), "1", "‖θ − θ₀‖ / ‖θ₀‖"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Places along planes: a, b in parameters; u, v relative to each unit's weights."""
        coarse, fine = (_axis(n) for n in (self.grid, self.fine_grid))
        return {
            "split": SPLITS,
            "kind": KINDS,
            "mode": ("larger", "smaller"),
            "a": _times(coarse, self.reach),
            "b": _times(coarse, self.reach),
            "u": _times(coarse, self.filter_reach),
            "v": _times(coarse, self.filter_reach),
            "fine_a": _times(fine, self.reach),
            "fine_b": _times(fine, self.reach),
            "fine_u": _times(fine, self.filter_reach),
            "fine_v": _times(fine, self.filter_reach),
        }

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        del model, loss  # the subject's
        examples = Examples(self.subject, pool, lane.examples)
        hidden = len(self.subject.model.widths)
        factors = (self.rescaling, *[1.0] * (hidden - 1))
        both = stacked([lane.params, geometry.rescale_relu(lane.params, factors)])
        each = self.slices + 1  # the last is the first one again, with rescaled layers
        index = np.asarray([*range(self.slices), 0] * len(KINDS), np.int32)
        rescaled = np.asarray(([0] * self.slices + [1]) * len(KINDS), np.int32)
        kind = np.repeat(np.arange(len(KINDS), dtype=np.int32), each)

        def directions(which: tuple[Any, Any, Any]) -> tuple[Params, Params, Params]:
            of_kind, own, again = which
            params = jax.tree.map(lambda leaf: leaf[again], both)
            return params, *self._directions(lane.seed, params, of_kind, own)

        def look(which: tuple[Any, Any, Any]) -> tuple[jax.Array, jax.Array]:
            return self._look(examples, directions(which), self.grid, curvature=True)

        losses, hessians = jax.lax.map(look, (kind, index, rescaled))
        reach = np.asarray((self.reach, self.filter_reach))[kind]
        # Coordinates ran from −1 to 1: back to units of the directions before they were lengthened.
        hessians = hessians / jnp.asarray(reach**2, losses.dtype)[:, None, None, None]
        first = np.arange(len(KINDS)) * each
        fine = losses[first]
        if self.fine_grid != self.grid:
            closely = (kind[first], index[first], rescaled[first])
            fine, _ = jax.lax.map(
                lambda which: self._look(examples, directions(which), self.fine_grid), closely
            )
        values: dict[str, jax.Array] = {}
        for place, name in enumerate(KINDS):
            rows = slice(place * each, place * each + self.slices)
            values[f"plane_{name}"] = jnp.moveaxis(losses[rows], -1, 0)
            values[f"plane_curvature_{name}"] = jnp.moveaxis(_eigenvalues(hessians[rows]), 0, 1)
            values[f"portrait_{name}"] = jnp.moveaxis(fine[place], -1, 0)
        again = losses[first + self.slices, :, :, 1]
        if self.subject.model.activation in ("relu", "identity"):
            values["rescaled_rise"] = boundary_rise(again)
        else:
            values["rescaled_rise"] = jnp.full((len(KINDS),), jnp.nan, again.dtype)
        ends = examples(lane.params)
        for place, split in enumerate(SPLITS):
            values[f"{split}_loss"] = ends["loss"][place]
            values[f"{split}_error"] = ends["error"][place]
        values["parameter_norm"] = geometry.parameter_norm(lane.params)
        values["relative_movement"] = geometry.relative_movement(lane.params, lane.initial)
        return values

    def _directions(
        self, seed: jax.Array, params: Params, kind: jax.Array, index: jax.Array
    ) -> tuple[Params, Params]:
        """Draw a plane's two directions, as long as half its side."""
        key = jax.random.fold_in(role_key(seed, "probe"), index)
        axis = self.subject.model.output_axis
        raw = orthonormal(*geometry.random_plane(key, params, "absolute"))
        filtered = geometry.random_plane(key, params, "filter", output_axis=axis)
        first, second = (
            jax.tree.map(lambda a, b: jnp.where(kind == 0, self.reach * a, self.filter_reach * b),
                         one, other)
            for one, other in zip(raw, filtered, strict=True)
        )  # fmt: skip
        return first, second

    def _look(
        self,
        examples: Examples,
        plane: tuple[Params, Params, Params],
        grid: int,
        *,
        curvature: bool = False,
    ) -> tuple[jax.Array, jax.Array]:
        """Return losses (grid, grid, splits) and the plane's Hessian (splits, 2, 2), or zero."""
        params, *directions = plane
        axis = jnp.asarray(_axis(grid), examples.x.dtype)
        short, ways, values = examples.cut(params, directions)

        def loss(tree: Params) -> jax.Array:
            return values(tree)["loss"]

        def at(place: jax.Array) -> jax.Array:
            def moved(leaf: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
                return leaf + place[0] * first + place[1] * second

            return loss(jax.tree.map(moved, short, *ways))

        over = geometry.plane(loss, short, (ways[0], ways[1]), axis, axis)
        middle = jnp.zeros(2, axis.dtype)
        return over, jax.hessian(at)(middle) if curvature else jnp.zeros((), axis.dtype)


def orthonormal(first: Params, second: Params) -> tuple[Params, Params]:
    """Make two directions of length one orthogonal, by Gram and Schmidt; the first stays."""
    inner = sum(
        jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )
    rest = jax.tree.map(lambda a, b: b - inner * a, first, second)
    return first, scaled(rest, 1 / geometry.parameter_norm(rest))


def boundary_rise(losses: Any) -> Any:
    """Return how much the loss rises from the middle of planes to their boundary, on average.

    Args:
        losses: Shape (..., n, n), n odd.

    Returns:
        Mean over the 4n − 4 points of the boundary minus the middle, shape (...,).
    """
    n = losses.shape[-1]
    edge = np.ones((n, n), bool)
    edge[1:-1, 1:-1] = False
    middle = losses[..., n // 2, n // 2]
    return losses[..., edge].mean(-1) - middle


def _eigenvalues(matrices: jax.Array) -> jax.Array:
    """Return both eigenvalues of symmetric 2×2 matrices, the larger first, shape (..., 2)."""
    mean = (matrices[..., 0, 0] + matrices[..., 1, 1]) / 2
    half = (matrices[..., 0, 0] - matrices[..., 1, 1]) / 2
    spread = jnp.hypot(half, (matrices[..., 0, 1] + matrices[..., 1, 0]) / 2)
    return jnp.stack([mean + spread, mean - spread], axis=-1)


def _axis(n: int) -> np.ndarray:
    return np.linspace(-1, 1, n)


def _times(axis: np.ndarray, reach: float) -> tuple[float, ...]:
    return tuple(float(place) for place in axis * reach)
