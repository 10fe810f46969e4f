"""Pixel units of inputs that were standardised: what radii of attacks are given in."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from implicit_bias.errors import UserError, unknown

_ROWS = 4096  # examples per block of the float64 sums, which bounds their memory


def pixel_box(
    pixels: npt.NDArray[Any],
    kind: Literal["pixel", "global", "none"] = "pixel",
    *,
    min_std: float = 0.0,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return scale, low and high of inputs that were standardised from pixels in [0, 1].

    Args:
        pixels: The training inputs before standardisation (``data.load(..., standardise="none")``),
            shape (n, *features), from 0 to 1.
        kind: How they were standardised; see ``data.transforms.standardise``.
        min_std: Smallest divisor there.

    Returns:
        One pixel unit, the pixel value 0 and the pixel value 1 in standardised units, each of shape
        features.

    Raises:
        UserError: Unknown kind, or values outside of [0, 1].
    """
    if kind not in ("pixel", "global", "none"):
        raise unknown("standardisation", kind, ("pixel", "global", "none"))
    pixels = np.asarray(pixels)
    if pixels.ndim < 2 or not pixels.size or pixels.dtype.kind not in "fiu":
        raise UserError(
            f"pixels has shape {pixels.shape} and type {pixels.dtype}; give numbers (n, *features)"
        )
    least, most = pixels.min(axis=0), pixels.max(axis=0)
    if not (least.min() >= 0 and most.max() <= 1):
        raise UserError(
            f"the inputs lie between {least.min():g} and {most.max():g}; give pixels from 0 to 1, "
            "before standardisation"
        )
    features = pixels.shape[1:]
    mean, std, constant = np.zeros(features), np.ones(features), least == most
    if kind != "none":
        axes = 0 if kind == "pixel" else None
        mean = mean + np.mean(pixels, axis=axes, dtype=np.float64)
        squares = np.zeros(features if kind == "pixel" else ())
        for start in range(0, len(pixels), _ROWS):
            block = pixels[start : start + _ROWS] - mean
            squares = squares + np.sum(np.square(block), axis=axes)
        count = len(pixels) if kind == "pixel" else pixels.size
        std = std * np.maximum(np.sqrt(squares / count), min_std)
        if kind == "global":
            constant = np.full(features, least.min() == most.max())
    std = np.where(constant, 1.0, std)
    return 1 / std, -mean / std, (1 - mean) / std
