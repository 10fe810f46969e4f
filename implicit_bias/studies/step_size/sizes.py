"""What a run was made of, where published numbers are of something larger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies.rows import constant, require

if TYPE_CHECKING:
    import xarray as xr

FULL = 45_000
"""Training images from which on published accuracies are asked for."""


def require_cifar(result: xr.Dataset, arm: str, size: str = "resnets") -> None:
    """Refuse a result on other data than CIFAR-10.

    Args:
        result: The study's result.
        arm: The arm that is to be judged.
        size: The size of the study that decides it.

    Raises:
        NotDecidable: It is on others, or the arm was not run.
    """
    require(result, arm)
    name = str(constant(result, arm, "data_name"))
    if not name.startswith("cifar10"):
        raise NotDecidable(
            f"needs CIFAR-10, and these data are {name}; configs/step_size/{size}.yaml decides it at "
            "reduced size"
        )


def full(result: xr.Dataset, arm: str) -> bool:
    """Say whether an arm was trained on all of CIFAR-10 but for validation."""
    return bool(constant(result, arm, "examples") >= FULL)


def size_of(result: xr.Dataset, arm: str, published: str) -> str:
    """Say what was trained where it is less than what is published."""
    network, examples, length = (
        constant(result, arm, name) for name in ("network", "examples", "planned_epochs")
    )
    return (
        f"{network} with {int(constant(result, arm, 'parameters')):,} parameters on {int(examples)} images "
        f"of {constant(result, arm, 'data_name')} for {int(length)} epochs; published: {published}"
    )
