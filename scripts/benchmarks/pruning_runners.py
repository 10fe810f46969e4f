"""Masked networks trained by this package, in one batch of lanes or lane by lane, and by PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.libraries import (
    jax_device_memory,
    set_up_jax,
    set_up_torch,
    torch_device,
    torch_device_memory,
)
from benchmarks.work import CLASSES, FEATURES, WARM_UP_UPDATES, Precision

STEP_SIZE = 1.2e-3
"""Adam's, of the published protocol for LeNet-300-100; its other numbers are the usual ones."""

BETAS, EPS = (0.9, 0.999), 1e-8

ARMS = (1.0, 0.512, 0.21, 0.135, 0.1, 0.036)
"""Part of the weights that an arm's masks keep, in each layer. No runner is faster for a zero."""


@dataclass(frozen=True)
class Tickets:
    """What every runner trains: masked dense ReLU networks with biases, He-normal initial weights.

    The loss is the softmax cross-entropy, the optimiser Adam; batches are drawn without replacement, in a new
    order each epoch. Inputs have the shape of MNIST, and are drawn. The masks are the same for all runners.

    Attributes:
        seeds: Networks of each arm.
        arms: What part of its weights each arm keeps.
        hidden: Hidden units.
        batch: Examples in an update.
        examples: Examples in the training set.
        lanes: Which of the networks, first and one beyond the last; None for all.
        precision: Of float32 matrix products on an accelerator.
    """

    seeds: int = 5
    arms: tuple[float, ...] = ARMS
    hidden: tuple[int, ...] = (300, 100)
    batch: int = 60
    examples: int = 10_000
    lanes: tuple[int, int] | None = None
    precision: Precision = "float32"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs (examples, 784) float32 and labels (examples,) int32."""
        generator = np.random.default_rng(0)
        x = generator.standard_normal((self.examples, FEATURES), dtype=np.float32)
        return x, generator.integers(0, CLASSES, self.examples, dtype=np.int32)

    def shapes(self) -> list[tuple[int, int]]:
        """Return the weights' shapes, (outputs, inputs)."""
        widths = (FEATURES, *self.hidden, CLASSES)
        return [(widths[i + 1], widths[i]) for i in range(len(widths) - 1)]

    def masks(self) -> list[list[np.ndarray]]:
        """Return 0/1 arrays for each layer of each network: seed by seed, arm by arm."""
        found = []
        for seed in range(self.seeds):
            generator = np.random.default_rng(seed)
            for arm in self.arms:
                layers = []
                for shape in self.shapes():
                    size = shape[0] * shape[1]
                    kept = np.arange(size) < round(arm * size)
                    layers.append(generator.permutation(kept).reshape(shape).astype(np.uint8))
                found.append(layers)
        return found[slice(*self.lanes)] if self.lanes else found

    def true_flops(self) -> float:
        """Operations of one update of all networks as dense ones, without the first input's gradient."""
        sizes = [outputs * inputs for outputs, inputs in self.shapes()]
        count = len(range(*self.lanes)) if self.lanes else self.seeds * len(self.arms)
        return count * self.batch * (6.0 * sum(sizes) - 2.0 * sizes[0])


@dataclass
class TicketRunner:
    """``implicit_bias.training``: all networks as one batch of lanes, or one lane after another.

    Attributes:
        tickets: What is trained.
        at_once: Whether all lanes are one plan.
        cpu_devices: Devices the CPU is split into; one for lane after lane, whose matrix products then have
            all cores.
        notes: Remarks for the table.
    """

    tickets: Tickets
    at_once: bool = True
    cpu_devices: int | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_jax(self.tickets.precision, cpu_devices=self.cpu_devices)

    def setup(self) -> None:
        """Place the data, compile, and train for a few updates."""
        import jax

        from implicit_bias import losses, optimizers
        from implicit_bias.data import Dataset
        from implicit_bias.models import Dense
        from implicit_bias.training import Recipe
        from implicit_bias.training.slots import make_pool

        tickets = self.tickets
        x, y = tickets.data()
        self.dataset = Dataset("random", "classification", CLASSES, x, y, x[:1], y[:1])
        self.recipe = Recipe(
            model=Dense(tickets.hidden, CLASSES),
            loss=losses.get("cross_entropy"),
            optimizer=optimizers.get("adam"),
            schedule=optimizers.Schedule(),
            batch_size=tickets.batch,
            n_train=tickets.examples,
            masked=True,
        )
        self.programs: dict[int, list[Any]] = {}
        layout = self._programs(WARM_UP_UPDATES)[0].layout
        self.notes.append(
            f"on {layout.devices} {jax.default_backend()} device(s), strategy {layout.strategy}"
        )
        self.pool = make_pool(self.dataset, self.recipe.dtype, layout.devices)
        self.run(WARM_UP_UPDATES)

    def run(self, updates: int) -> None:
        """Train all networks; their final weights are on the host when this returns."""
        from implicit_bias.training import train_chunk

        self.trained = [
            train_chunk(program, chunk, self.dataset, pool=self.pool)
            for program in self._programs(updates)
            for chunk in program.chunks
        ]

    def result(self) -> dict[str, float]:
        """Return the mean training loss, and the largest weight that a mask should hold at zero."""
        layers = [
            [part.params[f"layer_{i}"] for i in range(len(self.tickets.shapes()))]
            for part in self.trained
        ]
        networks = [
            [(np.asarray(layer["weight"][lane]), np.asarray(layer["bias"][lane])) for layer in part]
            for part in layers
            for lane in range(len(part[0]["bias"]))
        ]
        return judged(self.tickets, networks)

    def device_memory(self) -> int | None:
        """Return JAX's peak allocation on the accelerator."""
        return jax_device_memory()

    def _programs(self, updates: int) -> list[Any]:
        """Plan runs of this many updates; planned once, as it is no part of training."""
        if updates not in self.programs:
            from implicit_bias.training import Budget, Lane, make_plan

            lanes = [
                Lane(
                    self.recipe, number, {"step_size": STEP_SIZE}, Budget(updates), mask=_tree(mask)
                )
                for number, mask in enumerate(self.tickets.masks())
            ]
            groups = [lanes] if self.at_once else [[lane] for lane in lanes]
            self.programs[updates] = [
                program for group in groups for program in make_plan(group, self.dataset).programs
            ]
        return self.programs[updates]


@dataclass
class MaskedPyTorchRunner:
    """PyTorch as most people write it: one network after another, masks applied after each step.

    Attributes:
        tickets: What is trained.
        threads: Threads PyTorch may use; by default its own choice, all cores.
        notes: Remarks for the table.
    """

    tickets: Tickets
    threads: int | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_torch(self.tickets.precision, self.threads)

    def setup(self) -> None:
        """Place the data and train for a few updates."""
        import torch

        self.device = torch_device()
        x, y = self.tickets.data()
        self.x = torch.from_numpy(x).to(self.device)
        self.y = torch.from_numpy(y).long().to(self.device)
        self.masks = [
            [torch.from_numpy(layer).to(self.device, torch.float32) for layer in mask]
            for mask in self.tickets.masks()
        ]
        self.fused = True
        try:
            self._train(self.masks[0], 1)
        except (RuntimeError, TypeError, ValueError):
            self.fused = False
        self.notes.append(f"on {self.device}")
        self.notes.append(
            "fused Adam" if self.fused else "Adam without fusion (not available here)"
        )
        self.run(WARM_UP_UPDATES)

    def run(self, updates: int) -> None:
        """Train the networks one after another."""
        import torch

        self.networks = [self._train(mask, updates) for mask in self.masks]
        if self.device == "cuda":
            torch.cuda.synchronize()

    def result(self) -> dict[str, float]:
        """Return the mean training loss, and the largest weight that a mask should hold at zero."""
        networks = [
            [
                (layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy())
                for layer in network[::2]
            ]
            for network in self.networks
        ]
        return judged(self.tickets, networks)

    def device_memory(self) -> int | None:
        """Return PyTorch's peak allocation on the accelerator."""
        return torch_device_memory()

    def _train(self, masks: list[Any], updates: int) -> Any:
        import torch

        tickets, device = self.tickets, self.device
        parts: list[Any] = []
        for outputs, inputs in tickets.shapes():
            parts += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        network: Any = torch.nn.Sequential(*parts[:-1]).to(device)
        weights = [layer.weight for layer in network[::2]]
        with torch.no_grad():
            for layer, mask in zip(network[::2], masks, strict=True):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                torch.nn.init.zeros_(layer.bias)
                layer.weight.mul_(mask)
        optimizer = torch.optim.Adam(
            network.parameters(), lr=STEP_SIZE, betas=BETAS, eps=EPS, fused=self.fused or None
        )
        loss = torch.nn.CrossEntropyLoss()
        done = 0
        while done < updates:
            order = torch.randperm(tickets.examples, device=device)
            for rows in order.split(tickets.batch)[: updates - done]:
                optimizer.zero_grad()
                loss(network(self.x[rows]), self.y[rows]).backward()
                optimizer.step()
                with torch.no_grad():
                    for weight, mask in zip(weights, masks, strict=True):
                        weight.mul_(mask)
                done += 1
        return network


def judged(
    tickets: Tickets, networks: list[list[tuple[np.ndarray, np.ndarray]]]
) -> dict[str, float]:
    """Judge trained networks in NumPy, the same way for all runners.

    Args:
        tickets: What was trained.
        networks: Weights and biases by layer, of every network.

    Returns:
        Mean training loss, and the largest magnitude of a pruned weight.
    """
    x, y = tickets.data()
    losses, alive = [], 0.0
    for layers, masks in zip(networks, tickets.masks(), strict=True):
        hidden = x
        for index, (weight, bias) in enumerate(layers):
            alive = max(alive, float(np.max(np.abs(weight) * (1 - masks[index]))))
            hidden = hidden @ weight.T + bias
            if index < len(layers) - 1:
                hidden = np.maximum(hidden, 0)
        top = hidden.max(axis=1)
        normaliser = top + np.log(np.exp(hidden - top[:, None]).sum(axis=1))
        losses.append(float(np.mean(normaliser - hidden[np.arange(len(y)), y])))
    return {"loss": float(np.mean(losses)), "alive": alive}


def _tree(mask: list[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return a mask as a tree like the parameters."""
    make: Callable[[int], np.ndarray] = lambda outputs: np.ones(outputs, np.uint8)  # noqa: E731
    return {
        f"layer_{index}": {"weight": layer, "bias": make(layer.shape[0])}
        for index, layer in enumerate(mask)
    }
