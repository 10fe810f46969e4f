"""What every study records of an evaluation: loss and error on each set."""

from __future__ import annotations

from implicit_bias.training.measurement import Variable


def evaluation_variables(loss_unit: str) -> dict[str, Variable]:
    """Return the variables of a training evaluation, named as its fields are.

    Args:
        loss_unit: Unit of the loss.
    """
    return {
        "train_loss": Variable((), loss_unit, "mean training loss"),
        "train_error": Variable((), "fraction", "training error"),
        "valid_loss": Variable((), loss_unit, "mean validation loss"),
        "valid_error": Variable((), "fraction", "validation error"),
        "test_loss": Variable((), loss_unit, "mean test loss"),
        "test_error": Variable((), "fraction", "test error"),
    }
