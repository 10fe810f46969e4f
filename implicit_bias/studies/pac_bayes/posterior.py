"""Laws of networks with a small bound, and trained networks with equal noise on all weights.

Every law is N(μ, diag s²). Its μ, its s and the prior's variance λ descend together, by Adam, on a bound
with the cross-entropy in bits in place of the error, of which it is an upper bound; the bound that is
reported is for losses in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias import curvature, losses
from implicit_bias.keys import role_key
from implicit_bias.models import Dense
from implicit_bias.models.base import evaluate
from implicit_bias.studies.pac_bayes.network import (
    bounded_losses,
    divergence,
    sampled_outputs,
    sampled_risks,
    squared_distance,
)
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane

LAWS: dict[str, str] = {
    "start": "prior around the random start, all examples",
    "zero": "prior around zero, all examples",
    "learned": "prior around a network trained on some examples, the others in the bound",
    "random labels": "prior around the random start, labels drawn at random",
}
"""Laws of networks, by their prior and their labels."""

NETS = {"true labels": "trained", "random labels": "random"}
"""Trained networks whose weights get equal noise, by their labels, and their arms."""


B1, B2, EPS = 0.9, 0.999, 1e-8
"""Of Adam (Kingma & Ba 2015)."""


class Problem(NamedTuple):
    """What a law is made from; the first axis counts laws where they are stacked."""

    prior: Params
    start: Params
    rows: jax.Array
    targets: jax.Array
    size: jax.Array


@dataclass(frozen=True)
class Posteriors(Experiment):
    """Laws of networks with a small bound, and noise on trained networks, for one seed.

    Attributes:
        model: The network.
        updates: Of each law.
        batch_size: Examples in an update.
        step_size: Adam's first.
        spread: First standard deviation of all weights, of prior and law.
        passes: Over the sample, for the empirical risk.
        largest_variance: c.
        precision: b.
        delta: δ.
        spreads: Of the equal noise.
        stated_scales: Standard deviations of a prior around zero.
        curvature_examples: Examples of the Hessian.
        losses: Losses in [0, 1].
        sampling_delta: δ_s.
        chunk: Examples in memory together.
    """

    model: Dense
    updates: int
    batch_size: int
    step_size: float
    spread: float
    passes: int
    largest_variance: float
    precision: float
    delta: float
    spreads: tuple[float, ...]
    stated_scales: tuple[float, ...]
    curvature_examples: int
    losses: tuple[str, ...]
    sampling_delta: float
    chunk: int = 5000
    compiled: ClassVar[bool] = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        law, net = ("law",), ("net",)
        each, noisy = ("law", "bounded_loss"), ("net", "noise_std", "bounded_loss")
        return {
            "law_examples": Variable(law, "1", "m: examples that the bound counts"),
            "law_weights": Variable(law, "1", "d: weights"),
            "law_prior": Variable(law, "1", "j of the prior's variance c exp(−j/b)"),
            "law_distance": Variable(law, "1", "‖μ − prior's mean‖"),
            "law_draws": Variable(law, "1", "networks drawn for the mean loss on the sample"),
            "law_spread": Variable(law, "1", "geometric mean of s"),
            "law_kl": Variable(law, "nats", "KL(Q‖P)"),
            "law_sampled": Variable(each, "1", "mean loss on the sample, over drawn networks"),
            "law_test": Variable(each, "1", "mean loss on test examples, over drawn networks"),
            "law_centre": Variable(law, "fraction", "test error of the network with weights μ"),
            "certify_delta": Variable((), "1", "δ"),
            "certify_sampling_delta": Variable((), "1", "δ_s"),
            "stated_kl": Variable(
                ("net", "prior_std"), "nats", "‖w‖²/2σ², which the exercise takes for KL"
            ),
            "net_norm": Variable(net, "1", "‖w‖"),
            "net_moved": Variable(net, "1", "‖w − w₀‖"),
            "net_train": Variable(("net", "bounded_loss"), "1", "mean loss on the sample"),
            "net_test": Variable(("net", "bounded_loss"), "1", "mean loss on test examples"),
            "net_loss": Variable(net, "nats", "cross-entropy on the sample"),
            "net_sharpness": Variable(net, "1", "λmax of the Hessian of the cross-entropy"),
            "noisy_sampled": Variable(noisy, "1", "mean loss on the sample with noise on weights"),
            "noisy_test": Variable(noisy, "1", "mean loss on test examples with noise on weights"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Laws, networks, losses and widths of noise."""
        return {
            "law": tuple(LAWS),
            "net": tuple(NETS),
            "bounded_loss": self.losses,
            "noise_std": self.spreads,
            "prior_std": self.stated_scales,
        }

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the three networks."""
        by_arm = {lane.tags["arm"]: lane for lane in lanes}
        return {arm: by_arm[arm] for arm in ("trained", "random", "prior")}

    def __call__(
        self, pool: Pool, seed: jax.Array, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, jax.Array]:
        """Make and measure the laws of one seed."""
        key = role_key(seed, "probe")
        problems = stacked(self.problems(pool, lanes))
        places = jnp.arange(len(LAWS))

        def one(given: tuple[jax.Array, Problem]) -> dict[str, jax.Array]:
            place, problem = given
            return self._law(pool, problem, jax.random.fold_in(key, place))

        laws = jax.lax.map(one, (places, problems))
        nets = [lanes[arm] for arm in NETS.values()]
        own = stacked([(net.params, net.initial, net.examples.train, net.examples.targets)
                       for net in nets])  # fmt: skip
        found = jax.lax.map(
            lambda given: self._net(pool, given[1], jax.random.fold_in(key, 100 + given[0])),
            (jnp.arange(len(nets)), own),
        )
        dtype = pool.x_train.dtype
        scales = jnp.asarray(self.stated_scales, dtype)
        return (
            {f"law_{n}": v for n, v in laws.items()}
            | found
            | {
                "certify_delta": jnp.asarray(self.delta, dtype),
                "certify_sampling_delta": jnp.asarray(self.sampling_delta, dtype),
                "stated_kl": (found["net_norm"][:, None] / scales[None, :]) ** 2 / 2,
            }
        )

    def problems(self, pool: Pool, lanes: Mapping[str, FinishedLane]) -> list[Problem]:
        """Return what each law is made from, in the order of ``LAWS``; examples padded to one length."""
        trained, random, prior = (lanes[name] for name in ("trained", "random", "prior"))
        zero = jax.tree.map(jnp.zeros_like, trained.params)
        rows, targets = trained.examples.train, trained.examples.targets
        m, rest = rows.shape[0], prior.examples.valid
        padded = jnp.pad(rest, (0, m - rest.shape[0]))
        return [
            Problem(trained.initial, trained.params, rows, targets, jnp.asarray(m)),
            Problem(zero, trained.params, rows, targets, jnp.asarray(m)),
            Problem(prior.params, prior.params, padded, pool.y_train[padded], jnp.asarray(rest.shape[0])),
            Problem(random.initial, random.params, random.examples.train, random.examples.targets,
                    jnp.asarray(m)),
        ]  # fmt: skip

    def _law(self, pool: Pool, problem: Problem, key: jax.Array) -> dict[str, jax.Array]:
        mean, log_std, prior_log = self._descend(pool, problem, jax.random.fold_in(key, 0))
        number = jnp.maximum(jnp.round(self._place(prior_log)), 1.0)
        dtype = prior_log.dtype
        chosen = (jnp.log(jnp.asarray(self.largest_variance, dtype)) - number / self.precision) / 2
        kl = divergence(mean, log_std, problem.prior, chosen)
        std = jax.tree.map(jnp.exp, log_std)
        n = problem.rows.shape[0]
        counted = (jnp.arange(n) < problem.size).astype(dtype) / problem.size.astype(dtype)
        sample = (pool.x_train, problem.rows, problem.targets)
        weights = sum(leaf.size for leaf in jax.tree.leaves(mean))
        logs = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(log_std)])
        return {
            "examples": problem.size.astype(dtype),
            "weights": jnp.asarray(weights, dtype),
            "prior": number,
            "draws": problem.size.astype(dtype) * self.passes,
            "distance": jnp.sqrt(squared_distance(mean, problem.prior)),
            "spread": jnp.exp(jnp.mean(logs)),
            "kl": kl,
            "sampled": self._risks(mean, std, sample, counted, jax.random.fold_in(key, 1)),
            "test": self._test(pool, mean, std, jax.random.fold_in(key, 2)),
            "centre": jnp.mean(losses.error(self._outputs(mean, pool.x_test), pool.y_test)),
        }

    def _descend(
        self, pool: Pool, problem: Problem, key: jax.Array
    ) -> tuple[Params, Params, jax.Array]:
        dtype = problem.start["layer_0"]["weight"].dtype
        first = jnp.log(jnp.asarray(self.spread, dtype))
        log_std = jax.tree.map(lambda leaf: jnp.full_like(leaf, first), problem.start)
        state = (problem.start, log_std, first)
        size = problem.size.astype(dtype)

        def objective(state: Any, number: jax.Array) -> jax.Array:
            mean, log_std, prior_log = state
            draw, noise = jax.random.split(jax.random.fold_in(key, number))
            some = jax.random.randint(draw, (self.batch_size,), 0, problem.size)
            outputs = sampled_outputs(
                self.model, mean, jax.tree.map(jnp.exp, log_std), pool.x_train[problem.rows[some]], noise
            )  # fmt: skip
            bits = jnp.mean(losses.cross_entropy(outputs, problem.targets[some])) / math.log(2)
            place = jnp.maximum(self._place(prior_log), 1.0)
            kl = divergence(mean, log_std, problem.prior, prior_log)
            spent = jnp.log(2 * jnp.sqrt(size) * math.pi**2 / (6 * self.delta)) + 2 * jnp.log(place)
            half = (kl + spent) / (2 * size)
            return jnp.square(jnp.sqrt(bits + half) + jnp.sqrt(half))

        def update(number: jax.Array, carry: Any) -> Any:
            state, first, second = carry
            slope = jax.grad(objective)(state, number)
            first = jax.tree.map(lambda old, new: B1 * old + (1 - B1) * new, first, slope)
            second = jax.tree.map(
                lambda old, new: B2 * old + (1 - B2) * jnp.square(new), second, slope
            )
            done = number.astype(dtype)
            step = self.step_size * (1 + jnp.cos(jnp.pi * done / self.updates)) / 2
            whole = [1 - jnp.exp((done + 1) * math.log(rate)) for rate in (B1, B2)]

            def moved(leaf: jax.Array, mean: jax.Array, square: jax.Array) -> jax.Array:
                return leaf - step * (mean / whole[0]) / (jnp.sqrt(square / whole[1]) + EPS)

            return jax.tree.map(moved, state, first, second), first, second

        zeros = jax.tree.map(jnp.zeros_like, state)
        (mean, log_std, prior_log), _, _ = jax.lax.fori_loop(
            0, self.updates, update, (state, zeros, zeros)
        )
        return mean, log_std, prior_log

    def _place(self, prior_log: jax.Array) -> jax.Array:
        """Return j of a prior's standard deviation, a real number."""
        largest = jnp.log(jnp.asarray(self.largest_variance, prior_log.dtype))
        return self.precision * (largest - 2 * prior_log)

    def _risks(
        self,
        mean: Params,
        std: Params,
        data: Any,
        weights: jax.Array,
        key: jax.Array,
        passes: int = 0,
    ) -> jax.Array:
        return sampled_risks( self.model, self.losses, mean, std, data, weights, key, passes=passes or
            self.passes, chunk=self.chunk )  # fmt: skip

    def _test(
        self, pool: Pool, mean: Params, std: Params, key: jax.Array, passes: int = 0
    ) -> jax.Array:
        n = pool.y_test.shape[0]
        dtype = pool.x_test.dtype
        data = (pool.x_test, jnp.arange(n), pool.y_test)
        return self._risks(mean, std, data, jnp.full((n,), 1 / n, dtype), key, passes)

    def _outputs(self, params: Params, x: jax.Array) -> jax.Array:
        return evaluate(self.model, params, {}, x)

    def _net(self, pool: Pool, given: Any, key: jax.Array) -> dict[str, jax.Array]:
        params, initial, rows, targets = given
        dtype = pool.x_train.dtype
        n = rows.shape[0]
        even = jnp.full((n,), 1 / n, dtype)
        sample = (pool.x_train, rows, targets)
        outputs = self._outputs(params, pool.x_train[rows])
        tested_outputs = self._outputs(params, pool.x_test)
        zero = jax.tree.map(jnp.zeros_like, params)

        def noisy(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            place, width = part
            std = jax.tree.map(lambda leaf: jnp.full_like(leaf, width), params)
            own = jax.random.fold_in(key, place)
            return (
                self._risks(params, std, sample, even, own, passes=1),
                self._test(pool, params, std, jax.random.fold_in(own, 1), passes=1),
            )

        widths = jnp.asarray(self.spreads, dtype)
        sampled, tested = jax.lax.map(noisy, (jnp.arange(len(self.spreads)), widths))
        return {
            "net_norm": jnp.sqrt(squared_distance(params, zero)),
            "net_moved": jnp.sqrt(squared_distance(params, initial)),
            "net_train": jnp.mean(bounded_losses(self.losses, outputs, targets), axis=1),
            "net_test": jnp.mean(bounded_losses(self.losses, tested_outputs, pool.y_test), axis=1),
            "net_loss": jnp.mean(losses.cross_entropy(outputs, targets)),
            "net_sharpness": self._sharpness(pool, params, rows, targets, key),
            "noisy_sampled": sampled,
            "noisy_test": tested,
        }  # fmt: skip

    def _sharpness(
        self, pool: Pool, params: Params, rows: jax.Array, targets: jax.Array, key: jax.Array
    ) -> jax.Array:
        some = slice(0, self.curvature_examples)

        def loss(params: Params, batch: Any, weights: jax.Array) -> jax.Array:
            x, y = batch
            return jnp.sum(weights * losses.cross_entropy(self._outputs(params, x), y))

        operator, _ = curvature.hessian(loss, params, (pool.x_train[rows[some]], targets[some]))
        return curvature.power_iteration(operator, key, k=1, max_products=100, tol=1e-2).values[0]


def stacked(trees: Sequence[Any]) -> Any:
    """Stack trees of arrays along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
