"""Convolutional networks trained by PyTorch, one after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.conv_work import COLOURS, JUDGED, WARM_UP, Convs
from benchmarks.libraries import set_up_torch, torch_device, torch_device_memory
from benchmarks.timing import Absent
from benchmarks.work import CLASSES, MOMENTUM, STEP_SIZE


@dataclass
class ConvTorchRunner:
    """PyTorch as most people write it.

    Attributes:
        work: What is trained.
        channels_last: Whether images are stored with their channels last.
        fast: Whether to train in bfloat16 through ``torch.compile``, as on accelerators.
        notes: Remarks for the table.
    """

    work: Convs
    channels_last: bool = False
    fast: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_torch(self.work.precision)
        if self.fast and torch_device() == "cpu":
            raise Absent("only on an accelerator")

    def setup(self) -> None:
        """Place the data and train for a few updates."""
        import torch

        self.device = torch_device()
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        x, y = self.work.data()
        images = torch.from_numpy(x).permute(0, 3, 1, 2).to(self.device)
        self.x = images.contiguous(memory_format=order)
        self.y = torch.from_numpy(y).long().to(self.device)
        self.order = order
        self.notes.append(f"on {self.device}")
        self.run(WARM_UP)

    def run(self, updates: int) -> None:
        """Train the networks one after another."""
        import torch

        self.networks = [self._train(updates) for _ in range(self.work.lanes)]
        if self.device == "cuda":
            torch.cuda.synchronize()

    def result(self) -> dict[str, float]:
        """Return the mean loss over the networks."""
        import torch

        loss = torch.nn.CrossEntropyLoss()
        with torch.no_grad():
            losses = [
                float(loss(network.eval()(self.x[:JUDGED]), self.y[:JUDGED]))
                for network in self.networks
            ]
        return {"loss": float(np.mean(losses))}

    def device_memory(self) -> int | None:
        """Return PyTorch's peak allocation on the accelerator."""
        return torch_device_memory()

    def _train(self, updates: int) -> Any:
        import torch

        work, device = self.work, self.device
        network: Any = _NETWORKS[work.network](work.width).to(device, memory_format=self.order)
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    torch.nn.init.zeros_(layer.bias)
        optimizer = torch.optim.SGD(
            network.parameters(), lr=STEP_SIZE, momentum=MOMENTUM, fused=True
        )
        loss = torch.nn.CrossEntropyLoss()
        forward = torch.compile(network) if self.fast else network
        done = 0
        while done < updates:
            permutation = torch.randperm(work.examples, device=device)
            for rows in permutation.split(work.batch)[: updates - done]:
                optimizer.zero_grad()
                x = self.x[rows].contiguous(memory_format=self.order)
                with torch.autocast(device, torch.bfloat16, enabled=self.fast):
                    value = loss(forward(x), self.y[rows])
                value.backward()
                optimizer.step()
                done += 1
        return network


def _cnn5(width: int) -> Any:
    import torch

    parts: list[Any] = []
    given = COLOURS
    for stage, pool in enumerate((1, 2, 2, 8)):
        channels = width * 2**stage
        parts += [torch.nn.Conv2d(given, channels, 3, padding=1), torch.nn.ReLU()]
        parts += [torch.nn.MaxPool2d(pool)] if pool > 1 else []
        given = channels
    return torch.nn.Sequential(*parts, torch.nn.Flatten(), torch.nn.Linear(given, CLASSES))


def _resnet18(width: int) -> Any:
    import torch

    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, given: int, channels: int, stride: int) -> None:
            super().__init__()
            self.branch = nn.Sequential(
                nn.Conv2d(given, channels, 3, stride, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
                nn.BatchNorm2d(channels),
            )
            changes = stride > 1 or given != channels
            projection = (
                nn.Conv2d(given, channels, 1, stride, bias=False),
                nn.BatchNorm2d(channels),
            )
            self.shortcut = nn.Sequential(*projection) if changes else nn.Identity()

        def forward(self, x: Any) -> Any:
            return torch.relu(self.branch(x) + self.shortcut(x))

    parts: list[Any] = [
        nn.Conv2d(COLOURS, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    ]  # fmt: skip
    given = width
    for stage in range(4):
        for block in range(2):
            channels = width * 2**stage
            parts.append(Block(given, channels, 2 if stage and not block else 1))
            given = channels
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(given, CLASSES))


_NETWORKS = {"cnn5": _cnn5, "resnet18": _resnet18}
