"""The straight line once hidden units are matched, and a planted permutation as the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import geometry
from implicit_bias.runtime import compiled
from implicit_bias.studies.landscape.arms import Subject
from implicit_bias.studies.landscape.evaluation import SPLITS, Examples
from implicit_bias.studies.landscape.paths import PAIRS, by_arm, fractions
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment
from implicit_bias.training.lane import LaneExamples, Params
from implicit_bias.training.measurement import FinishedLane, Variable


@dataclass(frozen=True)
class Matched(Experiment):
    """Weight matching of each pair, in double precision, and the straight line after it.

    The control permutes the hidden units of a network at random, which changes no output: between a
    network and its own permuted copy the straight line has a barrier, and matching must find the
    permutation, and with it the same network.

    Attributes:
        subject: Network, loss and examples.
        points: Points between two networks.
        starts: Starts of the matching; one is the optimum where there is one hidden layer.
    """

    subject: Subject
    points: int
    starts: int = 1

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("pair", "split", "fraction")
        planted = ("planted", "split", "fraction")
        return {
            "matched_loss": Variable(dims, "nats", "mean loss on the straight line, units matched"),
            "matched_error": Variable(dims, "fraction", "error on it"),
            "matched_apart": Variable(("pair",), "parameter", "distance of a pair, units matched"),
            "moved_units": Variable(("pair",), "fraction", "hidden units that matching moved"),
            "planted_loss": Variable(
                planted, "nats", "mean loss between a network and its own permuted copy"
            ),
            "planted_error": Variable(planted, "fraction", "error between them"),
            "planted_found": Variable((), "fraction", "hidden units of the copy found again"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Pairs, places, and whether the permuted copy was matched."""
        return {
            "pair": tuple(PAIRS),
            "split": SPLITS,
            "fraction": fractions(self.points),
            "planted": ("permuted", "matched"),
        }

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the end points."""
        return by_arm(lanes)

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure one seed."""
        own: FinishedLane = _double(lanes["small"])
        data = (_double(pool), own.examples)
        found: dict[str, list[Any]] = {
            name: [] for name in self.variables if not name.startswith("planted")
        }
        for first, second in PAIRS.values():
            start, end = (_double(lanes[arm].params) for arm in (first, second))
            matching = geometry.weight_matching(start, end, seed=seed, n_starts=self.starts)
            end = geometry.permute_units(end, matching.permutations)
            values = self._line(data, start, end)
            found["matched_loss"].append(values["loss"])
            found["matched_error"].append(values["error"])
            found["matched_apart"].append(_distance(start, end))
            orders = matching.permutations
            moved = [np.mean(order != np.arange(len(order))) for order in orders]
            found["moved_units"].append(float(np.mean(moved)))
        rng = np.random.default_rng(seed)
        planted = tuple(rng.permutation(width) for width in self.subject.model.widths)
        copy = geometry.permute_units(own.params, planted)
        matching = geometry.weight_matching(own.params, copy, seed=seed, n_starts=self.starts)
        again = geometry.permute_units(copy, matching.permutations)
        ways = [self._line(data, own.params, end) for end in (copy, again)]
        # Unit i of the copy is unit planted[i]; matching must put it back to that place.
        right = [
            np.mean(order[back] == np.arange(len(back)))
            for order, back in zip(planted, matching.permutations, strict=True)
        ]
        return {name: np.asarray(values) for name, values in found.items()} | {
            "planted_loss": np.stack([way["loss"] for way in ways]),
            "planted_error": np.stack([way["error"] for way in ways]),
            "planted_found": np.asarray(np.mean(right)),
        }

    def _line(
        self, data: tuple[Pool, LaneExamples], start: Params, end: Params
    ) -> dict[str, np.ndarray]:
        """Return loss and error at places between two networks, shape (splits, points) each."""
        pool, examples = data
        along = _along(
            subject=self.subject, pool=pool, examples=examples, start=start, end=end,
            places=np.asarray(fractions(self.points)),
        )  # fmt: skip
        return {name: np.moveaxis(np.asarray(values), 0, -1) for name, values in along.items()}


def _on_line(
    subject: Subject,
    pool: Pool,
    examples: LaneExamples,
    start: Params,
    end: Params,
    places: jax.Array,
) -> Any:
    way = jax.tree.map(jnp.subtract, end, start)
    short, ways, values = Examples(subject, pool, examples).cut(start, (way,))
    return geometry.line(values, short, ways[0], places)


_along = compiled(_on_line, static=("subject",))


def _distance(one: Params, other: Params) -> float:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return float(np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs)))


def _double(tree: Any) -> Any:
    def one(leaf: Any) -> Any:
        array = np.asarray(leaf)
        return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array

    return jax.tree.map(one, tree)
