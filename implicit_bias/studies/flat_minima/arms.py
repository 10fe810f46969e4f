"""The arms of the flat-minima study: what is trained under which name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Arm:
    """What is trained under one name.

    Attributes:
        optimizer: Its name.
        what: One line, for tables.
        sizes: The batch sizes: small, large or both of the study's; or of the spectrum's protocol.
        step: Tuned on validation data, or fixed.
        strength: The traced setting that is swept; the lane compared is chosen on validation data.
        long: Whether it gets as many updates as the small batch.
        task: The data it is trained on.
        gradients: Cost of an update, in gradients of a batch.
        published: A protocol of its own, with several lengths of training.
    """

    optimizer: str
    what: str
    sizes: Literal["small", "large", "both", "spectrum", "spectrum-large"] = "large"
    step: Literal["tuned", "fixed"] = "tuned"
    strength: str = ""
    long: bool = False
    task: Literal["clean", "noisy", "few"] = "clean"
    gradients: int = 1
    published: bool = False


ARMS: dict[str, Arm] = {
    "sgd": Arm("heavy_ball", "SGD with momentum, step size tuned", "both"),
    "sgd-long": Arm("heavy_ball", "SGD, as many updates as the small batch", long=True),
    "fixed": Arm("heavy_ball", "SGD without momentum, one step size", "both", "fixed"),
    "sam": Arm("sam(heavy_ball)", "SAM", strength="rho", gradients=2),
    "asam": Arm("asam(heavy_ball)", "ASAM", strength="rho", gradients=2),
    "trace-penalty": Arm("trace_penalty(heavy_ball)", "penalty on tr H", strength="gamma", gradients=3),
    "top-penalty": Arm("top_penalty(heavy_ball)", "penalty on λmax", strength="gamma", gradients=18),
    "sam-small": Arm("sam(heavy_ball)", "SAM", "small", strength="rho", gradients=2),
    "sam-large-rho": Arm("sam(heavy_ball)", "SAM with a large ρ", gradients=2),
    "sgd-noisy": Arm("heavy_ball", "SGD, noisy labels", task="noisy"),
    "sam-noisy": Arm("sam(heavy_ball)", "SAM, noisy labels", strength="rho", task="noisy", gradients=2),
    "sgd-few": Arm("heavy_ball", "SGD, few examples", task="few"),
    "sam-few": Arm("sam(heavy_ball)", "SAM, few examples", strength="rho", task="few", gradients=2),
    "decay": Arm("heavy_ball", "SGD, weight decay", "small", strength="weight_decay"),
    "momentum": Arm("heavy_ball", "published protocol A: heavy ball", "spectrum", "fixed",
                    published=True),
    "adam": Arm("adam", "published protocol B: Adam", "spectrum", "fixed", published=True),
    "momentum-large": Arm("heavy_ball", "protocol A, large batches", "spectrum-large", "fixed"),
    "momentum-decay": Arm("heavy_ball", "protocol A, weight decay", "spectrum", "fixed"),
    "momentum-deep": Arm("heavy_ball", "protocol A, three hidden layers", "spectrum", "fixed"),
}  # fmt: skip
TUNING = "tuning"
"""Arm of the lanes from which step sizes are chosen; not measured."""
PENALTIES = ("sam", "asam", "trace-penalty", "top-penalty")
"""Arms that make the minima of large batches flatter."""
