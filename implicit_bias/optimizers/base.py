"""What an optimiser is here: an Optax transformation whose numbers are traced.

Every optimiser is one record in one file. It says how gradients are turned into a direction; step
size, schedule and both kinds of weight decay are the same for all and are added here:

    g ← ∇L(w) + weight_decay · w                 (coupled: an L2 penalty of ½·weight_decay·‖w‖²)
    d ← direction(g)                             (the optimiser's own part)
    w ← w − η(t) · (d + decoupled_weight_decay · w)   (decoupled: Loshchilov and Hutter 2019)

The transformation is built inside the compiled lane from the lane's settings, so that changing a
number never recompiles. It carries only the state it needs: plain SGD none, a constant step size no
counter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from implicit_bias.errors import UserError, unknown
from implicit_bias.optimizers.ranges import Setting
from implicit_bias.optimizers.schedules import Schedule

Settings = Mapping[str, float | jax.Array]

STEP_SIZE = Setting("step_size", 0.1, minimum=0.0, includes_minimum=False)
WEIGHT_DECAY = Setting("weight_decay", 0.0, minimum=0.0)
DECOUPLED_WEIGHT_DECAY = Setting("decoupled_weight_decay", 0.0, minimum=0.0)


@dataclass(frozen=True)
class Ascent:
    """Where an update takes its gradient, if not at the parameters themselves; hashable.

    Attributes:
        name: Name in configs and results.
        climb: From settings of the parameters' dtype, the batch gradient at the parameters, and the
            parameters, to the parameters at which the gradient of the update is taken.
        hyperparameters: Its own traced settings.
    """

    name: str
    climb: Callable[[Settings, Any, Any], Any]
    hyperparameters: tuple[Setting, ...]


@dataclass(frozen=True)
class Optimizer:
    """An optimiser; hashable.

    Attributes:
        name: Name in configs and results.
        direction: Builds, from settings of the parameters' dtype, the transformation from (decayed)
            gradients to the direction that the step size multiplies.
        hyperparameters: The optimiser's own traced settings.
        step_size: Default and range of the step size.
        decoupled_weight_decay: Default and range of the decoupled decay.
        ascent: Where gradients are taken, if not at the parameters (SAM).
    """

    name: str
    direction: Callable[[Settings], optax.GradientTransformation]
    hyperparameters: tuple[Setting, ...] = ()
    step_size: Setting = STEP_SIZE
    decoupled_weight_decay: Setting = DECOUPLED_WEIGHT_DECAY
    ascent: Ascent | None = None

    @property
    def gradients(self) -> int:
        """Gradients computed for one update."""
        return 1 if self.ascent is None else 2

    def build(self, schedule: Schedule, settings: Settings) -> optax.GradientTransformation:
        """Build the transformation of one lane.

        Args:
            schedule: The static part of the step-size schedule.
            settings: Every name of ``self.settings(schedule)`` with a number, possibly traced. They
                are converted to the parameters' dtype, so a float32 network keeps float32 state
                whatever they are.

        Returns:
            ``init(params)`` and ``update(gradients, state, params)``; the update is to be added to
            the parameters, and ``params`` must be given.

        Raises:
            UserError: When a setting is missing.
        """
        needed = self._settings(schedule)
        for setting in needed:
            if setting.name not in settings:
                raise UserError(
                    f"settings have no {setting.name!r}, which optimiser {self.name!r} needs; "
                    f"add it (default {setting.default:g})"
                )

        def chain(params: Any) -> optax.GradientTransformation:
            dtype = jax.tree.leaves(params)[0].dtype
            cast = {s.name: jnp.asarray(settings[s.name], dtype) for s in needed}
            step = cast["step_size"] if schedule.is_constant else schedule.build(cast)
            return optax.chain(
                _decay(settings["weight_decay"], dtype),
                self.direction(cast),
                _decay(settings["decoupled_weight_decay"], dtype),
                optax.scale_by_learning_rate(step),
            )

        # Optax raises floating settings to integer counts, which strict dtype promotion forbids.
        def init(params: Any) -> Any:
            with jax.numpy_dtype_promotion("standard"):
                return chain(params).init(params)

        def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
            with jax.numpy_dtype_promotion("standard"):
                return chain(gradients).update(gradients, state, params)

        return optax.GradientTransformation(init, update)

    def climb(self, settings: Settings, gradient: Any, params: Any) -> Any:
        """Return the parameters at which the gradient of an update is taken.

        Args:
            settings: As for :meth:`build`.
            gradient: Gradient of the batch at ``params``, without decay.
            params: Parameters before the update.
        """
        if self.ascent is None:
            return params
        dtype = jax.tree.leaves(params)[0].dtype
        own = {s.name: jnp.asarray(settings[s.name], dtype) for s in self.ascent.hyperparameters}
        return self.ascent.climb(own, gradient, params)

    def settings(self, schedule: Schedule | None = None) -> dict[str, float]:
        """Return the names of all traced settings with their defaults.

        Args:
            schedule: Adds the schedule's own parameters; constant by default.

        Returns:
            Names and defaults: ``step_size``, the optimiser's own, both weight decays, and the
            schedule's.
        """
        return {s.name: s.default for s in self._settings(schedule or Schedule())}

    @property
    def defaults(self) -> tuple[tuple[str, float], ...]:
        """The optimiser's own traced settings and both weight decays, with defaults."""
        return tuple(item for item in self.settings().items() if item[0] != "step_size")

    def validate(self, settings: Mapping[str, float], schedule: Schedule | None = None) -> None:
        """Check concrete numbers before anything is compiled.

        Args:
            settings: Some or all of the names of ``self.settings(schedule)``.
            schedule: The schedule they are for; constant by default.

        Raises:
            UserError: For an unknown name or a number out of range, saying what is allowed.
        """
        schedule = schedule or Schedule()
        known = {s.name: s for s in self._settings(schedule)}
        for name, value in settings.items():
            if name not in known:
                raise unknown(f"setting of optimiser {self.name!r}", name, known)
            known[name].check(value)
        schedule.validate(settings)

    def _settings(self, schedule: Schedule) -> tuple[Setting, ...]:
        return (
            self.step_size,
            *self.hyperparameters,
            *(self.ascent.hyperparameters if self.ascent is not None else ()),
            WEIGHT_DECAY,
            self.decoupled_weight_decay,
            *schedule.parameters,
        )


def _decay(rate: float | jax.Array, dtype: jax.typing.DTypeLike) -> optax.GradientTransformation:
    """Add decayed weights; a decay that is the Python number zero, not an array, is left out.

    A traced zero adds nothing either, but compilers may then contract the sums that follow into
    other fused multiply-adds: Adam differs in the last bit.
    """
    if isinstance(rate, int | float) and rate == 0:
        return optax.identity()
    return optax.add_decayed_weights(jnp.asarray(rate, dtype))
