"""Where a network has as many parameters as there are numbers to fit: n examples × K outputs."""

from __future__ import annotations


def parameters(width: int, inputs: int, outputs: int, bias: bool = True) -> int:
    """Return the parameters of a network with one hidden layer.

    Args:
        width: Hidden units.
        inputs: Features of one input, d.
        outputs: Outputs, K.
        bias: Whether both layers have biases.
    """
    return width * (inputs + outputs + bias) + outputs * bias


def width_at(examples: int, inputs: int, outputs: int, bias: bool = True) -> float:
    """Return the width, not whole, whose network has ``examples · outputs`` parameters.

    Args:
        examples: Training examples, n.
        inputs: Features of one input, d.
        outputs: Outputs, K.
        bias: Whether both layers have biases.

    References:
        M. Belkin, D. Hsu, S. Ma, S. Mandal, "Reconciling modern machine-learning practice and the
        classical bias–variance trade-off", PNAS 116 (2019): n·K for the squared loss of K outputs.
    """
    return (examples * outputs - outputs * bias) / (inputs + outputs + bias)
