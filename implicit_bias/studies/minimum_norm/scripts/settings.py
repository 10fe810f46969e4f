"""Settings of the scripts: how often is drawn. Sizes are those of the chapter, and fixed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from implicit_bias.studies.settings import Count, Section


class ScriptSettings(Section):
    """Exercises and published scripts on least squares and quadratics, as they are set."""

    draws: Annotated[int, Field(ge=2, le=1000)] = Field(
        20, description="data sets of a seed in the exercise on gradient descent, C.1"
    )
    groups: Count = Field(
        4, description="times a seed does the exercise on batch sizes, C.2, of three data sets each"
    )
    repeats: Count = Field(4, description="times a seed runs each published script")
    updates: Count = Field(
        20_000, description="updates of that exercise that are done one by one, as a user would"
    )
