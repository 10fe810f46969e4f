"""The ways of training many small networks that are compared, and matrix products for scale.

All of them train the same thing: ``lanes`` networks of one hidden ReLU layer with biases, He-normal
initial weights, softmax cross-entropy, SGD with momentum 0.9, batches without replacement in a
fresh random order each epoch, the last one of an epoch smaller, float32. A run starts from new
initial weights and ends when all lanes have had their updates. Libraries are imported when a runner
is made, so that a set-up's time has no import in it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from benchmarks.timing import Absent, Runner

FEATURES, CLASSES = 784, 10
STEP_SIZE, MOMENTUM = 0.01, 0.9
WARM_UP_UPDATES = 5
Precision = Literal["float32", "tensorfloat32"]


@dataclass(frozen=True)
class Work:
    """What one runner trains.

    Attributes:
        lanes: Networks.
        hidden: Hidden units H of each 784-H-10 network.
        batch: Examples B in an update.
        examples: Examples in the training set.
        precision: Of float32 matrix products on an accelerator.
    """

    lanes: int
    hidden: int
    batch: int
    examples: int = 10_000
    precision: Precision = "float32"

    def nominal_flops(self) -> float:
        """Operations of one update of all lanes, 6 for each weight and example.

        That is 2 (multiply and add) for the forward pass, for the gradient of the weights and for
        the gradient of the layer's input.
        """
        return 6.0 * self.lanes * self.batch * self.hidden * (FEATURES + CLASSES)

    def true_flops(self) -> float:
        """The same without the gradient of the first layer's input, which nobody needs."""
        return self.nominal_flops() - 2.0 * self.lanes * self.batch * self.hidden * FEATURES

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return random inputs (examples, 784) float32 and labels (examples,) int32."""
        generator = np.random.default_rng(0)
        x = generator.standard_normal((self.examples, FEATURES), dtype=np.float32)
        return x, generator.integers(0, CLASSES, self.examples, dtype=np.int32)


@dataclass
class PyTorchRunner:
    """PyTorch as most people write it: one network after another.

    Attributes:
        work: What is trained.
        threads: Threads PyTorch may use; by default its own choice, all cores.
        notes: Remarks for the table.
    """

    work: Work
    threads: int | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _torch(self.work, self.threads)

    def setup(self) -> None:
        """Place the data and train for a few updates."""
        import torch

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        x, y = self.work.data()
        self.x = torch.from_numpy(x).to(self.device)
        self.y = torch.from_numpy(y).long().to(self.device)
        self.fused = True
        try:
            self._train(1)
        except (RuntimeError, TypeError, ValueError):
            self.fused = False
        self.notes.append(f"on {self.device}")
        self.notes.append("fused SGD" if self.fused else "SGD without fusion (not available here)")
        self.run(WARM_UP_UPDATES)

    def run(self, updates: int) -> None:
        """Train the lanes one after another."""
        import torch

        self.networks = [self._train(updates) for _ in range(self.work.lanes)]
        if self.device == "cuda":
            torch.cuda.synchronize()

    def result(self) -> dict[str, float]:
        """Return the mean training loss over the lanes."""
        import torch

        loss = torch.nn.CrossEntropyLoss()
        with torch.no_grad():
            losses = [float(loss(network(self.x), self.y)) for network in self.networks]
        return {"loss": float(np.mean(losses))}

    def device_memory(self) -> int | None:
        """Return PyTorch's peak allocation on the accelerator."""
        return _torch_device_memory()

    def _train(self, updates: int) -> Any:
        import torch

        work, device = self.work, self.device
        network: Any = torch.nn.Sequential(
            torch.nn.Linear(FEATURES, work.hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(work.hidden, CLASSES),
        ).to(device)
        for layer in (network[0], network[2]):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            torch.nn.init.zeros_(layer.bias)
        optimizer = torch.optim.SGD(
            network.parameters(), lr=STEP_SIZE, momentum=MOMENTUM, fused=self.fused or None
        )
        loss = torch.nn.CrossEntropyLoss()
        done = 0
        while done < updates:
            order = torch.randperm(work.examples, device=device)
            for rows in order.split(work.batch)[: updates - done]:
                optimizer.zero_grad()
                loss(network(self.x[rows]), self.y[rows]).backward()
                optimizer.step()
                done += 1
        return network


@dataclass
class TorchFuncRunner:
    """PyTorch with all lanes in one batched computation: ``functional_call``, ``grad``, ``vmap``.

    Attributes:
        work: What is trained.
        notes: Remarks for the table.
    """

    work: Work
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _torch(self.work, None)

    def setup(self) -> None:
        """Place the data and train for a few updates."""
        import torch
        from torch.func import functional_call, grad, vmap

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        x, y = self.work.data()
        self.x = torch.from_numpy(x).to(self.device)
        self.y = torch.from_numpy(y).long().to(self.device)
        network: Any = torch.nn.Sequential(
            torch.nn.Linear(FEATURES, self.work.hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(self.work.hidden, CLASSES),
        ).to(self.device)

        def loss(params: Any, x: Any, y: Any) -> Any:
            return torch.nn.functional.cross_entropy(functional_call(network, params, (x,)), y)

        self.gradient = vmap(grad(loss))
        self.losses = vmap(loss, in_dims=(0, None, None))
        self.notes.append(f"on {self.device}")
        self.shapes = {name: value.shape for name, value in network.named_parameters()}
        self.run(WARM_UP_UPDATES)

    def run(self, updates: int) -> None:
        """Train all lanes in step."""
        import torch

        work, device = self.work, self.device
        params = {
            name: torch.randn(work.lanes, *shape, device=device) * (2 / shape[-1]) ** 0.5
            if len(shape) == 2
            else torch.zeros(work.lanes, *shape, device=device)
            for name, shape in self.shapes.items()
        }
        momenta = {name: torch.zeros_like(value) for name, value in params.items()}
        done = 0
        while done < updates:
            orders = torch.stack(
                [torch.randperm(work.examples, device=device) for _ in range(work.lanes)]
            )
            for rows in orders.split(work.batch, dim=1)[: updates - done]:
                gradient = self.gradient(params, self.x[rows], self.y[rows])
                for name, value in params.items():
                    momenta[name].mul_(MOMENTUM).add_(gradient[name])
                    value.add_(momenta[name], alpha=-STEP_SIZE)
                done += 1
        self.params = params
        if device == "cuda":
            torch.cuda.synchronize()

    def result(self) -> dict[str, float]:
        """Return the mean training loss over the lanes."""
        import torch

        with torch.no_grad():
            return {"loss": float(self.losses(self.params, self.x, self.y).mean())}

    def device_memory(self) -> int | None:
        """Return PyTorch's peak allocation on the accelerator."""
        return _torch_device_memory()


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
        _jax(self.work)
        import implicit_bias.data
        import implicit_bias.models
        import implicit_bias.training  # noqa: F401

    def setup(self) -> None:
        """Place the data, compile, and train for a few updates."""
        import jax

        from implicit_bias import losses, optimizers
        from implicit_bias.data import Dataset
        from implicit_bias.models import Dense
        from implicit_bias.optimizers import schedules
        from implicit_bias.training import Recipe
        from implicit_bias.training.slots import make_pool

        work = self.work
        x, y = work.data()
        self.dataset = Dataset("random", "classification", CLASSES, x, y, x[:1], y[:1])
        self.recipe = Recipe(
            model=Dense(widths=(work.hidden,), outputs=CLASSES),
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
        import jax

        x, y = jax.numpy.asarray(self.dataset.x_train), jax.numpy.asarray(self.dataset.y_train)

        @jax.jit
        def loss(params: Any, state: Any) -> Any:
            outputs, _ = self.recipe.model.apply(params, state, x, train=False)
            return self.recipe.loss.mean(outputs, y)

        values = [
            float(loss(*jax.tree.map(lambda leaf, lane=lane: leaf[lane], weights)))
            for weights in ((part.params, part.model_state) for part in self.trained)
            for lane in range(len(jax.tree.leaves(weights)[0]))
        ]
        return {"loss": float(np.mean(values)), "xla_flops": self.work.lanes * self._xla_flops()}

    def device_memory(self) -> int | None:
        """Return JAX's peak allocation on the accelerator."""
        import jax

        if jax.default_backend() == "cpu":
            return None
        return int((jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0))

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


@dataclass
class MatrixProductRunner:
    """Square float32 matrix products on all cores, the ceiling of every other number.

    Attributes:
        library: ``"torch"`` (``torch.mm``) or ``"jax"`` (``jnp.dot`` on one device with all cores).
        sizes: Sides of the squares; the best counts.
        work: Gives the precision.
        notes: Unused.
    """

    library: Literal["torch", "jax"]
    sizes: tuple[int, ...]
    work: Work
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.library == "torch":
            _torch(self.work, None)
        else:
            _jax(self.work, cpu_devices=1)

    def setup(self) -> None:
        """Make the matrices and run each product once."""
        generator = np.random.default_rng(0)
        squares = {
            size: generator.standard_normal((size, size), dtype=np.float32) for size in self.sizes
        }
        if self.library == "torch":
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
            self.squares: dict[int, Any] = {
                k: torch.from_numpy(v).to(device) for k, v in squares.items()
            }
            self.multiply, self.wait = torch.mm, lambda _: None
            if device == "cuda":
                self.wait = lambda _: torch.cuda.synchronize()
        else:
            import jax

            self.squares = {k: jax.numpy.asarray(v) for k, v in squares.items()}
            self.multiply, self.wait = jax.jit(jax.numpy.dot), jax.block_until_ready
        self.best: dict[int, float] = dict.fromkeys(self.sizes, 0.0)
        self.run(1)

    def run(self, updates: int) -> None:
        """Time products of each size for ``updates`` × 10¹⁰ operations, in five pieces."""
        import time

        for size, square in self.squares.items():
            count = max(1, int(updates * 1e10 / (2 * size**3) / 5))
            for _ in range(5):
                began = time.perf_counter()
                for _ in range(count):
                    product = self.multiply(square, square)
                self.wait(product)
                seconds = time.perf_counter() - began
                self.best[size] = max(self.best[size], 2e-9 * size**3 * count / seconds)

    def result(self) -> dict[str, float]:
        """Return the best GFLOP/s of each size so far."""
        return {str(size): speed for size, speed in self.best.items()}

    def device_memory(self) -> int | None:
        """Return None: of no interest here."""
        return None


def halves(work: Work) -> tuple[Work, ...]:
    """Cut the lanes in two parts, as equal as can be; one part when there is one lane."""
    first = work.lanes // 2
    return tuple(replace(work, lanes=n) for n in (work.lanes - first, first) if n)


def _torch(work: Work, threads: int | None) -> None:
    """Import PyTorch and set it up, or say why not."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        import torch
        import torch.func
    except ImportError:
        raise Absent(
            "PyTorch is not installed; install it with: pip install 'implicit-bias[peers]'"
        ) from None
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("highest" if work.precision == "float32" else "high")


def _torch_device_memory() -> int | None:
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def _jax(work: Work, cpu_devices: int | None = None) -> None:
    """Import JAX and set it up."""
    # Several processes share an accelerator here: take memory as needed, not all at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    from implicit_bias import runtime

    runtime.configure(cpu_devices=cpu_devices)
    if jax.default_backend() != "cpu":
        jax.config.update("jax_default_matmul_precision", work.precision)


__all__ = [
    "EngineRunner",
    "MatrixProductRunner",
    "PyTorchRunner",
    "Runner",
    "TorchFuncRunner",
    "Work",
    "halves",
]
