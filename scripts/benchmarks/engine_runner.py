"""This package's engine as a runner of its own benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.libraries import jax_device_memory, set_up_jax
from benchmarks.work import CLASSES, MOMENTUM, STEP_SIZE, WARM_UP_UPDATES, Work


@dataclass
class EngineRunner:
    """``implicit_bias.training``, with the layout its plan chooses for this machine.

    Attributes:
        work: What is trained.
        notes: Remarks for the table.
    """

    work: Work
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_jax(self.work.precision)

    def setup(self) -> None:
        """Place the data, compile, and train for a few updates."""
        import jax

        from implicit_bias import losses, optimizers
        from implicit_bias.data import Dataset
        from implicit_bias.optimizers import schedules
        from implicit_bias.training import Recipe
        from implicit_bias.training.slots import make_pool

        work = self.work
        x, y = work.data()
        self.dataset = Dataset("random", "classification", CLASSES, x, y, x[:1], y[:1])
        self.recipe = Recipe(
            model=self._model(),
            loss=losses.get("cross_entropy"),
            optimizer=optimizers.get("heavy_ball"),
            schedule=schedules.get("constant"),
            batch_size=work.batch,
            n_train=work.examples,
        )
        self.programs: dict[int, Any] = {}
        layout = self._program(WARM_UP_UPDATES).layout
        self.notes.append(
            f"on {layout.devices} {jax.default_backend()} device(s), strategy {layout.strategy}"
            + (f", tile {layout.tile}" if layout.strategy == "vmap" else "")
        )
        self.pool = make_pool(self.dataset, self.recipe.dtype, layout.devices)
        self.run(WARM_UP_UPDATES)

    def run(self, updates: int) -> None:
        """Train all lanes; the final weights are on the host when this returns."""
        from implicit_bias.training import train_chunk

        program = self._program(updates)
        self.trained = [
            train_chunk(program, chunk, self.dataset, pool=self.pool) for chunk in program.chunks
        ]

    def result(self) -> dict[str, float]:
        """Return the mean training loss over the lanes, and XLA's count of operations.

        ``xla_flops`` are those of one update of all lanes, every element-wise operation included.
        """
        loss = self._mean_loss(self.work.examples)
        return {"loss": loss, "xla_flops": self.work.lanes * self._xla_flops()}

    def _model(self) -> Any:
        from implicit_bias.models import Dense

        return Dense(widths=(self.work.hidden,), outputs=CLASSES)

    def _mean_loss(self, examples: int) -> float:
        """Return the loss on the first training examples, averaged over the lanes."""
        import jax

        arrays = (self.dataset.x_train, self.dataset.y_train)
        x, y = (jax.numpy.asarray(array[:examples]) for array in arrays)

        @jax.jit
        def loss(params: Any, state: Any) -> Any:
            outputs, _ = self.recipe.model.apply(params, state, x, train=False)
            return self.recipe.loss.mean(outputs, y)

        values = [
            float(loss(*jax.tree.map(lambda leaf, lane=lane: leaf[lane], weights)))
            for weights in ((part.params, part.model_state) for part in self.trained)
            for lane in range(len(jax.tree.leaves(weights)[0]))
        ]
        return float(np.mean(values))

    def device_memory(self) -> int | None:
        """Return JAX's peak allocation on the accelerator."""
        return jax_device_memory()

    def _program(self, updates: int) -> Any:
        """Plan runs of this many updates; planned once, as it is no part of training."""
        if updates in self.programs:
            return self.programs[updates]
        from implicit_bias.training import Budget, Lane, make_plan

        settings = {"step_size": STEP_SIZE, "momentum": MOMENTUM}
        lanes = [
            Lane(self.recipe, seed, settings, Budget(updates)) for seed in range(self.work.lanes)
        ]
        (self.programs[updates],) = make_plan(lanes, self.dataset).programs
        return self.programs[updates]

    def _xla_flops(self) -> float:
        """Compile a single update of a single lane and ask XLA how many operations it has."""
        import jax
        import jax.numpy as jnp
        import optax

        from implicit_bias.training import LaneExamples, LaneInputs, Pool
        from implicit_bias.training.lane import batch_gradient, initial_state

        recipe, dataset = self.recipe, self.dataset
        arrays = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
        pool = Pool(*map(jnp.asarray, arrays))
        settings = {name: jnp.float32(value) for name, value in recipe.setting_defaults().items()}
        inputs = LaneInputs(jnp.uint32(0), settings)
        order = jnp.arange(self.work.examples, dtype=jnp.int32)
        examples = LaneExamples(order, order[:0], jnp.asarray(dataset.y_train))
        state = jax.eval_shape(lambda: initial_state(recipe, pool.x_train[0], inputs))

        def update(pool: Any, examples: Any, state: Any, rows: Any, weights: Any) -> Any:
            transform = recipe.optimizer.build(recipe.schedule, inputs.settings)
            _, _, gradient = batch_gradient(
                recipe, pool, inputs, examples, state, jnp.int32(0), rows, weights
            )
            updates, optimizer_state = transform.update(
                gradient, state.optimizer_state, state.params
            )
            return optax.apply_updates(state.params, updates), optimizer_state

        rows = order[: self.work.batch]
        weights = jnp.full(rows.shape, 1 / self.work.batch, jnp.float32)
        compiled = jax.jit(update).lower(pool, examples, state, rows, weights).compile()
        cost: Any = compiled.cost_analysis()
        return float(cost["flops"])
