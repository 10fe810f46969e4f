"""PyTorch as a runner of the engine's benchmark: one network after another, and all in one batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.libraries import set_up_torch, torch_device, torch_device_memory
from benchmarks.work import CLASSES, FEATURES, MOMENTUM, STEP_SIZE, WARM_UP_UPDATES, Work


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
        set_up_torch(self.work.precision, self.threads)

    def setup(self) -> None:
        """Place the data and train for a few updates."""
        import torch

        self.device = torch_device()
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
        return torch_device_memory()

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
        set_up_torch(self.work.precision)

    def setup(self) -> None:
        """Place the data and train for a few updates."""
        import torch
        from torch.func import functional_call, grad, vmap

        self.device = torch_device()
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
        return torch_device_memory()
