"""Settings that every study has: typed, validated, and one line of help each."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from implicit_bias import models
from implicit_bias.data import Dataset, load
from implicit_bias.models import Model
from implicit_bias.plugins import load_attribute

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A group of settings; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSettings(Section):
    """Which examples are used."""

    name: str = Field("digits", description="dataset name, file, or module:attribute")
    n_train: Count | None = Field(
        None,
        description="training examples of a lane, redrawn by each seed; none: all that are left",
    )
    n_valid: int = Field(0, ge=0, description="examples held out of training for validation")
    n_test: Count | None = Field(None, description="test examples, the first of the set; none: all")
    classes: tuple[int, ...] | None = Field(
        None, description="classes kept, renumbered 0, 1, …; none: all"
    )
    standardise: Literal["pixel", "global", "none"] = Field(
        "pixel", description="standardisation with training statistics"
    )
    min_std: NonNegative = Field(
        0.0, description="smallest standard deviation divided by; keeps near-constant pixels small"
    )

    def load(self) -> Dataset:
        """Return the dataset these settings name."""
        return load(
            self.name,
            standardise=self.standardise,
            min_std=self.min_std,
            n_test=self.n_test,
            classes=self.classes,
        )

    def sizes(self, dataset: Dataset) -> tuple[int, int]:
        """Return the training and validation examples of a lane."""
        return self.n_train or dataset.n_train - self.n_valid, self.n_valid


class ModelSettings(Section):
    """Which network is trained."""

    name: str = Field("dense", description="dense, or module:attribute of a model or of a function "
                      "from the number of outputs to one")  # fmt: skip
    widths: tuple[Count, ...] = Field((64,), description="hidden widths")
    activation: Literal["relu", "tanh", "erf", "gelu", "identity"] = "relu"
    parameterisation: Literal["standard", "ntk", "mup", "mup_adam"] = "standard"
    init: Literal["he", "glorot", "lecun"] = "he"
    bias: bool = True

    def build(self, outputs: int) -> Model:
        """Return the network with the given number of outputs."""
        if self.name == "dense":
            return models.Dense(
                self.widths, outputs, self.activation, self.parameterisation, self.init, self.bias
            )
        found: Any = load_attribute(self.name, "model") if ":" in self.name else self.name
        if inspect.isfunction(found) and inspect.signature(found).parameters:
            return models.get(found(outputs))
        return models.get(found)


class StudySettings(Section):
    """Settings of any study. A study's own settings extend these."""

    seeds: int = Field(
        5, ge=1, le=100_000, description="independent repetitions: 0, 1, …, seeds − 1"
    )
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    dtype: Literal["float32", "float64"] = Field("float32", description="floating-point type")
    keep_params: bool = Field(False, description="keep every lane's final parameters on disk")

    def digest(self) -> str:
        """Return a short hash of everything but the number of seeds.

        Seeds are left out so that more seeds extend a finished run instead of starting another.
        """
        content = self.model_dump(mode="json", exclude={"seeds", "keep_params"})
        if self.data.classes is None:
            # Runs made before there was this choice keep their hash.
            del content["data"]["classes"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]

    def to_json(self) -> dict[str, Any]:
        """Return all settings as JSON-ready data."""
        return self.model_dump(mode="json")
