"""Settings of the attention study, and what a file of settings may not ask for."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from implicit_bias.data import Dataset, load
from implicit_bias.errors import UserError
from implicit_bias.models import Transformer
from implicit_bias.studies.refusals import check_names, different, increasing
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    ModelSettings,
    Positive,
    Section,
    StudySettings,
)

ARMS: dict[str, str] = {
    "trained": "every width, on many examples",
    "gain": "other initial spreads of the attention's logits",
    "shuffled": "labels drawn at random",
    "few": "few sequences for the parameters, by Adam",
    "few-shuffled": "the same with labels drawn at random",
    "few-small": "the same with a smaller network",
    "few-sgd": "the same by stochastic gradient descent",
}
"""The arms, and what they train."""

FEW = tuple(arm for arm in ARMS if arm.startswith("few"))
"""Arms that memorise."""

CHAIN, EQUATIONS = "markov-chain", "modular-arithmetic"


class SequenceData(DataSettings):
    """Which sequences or images are used; seeds draw theirs from a pool that all share."""

    name: str = Field(
        CHAIN,
        description="markov-chain, modular-arithmetic, a text file (text:PATH or a .txt), or images",
    )
    standardise: Any = Field("none", description="as for images; tokens have no scale")
    n_train: Count | None = Field(2048, description="training examples of a lane")
    n_valid: int = Field(128, ge=0, description="examples held out of training for validation")
    n_test: Count | None = Field(256, description="test examples")
    pool: Count = Field(4096, description="sequences of a chain that lanes draw theirs from")
    length: Annotated[int, Field(ge=4, le=1024)] = Field(32, description="tokens of a sequence")
    vocabulary: Annotated[int, Field(ge=2, le=64)] = Field(8, description="tokens of a chain")
    order: Annotated[int, Field(ge=1, le=4)] = Field(
        2, description="tokens the next one depends on"
    )
    concentration: Positive = Field(0.2, description="of a chain's laws; small is predictable")

    def load(self) -> Dataset:
        """Return the dataset these settings name; images keep their shape.

        Raises:
            UserError: There is none, or it does not have what is asked for.
        """
        options: dict[str, Any] = {"standardise": self.standardise, "n_test": self.n_test}
        if self.name == CHAIN:
            kept = ("length", "vocabulary", "order", "concentration")
            options |= {"n_train": self.pool, **self.model_dump(include=set(kept))}
        elif self.name.startswith("text:") or self.name.endswith(".txt"):
            options["length"] = self.length
        elif self.name != EQUATIONS:
            options |= {"flatten": False, "min_std": self.min_std, "classes": self.classes}
        try:
            return load(self.name, **options)
        except UserError as error:
            if str(error).partition(" ")[0] in options:
                raise UserError(f"data.{error}") from error
            raise


class Network(Section):
    """The transformer, but for its width."""

    depth: Annotated[int, Field(ge=1, le=24)] = Field(2, description="blocks")
    heads: Count = Field(4, description="attention heads of a block; divide every width")
    mlp_ratio: Count = Field(4, description="hidden units of a block's second branch, in widths")
    patch: Count = Field(2, description="side of an image's patches, in pixels")


class Few(Section):
    """Few sequences for the parameters: memorising."""

    n_train: Count = Field(288, description="training sequences")
    width: Count = Field(64, description="of the network")
    small: Count = Field(16, description="width of the smaller network")
    epochs: Positive = Field(50.0, description="passes over the training sequences")
    factors: Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(increasing)] = (
        Field(
            (0.3, 1.0, 3.0),
            description="step sizes of both optimisers, in units of each one's own; 1 among them",
        )
    )
    sgd_step: Positive = Field(
        0.3, description="step size of stochastic gradient descent at factor 1"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Few:
        if 1.0 not in self.factors:
            raise self.refusal("factors", advice="add 1, at which other arms are trained")
        if self.small >= self.width:
            raise self.refusal("small", "width", advice="choose a smaller small one")
        return self


class Collapse(Section):
    """Untrained stacks of attention."""

    length: Annotated[int, Field(ge=2, le=1024)] = Field(32, description="positions")
    width: Annotated[int, Field(ge=1, le=4096)] = Field(32, description="size of vectors")
    layers: Annotated[int, Field(ge=2, le=200)] = Field(12, description="layers of attention")


class AttentionSettings(StudySettings):
    """Settings of the attention study."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = tuple(ARMS)
    data: SequenceData = SequenceData()
    model: ModelSettings = ModelSettings(name="transformer")
    network: Network = Network()
    width: Count = Field(32, description="width of all arms but few")
    widths: Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(different)] = Field(
        (16, 32, 64), description="widths of the trained arm; width among them"
    )
    gains: Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(different)] = Field(
        (0.1, 10.0), description="factors of the initial logits in the gain arm, other than 1"
    )
    step_size: Positive = Field(3e-3, description="of Adam")
    batch_size: Count = Field(16, description="examples in an update")
    updates: Count = Field(1500, description="updates of all arms but few")
    probes: Annotated[int, Field(ge=4, le=200)] = Field(
        10, description="evaluations while training, evenly spaced in log time"
    )
    probe_set: Annotated[int, Field(ge=2, le=1024)] = Field(
        32, description="test examples whose attention is measured"
    )
    top: Count = Field(3, description="largest weights of a row that are added up")
    few: Few = Few()
    collapse: Collapse = Collapse()

    @model_validator(mode="after")
    def _usable(self) -> AttentionSettings:
        if self.model != ModelSettings(name="transformer"):
            raise self.refusal(
                *(f"model.{key}" for key in sorted(self.model.model_fields_set)),
                advice="leave it out; the network is under width and network",
            )
        if "trained" not in self.arms:
            raise self.refusal("arms", advice="add 'trained', with which all others are compared")
        if self.width not in self.widths:
            raise self.refusal("width", "widths", advice="add the width to the widths")
        if 1.0 in self.gains:
            raise self.refusal("gains", advice="leave out 1, which is the trained arm")
        for key in ("widths", "few.width", "few.small"):
            given = self.widths if key == "widths" else (getattr(self.few, key[4:]),)
            if any(width % self.network.heads for width in given):
                raise self.refusal(key, "network.heads", advice="choose widths that heads divide")
        if self.data.n_valid < 1:
            raise self.refusal("data.n_valid", advice="the least loss is found on validation data")
        return self

    def transformer(self, dataset: Dataset, width: int) -> Transformer:
        """Return the network for the data at a width: causal for tokens, mean over patches for images."""
        tokens = dataset.provenance.get("vocabulary")
        readout = "every" if dataset.predictions > 1 else "last"
        return Transformer(
            dataset.n_outputs, width, self.network.depth, self.network.heads, self.network.mlp_ratio,
            vocabulary=tokens, patch=self.network.patch, causal=tokens is not None,
            readout="mean" if tokens is None else readout,  # type: ignore[arg-type]
        )  # fmt: skip
