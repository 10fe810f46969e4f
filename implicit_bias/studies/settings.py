"""Settings that every study has: typed, validated, and one line of help each."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import jax
import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from implicit_bias import models
from implicit_bias.data import Dataset, load
from implicit_bias.errors import UserError
from implicit_bias.models import Model
from implicit_bias.plugins import load_attribute
from implicit_bias.studies.refusals import (
    Refusal,
    check_at_least,
    check_at_most,
    check_below,
    different,
    increasing,
    refusal,
    value_of,
)
from implicit_bias.training.recipe import Recipe

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Tolerance = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
"""A residual relative to what is sought: from 1 on anything would pass."""
Count = Annotated[int, Field(ge=1)]
Products = Annotated[int, Field(ge=3, le=10_000)]
"""Hessian-vector products of a search: each is a vector as long as the parameters that is kept."""
Different = Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(different)]
Increasing = Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(increasing)]

LARGEST_WHOLE = 2**31 - 1
"""Whole numbers are counted with 32 bits where they are traced."""


class Section(BaseModel):
    """A group of settings; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def refusal(self, *keys: str, advice: str) -> Refusal:
        """Return what a section's own check raises.

        Args:
            *keys: Settings that cannot be used, or not together; dotted, from this section on.
            advice: What to do.
        """
        return Refusal({key: value_of(self, key) for key in keys}, advice)


class DataSettings(Section):
    """Which examples are used."""

    name: str = Field(
        "digits", description="dataset name, path ending in .npz or .txt, or file.py:NAME"
    )
    n_train: Count | None = Field(
        None,
        description="training examples of a lane, redrawn by each seed; none: all that are left",
    )
    n_valid: int = Field(0, ge=0, description="examples held out of training for validation")
    n_test: Count | None = Field(None, description="test examples, the first of the set; none: all")
    classes: Annotated[tuple[int, ...], AfterValidator(different)] | None = Field(
        None, description="classes kept, renumbered 0, 1, …; none: all"
    )
    standardise: Literal["pixel", "global", "none"] = Field(
        "pixel", description="standardisation with training statistics"
    )
    min_std: NonNegative = Field(
        0.0, description="smallest standard deviation divided by; keeps near-constant pixels small"
    )

    def load(self) -> Dataset:
        """Return the dataset these settings name.

        Raises:
            UserError: There is none, or it does not have what is asked for.
        """
        options = self.model_dump(include={"standardise", "min_std", "n_test", "classes"})
        try:
            return load(self.name, **options)
        except UserError as error:
            # An option is called otherwise here than where data are loaded.
            if str(error).partition(" ")[0] in options:
                raise UserError(f"data.{error}") from error
            raise

    def sizes(self, dataset: Dataset) -> tuple[int, int]:
        """Return the training and validation examples of a lane.

        Raises:
            UserError: There are not so many.
        """
        if (self.n_train or 1) + self.n_valid > dataset.n_train:
            given = {"data.n_train": self.n_train} if self.n_train else {}
            if self.n_valid:
                given["data.n_valid"] = self.n_valid
            both = " for both" if self.n_valid else ""
            there = f"{dataset.name} has {dataset.n_train} training examples{both}"
            raise UserError(refusal(given, f"{there}; choose fewer"))
        return self.n_train or dataset.n_train - self.n_valid, self.n_valid


class ModelSettings(Section):
    """Which network is trained."""

    name: str = Field("dense", description="dense; another registered model (conv, cnn5, resnet, vgg, …), "
                      "described by options; or file.py:NAME of a model or of a function from the "
                      "number of outputs to one")  # fmt: skip
    options: dict[str, bool | int | float | str | tuple[int, ...]] = Field(
        default_factory=dict,
        description="options of a model other than dense, such as {depth: 18, width: 16, norm: group}; "
        "of networks of convolutions, convolution: native, patches, … says how these are computed",
    )
    widths: tuple[Count, ...] = Field(
        (64,), description="hidden widths; of dense, like what follows"
    )
    activation: Literal["relu", "tanh", "erf", "gelu", "identity"] = "relu"
    parameterisation: Literal["standard", "ntk", "mup", "mup_adam"] = "standard"
    init: Literal["he", "glorot", "lecun"] = "he"
    bias: bool = True

    def dense(self, widths: tuple[int, ...], outputs: int) -> models.Dense:
        """Return the dense network of these settings with other hidden widths, as many as are given."""
        return models.Dense(
            widths, outputs, self.activation, self.parameterisation, self.init, self.bias
        )

    def build(self, outputs: int) -> Model:
        """Return the network with the given number of outputs.

        Raises:
            UserError: There is no such network, or it does not take the options.
        """
        if self.name == "dense":
            if self.options:
                raise UserError(
                    f"model.options are {', '.join(self.options)}, but dense is described by model.widths "
                    "and its like; leave them out, or choose another model.name"
                )
            return self.dense(self.widths, outputs)
        if ":" not in self.name:
            return models.get(self.name, outputs=outputs, **self.options)
        found: Any = load_attribute(self.name, "model")
        if inspect.isfunction(found) and inspect.signature(found).parameters:
            try:
                inspect.signature(found).bind(outputs, **self.options)
            except TypeError as error:
                raise UserError(
                    f"model {self.name} cannot take {outputs} outputs and model.options "
                    f"{sorted(self.options)}: {error}"
                ) from None
            return models.get(found(outputs, **self.options))
        return models.get(self.name, **self.options)


class StudySettings(Section):
    """Settings of any study. A study's own settings extend these."""

    seeds: int = Field(
        5, ge=1, le=100_000, description="independent repetitions: 0, 1, …, seeds − 1"
    )
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    dtype: Literal["float32", "float64"] = Field("float32", description="floating-point type")
    keep_params: bool = Field(False, description="keep every lane's final parameters on disk")

    @model_validator(mode="after")
    def _representable(self) -> StudySettings:
        """Refuse numbers that would become others, 0 or infinity where they are computed with."""
        least, most = float(np.finfo(self.dtype).tiny), float(np.finfo(self.dtype).max)
        for key, value in _numbers(self):
            if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
                raise self.refusal(key, advice=f"choose at most {LARGEST_WHOLE}")
            if isinstance(value, float) and value and not least <= abs(value) <= most:
                raise self.refusal(
                    key, advice=f"choose {least:.2g} to {most:.2g}, the range of {self.dtype}"
                )
        return self

    def check_resolved(self, *keys: str) -> None:
        """Refuse tolerances that rounding never lets anything meet.

        Raises:
            Refusal: One is.
        """
        least = float(np.finfo(self.dtype).eps)
        for key in keys:
            if value_of(self, key) < least:
                raise self.refusal(key, "dtype", advice=f"choose a {key} of at least {least:.2g}")

    def check_batches(self, dataset: Dataset, *keys: str) -> None:
        """Refuse batches larger than what a lane trains on.

        Raises:
            UserError: One is, or there are too few examples for the lane.
        """
        n_train, _ = self.data.sizes(dataset)
        for key in keys:
            check_at_most(self, key, n_train, f"a lane trains on {n_train} examples")

    def check_epochs(self, recipe: Recipe, *keys: str) -> None:
        """Refuse lengths of training, in epochs, that are no update, or more than can be counted.

        Raises:
            UserError: One is.
        """
        updates = recipe.updates_per_epoch
        there = f"an epoch has {updates} updates"
        for key in keys:
            check_at_most(self, key, LARGEST_WHOLE // updates, there)
            check_at_least(self, key, 1 / updates, there)

    def check_target(self, dataset: Dataset, key: str) -> None:
        """Refuse a target cross-entropy that an untrained network would meet.

        Raises:
            UserError: It is too high.
        """
        if dataset.task == "classification":
            classes = dataset.n_outputs
            why = f"guessing among {classes} classes has the loss of their logarithm"
            check_below(self, key, math.log(classes), why)

    def parameters(self, dataset: Dataset, model: Model | None = None) -> int:
        """Return the number of parameters of a network, by default the settings' own."""
        built = model or self.model.build(dataset.n_outputs)
        example = jax.ShapeDtypeStruct(dataset.input_shape, np.dtype("float32"))
        key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
        params, _ = jax.eval_shape(built.init, key, example)
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    def digest(self) -> str:
        """Return a short hash of everything but the number of seeds.

        Seeds are left out so that more seeds extend a finished run instead of starting another.
        """
        content = self.model_dump(mode="json", exclude={"seeds", "keep_params"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]

    def to_json(self) -> dict[str, Any]:
        """Return all settings as JSON-ready data."""
        return self.model_dump(mode="json")


def _numbers(section: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all numbers among settings with their dotted keys, those in lists with the list's."""
    if isinstance(section, BaseModel):
        for name, value in section:
            yield from _numbers(value, f"{path}.{name}".removeprefix("."))
    elif isinstance(section, tuple | list):
        for value in section:
            yield from _numbers(value, path)
    elif isinstance(section, int | float) and not isinstance(section, bool):
        yield path, section
