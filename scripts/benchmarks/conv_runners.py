"""Convolutional networks trained by this package, and by ``vmap`` of XLA's convolution."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.conv_work import COLOURS, JUDGED, SIDE, WARM_UP, Convs
from benchmarks.engine_runner import EngineRunner
from benchmarks.libraries import jax_device_memory, set_up_jax
from benchmarks.timing import Absent
from benchmarks.work import CLASSES, MOMENTUM, STEP_SIZE


@dataclass
class ConvEngineRunner(EngineRunner):
    """``implicit_bias.training``, with the layout and the convolutions that its plan chooses.

    Attributes:
        work: What is trained.
        notes: Remarks for the table.
    """

    work: Any

    def result(self) -> dict[str, float]:
        """Return the mean loss over the networks, and operations of one update of all.

        Of products alone, as they are defined, without the gradient of the images.
        """
        from implicit_bias.models import model_cost
        from implicit_bias.models.layers import with_weights

        work, model = self.work, self.recipe.model
        first: Any = next(with_weights(model.chain()))
        unneeded = 2.0 * SIDE**2 * first.size**2 * COLOURS * first.channels
        forward = model_cost(model, (SIDE, SIDE, COLOURS)).flops
        return {
            "loss": self._mean_loss(JUDGED),
            "flops": work.lanes * work.batch * (3.0 * forward - unneeded),
        }

    def _model(self) -> Any:
        from implicit_bias import models

        if self.work.network == "cnn5":
            return models.cnn5(self.work.width, CLASSES, norm="none")
        return models.resnet(18, self.work.width, CLASSES)


@dataclass
class VmapRunner:
    """JAX as one would write it first: ``vmap`` of a network of ``lax.conv``, over all lanes.

    Attributes:
        work: What is trained.
        notes: Remarks for the table.
    """

    work: Convs
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.work.network != "cnn5":
            raise Absent("only of the small network")
        set_up_jax(self.work.precision, cpu_devices=1)

    def setup(self) -> None:
        """Place the data, compile, and train for a few updates."""
        import jax

        x, y = self.work.data()
        self.x, self.y = jax.numpy.asarray(x), jax.numpy.asarray(y)

        def one(params: Any, momenta: Any, rows: Any) -> Any:
            gradient = jax.grad(_loss)(params, self.x[rows], self.y[rows])
            momenta = jax.tree.map(lambda m, g: MOMENTUM * m + g, momenta, gradient)
            return jax.tree.map(lambda p, m: p - STEP_SIZE * m, params, momenta), momenta

        self.update = jax.jit(jax.vmap(one), donate_argnums=(0, 1))
        self.losses = jax.jit(jax.vmap(_loss, (0, None, None)))
        self.run(WARM_UP)

    def run(self, updates: int) -> None:
        """Train all networks in step."""
        import jax

        work, generator = self.work, np.random.default_rng(1)
        shapes, given = [], COLOURS
        for stage in range(4):
            shapes.append((3, 3, given, work.width * 2**stage))
            given = work.width * 2**stage
        shapes.append((given, CLASSES))
        params = []
        for shape in shapes:
            spread = (2 / np.prod(shape[:-1])) ** 0.5
            drawn = spread * generator.standard_normal((work.lanes, *shape), dtype=np.float32)
            weight = jax.numpy.asarray(drawn, np.float32)
            params.append((weight, jax.numpy.zeros((work.lanes, shape[-1]), np.float32)))
        momenta = jax.tree.map(jax.numpy.zeros_like, params)
        done = 0
        while done < updates:
            orders = np.stack([generator.permutation(work.examples) for _ in range(work.lanes)])
            starts = range(0, work.examples - work.batch + 1, work.batch)
            for start in list(starts)[: updates - done]:
                rows = orders[:, start : start + work.batch]
                params, momenta = self.update(params, momenta, rows)
                done += 1
        self.params = jax.block_until_ready(params)

    def result(self) -> dict[str, float]:
        """Return the mean loss over the networks."""
        losses = self.losses(self.params, self.x[:JUDGED], self.y[:JUDGED])
        return {"loss": float(losses.mean())}

    def device_memory(self) -> int | None:
        """Return JAX's peak allocation on the accelerator."""
        return jax_device_memory()


def _loss(params: Any, x: Any, y: Any) -> Any:
    """Return the mean cross-entropy of the small network."""
    import jax

    hidden = x
    for (weight, bias), pool in zip(params[:-1], (1, 2, 2, 8), strict=True):
        hidden = jax.lax.conv_general_dilated(
            hidden, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        hidden = jax.nn.relu(hidden + bias)
        window = (1, pool, pool, 1)
        hidden = jax.lax.reduce_window(hidden, -np.inf, jax.lax.max, window, window, "VALID")
    weight, bias = params[-1]
    scores = jax.nn.log_softmax(hidden.reshape(hidden.shape[0], -1) @ weight + bias)
    return -jax.numpy.mean(jax.numpy.take_along_axis(scores, y[:, None], axis=1))
