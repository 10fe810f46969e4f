"""What a lane is: the static recipe that is compiled, and the traced settings that vary.

The split is the type: a field of :class:`Recipe` is static and costs one compilation for each value; a
key of ``Lane.settings`` is traced and never recompiles.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import numpy as np

from implicit_bias.arguments import make_whole, whole_number
from implicit_bias.data.augmentation import Augmentation
from implicit_bias.errors import UserError, unknown
from implicit_bias.keys import Role
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.models.base import traced_settings
from implicit_bias.models.computed import PRECISIONS, Computed, Precision
from implicit_bias.optimizers import Optimizer, Schedule
from implicit_bias.own_code import code_identity
from implicit_bias.ranges import Setting
from implicit_bias.training.budget import Budget

ENGINE_SETTINGS: dict[str, float] = {"init_scale": 1.0, "label_noise": 0.0}
"""Traced settings every lane has, beside its optimiser's, with their defaults.

``init_scale`` multiplies the initial weights; ``label_noise`` is the fraction of training labels
redrawn among the other classes.
"""

REPLICATED: tuple[Role, ...] = ("initialisation", "data_order")
"""Roles of which a lane may take another draw of its seed."""

_INIT_SCALE = Setting("init_scale", 1.0, minimum=0.0, includes_minimum=False)
_LABEL_NOISE = Setting("label_noise", 0.0, minimum=0.0, maximum=1.0, includes_maximum=False)

NOISE_SETTING = "noise_batch_size"
"""Traced setting of a recipe with injected gradient noise: the small batch size that is imitated."""


@dataclass(frozen=True)
class Recipe:
    """The static half of a lane. Two lanes with equal recipes share one compiled program.

    Attributes:
        model: Network.
        loss: Training loss.
        optimizer: Optimiser; its hyper-parameters are traced settings of the lane.
        schedule: Kind of step-size schedule; its parameters are traced.
        batch_size: Examples in an update.
        n_train: Examples each lane trains on, redrawn from the training pool by the lane's seed when
            smaller than the pool.
        n_valid: Examples held out of the pool for validation.
        sampling: ``"epoch"`` visits every example once an epoch in a fresh random order, the last batch
            of an epoch smaller where the batch size does not divide; ``"replacement"`` draws each
            batch independently.
        micro_batch: Examples in one forward and backward pass; smaller than ``batch_size`` where a
            batch does not fit in memory. The gradient is the same up to rounding, but for models with
            batch normalisation: each part is then normalised by its own statistics (ghost batches, Hoffer et
            al. 2017), as wherever gradients of parts are added up; those of the whole batch would need
            all of it at once.
        gradient_noise: Whether noise of a smaller batch is added to the gradient.
        masked: Whether lanes bring a 0/1 mask of their parameters.
        started: Whether lanes bring the parameters they begin with.
        first_update: Number of the lanes' first update. Data order and step-size schedule continue there;
            the optimiser's state is fresh.
        dtype: Floating-point type of parameters, data and settings.
        augmentation: What is done to each image each time training uses it; None for nothing. Evaluation and
            measurement see images as they are.
        precision: In which the passes of training are computed (``models.Computed``), float32 parameters
            or not; None for what the backend does (TF32 on recent GPUs, the parameters' type on CPUs).
            Evaluation is as the backend does; what measures curvature asks for the highest.
    """

    model: Model
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    batch_size: int
    n_train: int
    n_valid: int = 0
    sampling: Literal["epoch", "replacement"] = "epoch"
    micro_batch: int | None = None
    gradient_noise: bool = False
    masked: bool = False
    started: bool = False
    first_update: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    augmentation: Augmentation | None = None
    precision: Precision | None = None

    def __post_init__(self) -> None:
        make_whole(self, "batch_size", "n_train", "n_valid", "first_update", optional="micro_batch")
        if self.first_update < 0:
            raise UserError(f"first_update is {self.first_update}; choose at least 0")
        if self.n_train < 1 or self.n_valid < 0:
            raise UserError(
                f"n_train is {self.n_train} and n_valid is {self.n_valid}; "
                "choose n_train of at least 1 and n_valid of at least 0"
            )
        if not 1 <= self.batch_size <= self.n_train:
            raise UserError(
                f"batch_size is {self.batch_size}, but a lane trains on {self.n_train} examples; "
                f"choose 1 to {self.n_train}"
            )
        if self.sampling not in ("epoch", "replacement"):
            raise UserError(f"sampling is {self.sampling!r}; choose 'epoch' or 'replacement'")
        if self.micro_batch is not None and not 1 <= self.micro_batch <= self.batch_size:
            raise UserError(
                f"micro_batch is {self.micro_batch}; choose 1 to the batch size {self.batch_size}"
            )
        if self.gradient_noise and self.batch_size < 2:
            raise UserError(
                "gradient noise needs a batch_size of at least 2; choose a larger batch"
            )
        if self.dtype not in ("float32", "float64"):
            raise UserError(f"dtype is {self.dtype!r}; choose 'float32' or 'float64'")
        if self.augmentation is not None and not isinstance(self.augmentation, Augmentation):
            raise UserError(
                f"augmentation is {self.augmentation!r}; give an Augmentation, such as "
                "data.augmentation.AUGMENTATIONS['crop-flip'], or None"
            )
        if self.precision is not None and self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.precision in ("tf32", "bf16") and self.dtype != "float32":
            raise UserError(
                f"precision is {self.precision!r} and dtype {self.dtype!r}; choose precision 'float32' or "
                "None, or dtype 'float32'"
            )
        if (self.masked or self.started) and getattr(self.model, "keeps_origin", False):
            raise UserError(
                f"a {'masked' if self.masked else 'started'} recipe has the model "
                f"{type(self.model).__name__}, whose state keeps the initial parameters as they are drawn; "
                "choose a model without an origin"
            )
        if self.optimizer.domain is not None and not self.started:
            raise UserError(
                f"optimiser {self.optimizer.name!r} cannot begin at weights drawn with both signs; "
                "give lanes "
                "a start within its domain, in a started recipe, or choose p_norm_descent"
            )
        own = [setting.name for setting in traced_settings(self.model)]
        taken = {*ENGINE_SETTINGS, *self.optimizer.settings(self.schedule), NOISE_SETTING}
        if len(set(own)) < len(own) or taken.intersection(own):
            raise UserError(
                f"the model's traced settings are {', '.join(own)}, some of them twice or names of "
                "the optimiser's or the engine's; rename them"
            )

    @property
    def updates_per_epoch(self) -> int:
        """Updates in one pass over the training examples."""
        return math.ceil(self.n_train / self.batch_size)

    @property
    def beginning(self) -> Recipe:
        """The part of the recipe that decides how a lane starts; recipes that share it share a program."""
        return replace(
            self,
            batch_size=1,
            n_train=1,
            n_valid=0,
            sampling="epoch",
            micro_batch=None,
            gradient_noise=False,
            first_update=0,
            augmentation=None,
            precision=None,
        )

    @property
    def trained_model(self) -> Model:
        """The model as training computes it."""
        return self.model if self.precision is None else Computed(self.model, self.precision)

    @property
    def own_code(self) -> list[str]:
        """The parts that are not this package's, whose short names may coincide.

        A part from a user's file has a digest of the statements it is made of, so that an edit of these
        makes other lanes.
        """
        parts: list[Any] = [self.loss.function, self.optimizer.direction]
        if self.optimizer.rule is not None:
            parts.append(self.optimizer.rule.evaluate)
        if self.optimizer.move is not None:
            parts.append(self.optimizer.move)
        model: Any = self.model
        while model is not None:  # a model may be made of another
            parts.append(model)
            parts += [getattr(model, n) for n in ("module", "factory") if hasattr(model, n)]
            model = getattr(model, "model", None)
        names = []
        for part in parts:
            named = part if hasattr(part, "__qualname__") else type(part)
            if str(named.__module__).split(".")[0] != "implicit_bias":
                names.append(f"{code_identity(part) or named.__module__}.{named.__qualname__}")
        return names

    @property
    def initial_settings(self) -> tuple[str, ...]:
        """Names of the traced settings that a lane's first parameters and labels depend on."""
        return (*ENGINE_SETTINGS, *(setting.name for setting in traced_settings(self.model)))

    def setting_defaults(self) -> dict[str, float]:
        """Return the traced settings this recipe understands, with their defaults."""
        defaults = {**ENGINE_SETTINGS, **self.optimizer.settings(self.schedule)}
        defaults |= {setting.name: setting.default for setting in traced_settings(self.model)}
        if self.gradient_noise:
            defaults[NOISE_SETTING] = math.nan
        return defaults

    def describe(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready data; equal recipes give equal descriptions."""
        augmentation = self.augmentation
        return {
            "model": self.model.describe(),
            "loss": self.loss.name,
            "optimizer": self.optimizer.name,
            "schedule": self.schedule.kind,
            "batch_size": self.batch_size,
            "n_train": self.n_train,
            "n_valid": self.n_valid,
            "sampling": self.sampling,
            "micro_batch": self.micro_batch,
            "gradient_noise": self.gradient_noise,
            "masked": self.masked,
            "started": self.started,
            "first_update": self.first_update,
            "augmentation": None if augmentation is None else augmentation.describe(),
            "precision": self.precision,
            "dtype": self.dtype,
        }


@dataclass(frozen=True)
class Lane:
    """One training run.

    Attributes:
        recipe: Static half.
        seed: Source of all of the lane's randomness, 0 to 2**32 - 1.
        settings: Traced scalars by name; those left out take the recipe's defaults.
        budget: When the lane stops.
        probes: Updates after which losses and errors are logged, increasing; those beyond the lane's
            stop are never reached.
        tags: What the lane is called in results (arm, ...).
        mask: 0/1 arrays with the shapes of the parameters, for a masked recipe.
        start: Parameters to begin with, for a started recipe.
        replicates: By role (``REPLICATED``), which of the seed's draws: 0, as where nothing is said, is that
            which all lanes of a seed share. Another number is as good as another seed, in that role alone.
    """

    recipe: Recipe
    seed: int
    settings: Mapping[str, float]
    budget: Budget
    probes: tuple[int, ...] = ()
    tags: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    mask: Any = None
    start: Any = None
    replicates: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make_whole(self, "seed")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed is {self.seed}; choose 0 to {2**32 - 1}")
        known = self.recipe.setting_defaults()
        for name in self.settings:
            if name not in known:
                raise UserError(
                    f"setting {name!r} is unknown to optimiser {self.recipe.optimizer.name!r} and "
                    f"to the model; they take {', '.join(sorted(known))}"
                )
        values = {**known, **self.settings}
        schedule = self.recipe.schedule
        own = self.recipe.optimizer.settings(schedule)
        self.recipe.optimizer.validate({name: values[name] for name in own}, schedule)
        _LABEL_NOISE.check(values["label_noise"])
        _INIT_SCALE.check(values["init_scale"])
        for setting in traced_settings(self.recipe.model):
            setting.check(values[setting.name])
        if self.recipe.gradient_noise:
            largest = self.recipe.batch_size
            Setting(NOISE_SETTING, largest, minimum=1, maximum=largest).check(values[NOISE_SETTING])
        if (self.mask is not None) != self.recipe.masked:
            raise UserError("a masked recipe needs a mask on every lane, and only a masked recipe")
        if not all(np.isin(leaf, (0, 1)).all() for leaf in jax.tree.leaves(self.mask)):
            raise UserError("a mask holds other numbers than 0 and 1; give 1 for what is kept")
        if (self.start is not None) != self.recipe.started:
            raise UserError(
                "a started recipe needs parameters to begin with on every lane, and only a started recipe"
            )
        if self.start is not None:
            self.recipe.optimizer.check_start(self.start, self.mask)
        if self.budget.updates <= self.recipe.first_update:
            raise UserError(
                f"the first update is number {self.recipe.first_update}, but the lane ends at "
                f"{self.budget.updates}; begin earlier or train longer"
            )
        for role, copy in self.replicates.items():
            if role not in REPLICATED:
                raise unknown("role of a replicate", role, REPLICATED)
            if not 0 <= whole_number(f"replicate of {role}", copy) < 2**32:
                raise UserError(f"replicate of {role} is {copy}; choose 0 to {2**32 - 1}")
        probes = tuple(whole_number("a probe", probe) for probe in self.probes)
        if list(probes) != sorted(set(probes)) or any(probe < 0 for probe in probes):
            raise UserError(f"probes are {probes}; give increasing updates from 0")
        object.__setattr__(self, "probes", probes)

    @property
    def updates(self) -> int:
        """Updates of the lane, if nothing stops it early."""
        return self.budget.updates - self.recipe.first_update

    @property
    def values(self) -> dict[str, float]:
        """All traced settings, defaults filled in."""
        return {
            name: float(value)
            for name, value in {**self.recipe.setting_defaults(), **self.settings}.items()
        }

    def identity(self, data_checksum: str) -> str:
        """Return a short hash of everything that decides this lane's numbers.

        Equal identities mean equal results, so a finished lane is never run again, and two arms that
        ask for the same run share it. Tags do not enter: they name a lane, they do not change it.

        Args:
            data_checksum: Checksum of the dataset the lane trains on.
        """
        content = {
            "recipe": self.recipe.describe(),
            "seed": self.seed,
            "settings": self.values,
            "budget": [self.budget.updates, self.budget.target_loss, self.budget.evaluate_every],
            "probes": list(self.probes),
            "data": data_checksum,
        }
        if self.budget.until:
            stops = [(stop.quantity, stop.level, stop.at_least) for stop in self.budget.until]
            content["until"] = stops
        if self.mask is not None:
            content["mask"] = _digest(self.mask, np.uint8)
        if self.start is not None:
            content["start"] = _digest(self.start, self.recipe.dtype)
        if copies := {role: copy for role, copy in self.replicates.items() if copy}:
            content["replicates"] = copies
        if own := self.recipe.own_code:
            content["own_code"] = own
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def epochs(count: float, recipe: Recipe) -> int:
    """Return the number of updates in ``count`` epochs of a recipe, at least one.

    Raises:
        UserError: There are more than 2³¹ − 1.

    Example:
        >>> from implicit_bias import losses, models, optimizers, training
        >>> model = models.get("dense", widths=(8,), outputs=10)
        >>> loss, sgd = losses.get("cross_entropy"), optimizers.get("sgd")
        >>> recipe = training.Recipe(model, loss, sgd, optimizers.Schedule(), batch_size=32, n_train=1000)
        >>> training.epochs(2, recipe)  # updates: the last batch of an epoch is a smaller one
        64
    """
    updates = count * recipe.updates_per_epoch
    if not updates < 2**31:
        raise UserError(
            f"{count:g} epochs of {recipe.updates_per_epoch} updates are more than 2147483647 updates; "
            "choose fewer"
        )
    return max(1, round(updates))


def _digest(tree: Any, dtype: Any) -> str:
    """Hash the numbers of a tree of arrays."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(np.asarray(leaf, dtype=dtype).tobytes())
    return digest.hexdigest()
