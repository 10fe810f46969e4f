"""The average of empirical kernels over initialisations, which defines the infinite-width kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from implicit_bias import kernels
from implicit_bias.keys import role_key
from implicit_bias.models import Dense
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane


@dataclass(frozen=True)
class KernelAverage(Experiment):
    """Empirical kernels of many networks with one hidden layer, and their limit in the width.

    With one hidden layer the kernel of a network of any width is an average over its units, which are
    drawn alike: its expectation is the limit itself, and nothing has to be extrapolated.

    Attributes:
        model: The network in its NTK parameterisation, with one hidden layer.
        networks: Networks drawn for each seed.
        inputs: Test examples.
    """

    model: Dense
    networks: int = 200
    inputs: int = 8
    compiled: ClassVar[bool] = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        square = ("input", "other_input")
        return {
            "average_kernel": Variable(square, "1", "mean over networks of the empirical NTK"),
            "kernel_variance": Variable(square, "1", "variance over networks of the empirical NTK"),
            "limit_kernel": Variable(square, "1", "infinite-width NTK"),
            "networks": Variable((), "networks", "networks averaged over"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Test examples by their number."""
        return {"input": tuple(range(self.inputs)), "other_input": tuple(range(self.inputs))}

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Average the kernels of one seed's networks."""
        x = pool.x_test[: self.inputs]
        limit = kernels.infinite_kernel(self.model)(x).ntk
        # Not the seed's own key: its networks are those of the lanes.
        key = jax.random.fold_in(role_key(seed, "initialisation"), 1)

        def departure(number: jax.Array) -> jax.Array:
            params, state = self.model.init(jax.random.fold_in(key, number), x[0])
            kernel = kernels.empirical_ntk(self.model, params, x, state=state, method="structured")
            return kernel - limit

        def add(sums: Any, number: jax.Array) -> tuple[Any, None]:
            found = departure(number)
            return (sums[0] + found, sums[1] + jnp.square(found)), None

        zero = jnp.zeros_like(limit)
        numbers = jnp.arange(self.networks, dtype=jnp.uint32)
        # Sums of departures from the limit, and not of kernels, so that squares do not cancel.
        (first, second), _ = jax.lax.scan(add, (zero, zero), numbers)
        mean = first / self.networks
        variance = (second - self.networks * jnp.square(mean)) / (self.networks - 1)
        return {
            "average_kernel": limit + mean,
            "kernel_variance": jnp.maximum(variance, 0),
            "limit_kernel": limit,
            "networks": jnp.asarray(self.networks, limit.dtype),
        }
