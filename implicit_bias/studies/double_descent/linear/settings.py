"""Settings of the linear part: how often is drawn. Sizes are those of the sources, and fixed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from implicit_bias.studies.settings import Count, Section


class LinearSettings(Section):
    """Linear regression on Gaussian features, where the risk is known exactly."""

    draws: Annotated[int, Field(ge=10, le=100_000)] = Field(
        40, description="training sets of each size, redrawn by each seed"
    )
    trials: Annotated[int, Field(ge=3, le=1000)] = Field(
        10, description="repetitions of the exercise within a seed, with the signal's features kept"
    )
    tests: Count = Field(500, description="test examples of the exercise")
