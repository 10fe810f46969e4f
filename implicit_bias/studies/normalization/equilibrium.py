"""SGD of which every update is followed: how norms of weights grow, and where they settle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias import losses
from implicit_bias.data.batches import epoch_batch, epoch_order
from implicit_bias.keys import role_key
from implicit_bias.models import Network
from implicit_bias.models.base import uses_batch_statistics
from implicit_bias.studies.planning import log_times
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

TIMES = 24
"""Updates after which norms are kept, evenly spaced in log time."""


class Followed(NamedTuple):
    """What each update leaves of each layer, shapes (updates, layers).

    Attributes:
        norm: ‖W‖ before the update.
        turn: Angle between W before and after it, in radians.
        gradient: ‖∇L‖ of the batch with respect to W, without decay.
    """

    norm: jax.Array
    turn: jax.Array
    gradient: jax.Array


@dataclass(frozen=True)
class Sgd(Experiment):
    """Plain SGD on the training examples of the study's pool, weight decay on all parameters.

    Attributes:
        models: Networks with affine layers.
        norms: Their normalisations, by name.
        decays: Weight decays λ, of ½λ‖θ‖².
        step_size: η.
        updates: Updates.
        batch_size: Examples in an update.
        n_train: Training examples, the first of the pool in an order drawn by the seed.

    References:
        van Laarhoven 2017; Li & Arora 2020; Wan et al., *Spherical motion dynamics* (2021): with
        decay directions turn by √(2ηλ) in an update once norms have settled.
    """

    models: tuple[Network, ...]
    norms: tuple[str, ...]
    decays: tuple[float, ...]
    step_size: float
    updates: int
    batch_size: int
    n_train: int

    @property
    def compiled(self) -> bool:
        """Yes: thousands of updates."""
        return True

    @property
    def layers(self) -> int:
        """Layers with weights."""
        return self.models[0].depth

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("sgd_norm", "decay", "sgd_layer")
        late = {
            "turn": ("radian", "angle by which W turns in an update, root mean square of the last half"),
            "turn_over_law": ("1", "the same over √(2ηλ); NaN without decay"),
            "growth_part": (
                "1", "change of ‖W‖² over all updates over η²Σ‖∇L‖² − (2ηλ − η²λ²)Σ‖W‖²",
            ),
            "effective_step": ("1/parameter²", "η/‖W‖² over the last half, mean"),
            "norm_ratio": ("1", "‖W‖ at the end over that at the start"),
        }  # fmt: skip
        return {
            **{name: Variable(dims, units, what) for name, (units, what) in late.items()},
            "followed_norm": Variable((*dims, "sgd_time"), "parameter", "‖W‖ after an update"),
            "sgd_loss": Variable(dims[:2], "nats", "mean batch loss of the last tenth"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Normalisations, decays, layers from the inputs on, and updates."""
        return {
            "sgd_norm": self.norms,
            "decay": self.decays,
            "sgd_layer": tuple(range(1, self.layers + 1)),
            "sgd_time": self.times,
        }

    @property
    def times(self) -> tuple[int, ...]:
        """Updates after which norms are kept."""
        return log_times(self.updates - 1, TIMES)

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, jax.Array]:
        """Measure one seed."""
        decays = jnp.asarray(self.decays, pool.x_train.dtype)
        of_norms = [
            # One after the other in one program.
            jax.lax.map(lambda decay, model=model: self.summary(model, pool, seed, decay), decays)
            for model in self.models
        ]
        return jax.tree.map(lambda *parts: jnp.stack(parts), *of_norms)

    def summary(
        self, model: Network, pool: Pool, seed: Any, decay: jax.Array
    ) -> dict[str, jax.Array]:
        """Train one network and summarise what was followed."""
        followed, values = self.run(model, pool, seed, decay)
        late = slice(self.updates // 2, None)
        step = self.step_size
        turn = jnp.sqrt(jnp.mean(jnp.square(followed.turn[late]), axis=0))
        squares = jnp.square(followed.norm)
        expected = step**2 * jnp.sum(jnp.square(followed.gradient[:-1]), axis=0) - (
            2 * step * decay - jnp.square(step * decay)
        ) * jnp.sum(squares[:-1], axis=0)
        law = jnp.sqrt(2 * step * decay)
        return {
            "turn": turn,
            "turn_over_law": jnp.where(decay > 0, turn / law, jnp.full_like(turn, jnp.nan)),
            "growth_part": (squares[-1] - squares[0]) / expected,
            "effective_step": jnp.mean(step / squares[late], axis=0),
            "norm_ratio": followed.norm[-1] / followed.norm[0],
            "followed_norm": followed.norm[jnp.asarray(self.times)].T,
            "sgd_loss": jnp.mean(values[-max(1, self.updates // 10) :]),
        }

    def run(
        self, model: Network, pool: Pool, seed: Any, decay: jax.Array
    ) -> tuple[Followed, jax.Array]:
        """Train one network; return what each update leaves, and the batches' losses, (updates,)."""
        order = jax.random.permutation(role_key(seed, "split"), pool.x_train.shape[0])
        x, y = (part[order[: self.n_train]] for part in (pool.x_train, pool.y_train))
        start = model.init(role_key(seed, "initialisation"), x[0])
        per_epoch = -(-self.n_train // self.batch_size)
        loss = losses.get("cross_entropy")
        names = [f"layer_{layer}" for layer in range(self.layers)]

        def weights_of(tree: Any) -> list[jax.Array]:
            return [tree[name]["weight"] for name in names]

        def update(carry: Any, number: jax.Array) -> tuple[Any, tuple[Followed, jax.Array]]:
            params, state = carry
            order = epoch_order(role_key(seed, "data_order"), number // per_epoch, self.n_train)
            rows, weights = epoch_batch(order, number % per_epoch, self.batch_size, dtype=x.dtype)
            counted = {"example_weights": weights} if uses_batch_statistics(model) else {}

            def mean_loss(params: Any) -> tuple[jax.Array, Any]:
                outputs, new = model.apply(params, state, x[rows], train=True, **counted)
                return jnp.sum(weights * loss.per_example(outputs, y[rows])), new

            (value, state), gradient = jax.value_and_grad(mean_loss, has_aux=True)(params)
            moved = jax.tree.map(
                lambda leaf, g: leaf - self.step_size * (g + decay * leaf), params, gradient
            )
            pairs = list(zip(weights_of(params), weights_of(moved), strict=True))
            followed = Followed(
                jnp.stack([jnp.linalg.norm(before) for before, _ in pairs]),
                jnp.stack([angle(before, after) for before, after in pairs]),
                jnp.stack([jnp.linalg.norm(g) for g in weights_of(gradient)]),
            )
            return (moved, state), (followed, value)

        _, found = jax.lax.scan(update, start, jnp.arange(self.updates, dtype=jnp.int32))
        return found


def angle(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return the angle between two arrays, in radians, without loss of digits where it is small."""
    one, other = (part / jnp.linalg.norm(part) for part in (first, second))
    return 2 * jnp.arcsin(jnp.minimum(jnp.linalg.norm(one - other) / 2, jnp.ones((), one.dtype)))
