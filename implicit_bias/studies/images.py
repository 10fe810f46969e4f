"""Which examples are used, with images made smaller first."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from implicit_bias.data import Dataset, load
from implicit_bias.data.augmentation import AUGMENTATIONS, Augmentation
from implicit_bias.data.transforms import standardise
from implicit_bias.errors import UserError
from implicit_bias.studies.settings import Count, DataSettings


class ImageSettings(DataSettings):
    """Which examples are used, and at which resolution."""

    pool: Count = Field(
        1,
        description="side of the squares of pixels that are averaged before anything else; 1: none",
    )
    flatten: bool = Field(True, description="make each image a vector; convolutions need false")
    augmentation: Literal["none", "flip", "crop-flip", "crop-flip-reflect"] = Field(
        "none",
        description="what training does to each image each time: crops of the image in a border of 4 zeros, "
        "or of its reflection, half of them mirrored; needs flatten false",
    )

    def augmented(self) -> Augmentation | None:
        """Return what a recipe is given as its augmentation."""
        return AUGMENTATIONS[self.augmentation]

    def load(self) -> Dataset:
        """Return the dataset these settings name.

        Raises:
            UserError: There is none, it does not have what is asked for, or its images are smaller than
                the squares.
        """
        if self.pool == 1 and self.flatten:
            return super().load()
        options = self.model_dump(include={"n_test", "classes"})
        whole = load(self.name, standardise="none", flatten=False, **options)
        small = standardise(
            pooled(whole, self.pool) if self.pool > 1 else whole,
            self.standardise, min_std=self.min_std,
        )  # fmt: skip
        return small.flatten() if self.flatten else small


def pooled(dataset: Dataset, side: int) -> Dataset:
    """Average an image's squares of ``side`` × ``side`` pixels; what fills no square is left out.

    Args:
        dataset: Images of shape (n, height, width, channels).
        side: Pixels.

    Raises:
        UserError: The inputs are no images, or smaller than a square.
    """
    shape = dataset.input_shape
    if len(shape) != 3 or min(shape[:2]) < side:
        raise UserError(
            f"data.pool is {side}, but inputs of {dataset.name} have shape {shape}; choose 1, or images of "
            "at least that side"
        )

    def smaller(x: np.ndarray) -> np.ndarray:
        height, width = (length // side for length in shape[:2])
        cut = x[:, : height * side, : width * side]
        squares = cut.reshape(len(x), height, side, width, side, shape[2])
        found: np.ndarray = squares.mean(axis=(2, 4), dtype=np.float64).astype(x.dtype)
        return found

    return dataset.replace(
        x_train=smaller(dataset.x_train),
        x_test=smaller(dataset.x_test),
        x_valid=None if dataset.x_valid is None else smaller(dataset.x_valid),
        provenance={**dataset.provenance, "pooled": f"means of {side} × {side} pixels"},
    )
