"""ResNet for 32 × 32 images as people write it in PyTorch, and our weights in it.

The networks of ``implicit_bias.models.resnet`` with batch normalisation: what those are compared with,
number by number and in speed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

STAGES = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def torch_resnet(
    depth: int = 18,
    width: int = 64,
    outputs: int = 10,
    channels: int = 3,
    *,
    channels_last: bool = False,
) -> Any:
    """Build the network, with PyTorch's own initial weights.

    Args:
        depth: 10, 18, 34 or 50.
        width: Channels of the first stage.
        outputs: Number of outputs.
        channels: Channels of the images.
        channels_last: Whether weights are laid out with channels last, which is faster on many
            machines; inputs are then to be laid out so too (``images``).

    Returns:
        A ``torch.nn.Module`` from (batch, channels, height, width) to (batch, outputs).
    """
    import torch
    from torch import nn

    wider = 4 if depth == 50 else 1

    def conv(given: int, made: int, size: int, stride: int = 1) -> nn.Module:
        return nn.Conv2d(given, made, size, stride, padding=size // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, given: int, inner: int, stride: int) -> None:
            super().__init__()
            made = wider * inner
            if wider == 1:
                self.convs = nn.ModuleList([conv(given, inner, 3, stride), conv(inner, made, 3)])
            else:
                middle = conv(inner, inner, 3, stride)
                self.convs = nn.ModuleList([conv(given, inner, 1), middle, conv(inner, made, 1)])
            self.norms = nn.ModuleList([nn.BatchNorm2d(each.out_channels) for each in self.convs])
            self.shortcut = nn.Identity()
            if stride > 1 or given != made:
                self.shortcut = nn.Sequential(conv(given, made, 1, stride), nn.BatchNorm2d(made))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = x
            for place, (convolve, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
                hidden = norm(convolve(torch.relu(hidden) if place else hidden))
            return torch.relu(hidden + self.shortcut(x))

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = conv(channels, width, 3), nn.BatchNorm2d(width)
            blocks: list[nn.Module] = []
            given = width
            for stage, number in enumerate(STAGES[depth]):
                for block in range(number):
                    stride = 2 if stage and not block else 1
                    blocks.append(Block(given, width * 2**stage, stride))
                    given = wider * width * 2**stage
            self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(given, outputs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.blocks(torch.relu(self.norm(self.conv(x))))
            return self.head(hidden.mean(dim=(2, 3)))

    network: Any = ResNet()
    return network.to(memory_format=torch.channels_last) if channels_last else network


def images(x: np.ndarray, *, channels_last: bool = False) -> Any:
    """Return images (batch, height, width, channels) as a tensor (batch, channels, height, width)."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(np.asarray(x).transpose(0, 3, 1, 2)))
    return tensor.contiguous(memory_format=torch.channels_last) if channels_last else tensor


def load(network: Any, params: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Give a network the weights and running statistics of ours.

    Args:
        network: As ``torch_resnet`` makes it.
        params: Parameters of ``implicit_bias.models.resnet`` with the same depth and width.
        state: Its state.
    """
    import torch

    def put(tensor: Any, array: Any) -> None:
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.array(array)))

    for name, module in _layers(network):
        if name.startswith("norm"):
            put(module.weight, params[name]["scale"])
            put(module.bias, params[name]["bias"])
            put(module.running_mean, state[name]["mean"])
            put(module.running_var, state[name]["variance"])
        else:
            put(module.weight, _their_weight(np.asarray(params[name]["weight"]), module))
            if module.bias is not None:
                put(module.bias, params[name]["bias"])


def gradients(network: Any) -> dict[str, dict[str, np.ndarray]]:
    """Return a network's gradients in the form of our parameters."""
    found = {}
    for name, module in _layers(network):
        weight = module.weight.grad.numpy()
        if name.startswith("norm"):
            found[name] = {"scale": weight, "bias": module.bias.grad.numpy()}
            continue
        found[name] = {"weight": _our_weight(weight)}
        if module.bias is not None:
            found[name]["bias"] = module.bias.grad.numpy()
    return found


def statistics(network: Any) -> dict[str, dict[str, np.ndarray]]:
    """Return a network's running statistics in the form of our state."""
    return {
        name: {"mean": module.running_mean.numpy(), "variance": module.running_var.numpy()}
        for name, module in _layers(network)
        if name.startswith("norm")
    }


def _layers(network: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the layers that learn, with the names that ours have."""
    convs, norms = [network.conv], [network.norm]
    for block in network.blocks:
        convs += list(block.convs)
        norms += list(block.norms)
        if len(list(block.shortcut.children())):
            convs.append(block.shortcut[0])
            norms.append(block.shortcut[1])
    for index, module in enumerate([*convs, network.head]):
        yield f"layer_{index}", module
    for index, module in enumerate(norms):
        yield f"norm_{index}", module


def _their_weight(weight: np.ndarray, module: Any) -> np.ndarray:
    """Turn (channels, size · size · given), or an affine layer's weight, into PyTorch's."""
    shape = tuple(module.weight.shape)
    if len(shape) == 2:
        return weight
    made, given, rows, columns = shape
    return weight.reshape(made, rows, columns, given).transpose(0, 3, 1, 2)


def _our_weight(weight: np.ndarray) -> np.ndarray:
    if weight.ndim == 2:
        return weight
    found: np.ndarray = weight.transpose(0, 2, 3, 1).reshape(weight.shape[0], -1)
    return found
