"""What an optimiser is here: an Optax transformation whose numbers are traced.

Every optimiser is one record in one file. It says how gradients are turned into a direction; step
size, schedule and both kinds of weight decay are the same for all and are added here:

    g ← ∇L(w) + weight_decay · w                 (coupled: an L2 penalty of ½·weight_decay·‖w‖²)
    d ← direction(g)                             (the optimiser's own part)
    w ← w − η(t) · (d + decoupled_weight_decay · w)   (decoupled: Loshchilov and Hutter 2019)

The transformation is built inside the compiled lane from the lane's settings, so that changing a
number never recompiles. It carries only the state it needs: plain SGD none, a constant step size no
counter.

An optimiser may replace ∇L(w) by something else computed from gradients of the same batch: its
:class:`GradientRule`. SAM, the curvature penalties and the gradient flow are such rules; all that
follows, the direction and the decays, is as above.

It may also take the step in another geometry, as mirror descent does: its ``move`` replaces the
subtraction in the last line, and its ``domain`` says where such a step can begin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from implicit_bias.errors import UserError, unknown
from implicit_bias.optimizers.schedules import Schedule
from implicit_bias.ranges import Setting

Settings = Mapping[str, float | jax.Array]
Params = Any
GradientOf = Callable[[Params], Params]

STEP_SIZE = Setting("step_size", 0.1, minimum=0.0, includes_minimum=False)
WEIGHT_DECAY = Setting("weight_decay", 0.0, minimum=0.0)
DECOUPLED_WEIGHT_DECAY = Setting("decoupled_weight_decay", 0.0, minimum=0.0)


class Evaluate(Protocol):
    """How a rule turns the batch's gradient into the gradient of the update."""

    def __call__(
        self,
        settings: Settings,
        step_size: jax.Array,
        gradient: Params,
        gradient_of: GradientOf,
        params: Params,
        key: jax.Array,
        /,
    ) -> Params:
        """Return the gradient of the update, a tree like the parameters.

        Args:
            settings: The rule's own, of the parameters' dtype.
            step_size: That of this update, of the parameters' dtype.
            gradient: Gradient of the batch at ``params``.
            gradient_of: Gradient of the same batch, under the same dropout and injected noise, at
                other parameters; may be differentiated (``jax.jvp``), and mapped. Where a mask
                holds parameters at zero it is that of the loss of the others alone: it ignores
                what it is given for the held ones, and is zero there.
            params: Parameters before the update.
            key: For the rule alone, another at each update.
        """
        ...


@dataclass(frozen=True)
class GradientRule:
    """What an update uses in place of the gradient at the parameters; hashable.

    Attributes:
        name: Name in configs and results.
        gradients: What an update costs, in gradients of the batch, for the plan's estimate.
        evaluate: The rule; see :class:`Evaluate`.
        hyperparameters: Its own traced settings.
        includes_decay: Whether the rule is of the gradient with both weight decays, which are then
            not added to what it returns. Otherwise it sees gradients without decay.
    """

    name: str
    gradients: int
    evaluate: Evaluate
    hyperparameters: tuple[Setting, ...] = ()
    includes_decay: bool = False


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
        rule: What is used in place of the gradient at the parameters, if anything.
        move: Builds, from settings of the parameters' dtype, the transformation from what the step size
            has multiplied to the update that is added; None subtracts it.
        domain: From kept weights, shape (kept,), to what keeps a run from beginning there, and what to
            do; empty where nothing does. None: a run can begin anywhere.
    """

    name: str
    direction: Callable[[Settings], optax.GradientTransformation]
    hyperparameters: tuple[Setting, ...] = ()
    step_size: Setting = STEP_SIZE
    decoupled_weight_decay: Setting = DECOUPLED_WEIGHT_DECAY
    rule: GradientRule | None = None
    move: Callable[[Settings], optax.GradientTransformation] | None = None
    domain: Callable[[np.ndarray], str] | None = None

    def __repr__(self) -> str:
        own = "".join(f", {setting.name}={setting.default:g}" for setting in self.hyperparameters)
        return f"Optimizer({self.name!r}{own})"

    @property
    def gradients(self) -> int:
        """What one update costs, in gradients of the batch."""
        return 1 if self.rule is None else self.rule.gradients

    def build(
        self, schedule: Schedule, settings: Settings, first_update: int = 0
    ) -> optax.GradientTransformation:
        """Build the transformation of one lane.

        Args:
            schedule: The static part of the step-size schedule.
            first_update: Number of the first update, at which the schedule begins; the counters of the
                optimiser itself begin at zero.
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
            step: Any = cast["step_size"]
            if not schedule.is_constant:
                planned = schedule.build(cast)
                step = lambda count: planned(count + first_update)  # noqa: E731
            decays = ("weight_decay", "decoupled_weight_decay")
            if self.rule is not None and self.rule.includes_decay:
                coupled, decoupled = optax.identity(), optax.identity()
            else:
                coupled, decoupled = (_decay(settings[name], dtype) for name in decays)
            return optax.chain(
                coupled,
                self.direction(cast),
                decoupled,
                *(
                    (optax.scale_by_learning_rate(step),)
                    if self.move is None
                    else (optax.scale_by_learning_rate(step, flip_sign=False), self.move(cast))
                ),
            )

        # Optax raises floating settings to integer counts, which strict dtype promotion forbids.
        def init(params: Any) -> Any:
            with jax.numpy_dtype_promotion("standard"):
                return chain(params).init(params)

        def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
            with jax.numpy_dtype_promotion("standard"):
                return chain(gradients).update(gradients, state, params)

        return optax.GradientTransformation(init, update)

    def update_gradient(
        self,
        schedule: Schedule,
        settings: Settings,
        update: jax.Array,
        gradient: Params,
        gradient_of: GradientOf,
        params: Params,
        key: jax.Array,
    ) -> Params:
        """Return the gradient that an update is made of: what the rule makes of the batch's.

        Args:
            schedule: As for :meth:`build`.
            settings: As for :meth:`build`.
            update: How many updates were made before, an integer scalar.
            gradient: Gradient of the batch at ``params``, without decay.
            gradient_of: The same at other parameters; see :class:`Evaluate`.
            params: Parameters before the update.
            key: For the rule alone, another at each update.

        Returns:
            A tree like the parameters; ``gradient`` itself where there is no rule.
        """
        if self.rule is None:
            return gradient
        dtype = jax.tree.leaves(params)[0].dtype
        needed = (self.step_size, *self.rule.hyperparameters, *schedule.parameters)
        cast = {s.name: jnp.asarray(settings[s.name], dtype) for s in needed}
        step_size = cast["step_size"] if schedule.is_constant else schedule.build(cast)(update)
        own = {s.name: cast[s.name] for s in self.rule.hyperparameters}
        if not self.rule.includes_decay:
            return self.rule.evaluate(own, step_size, gradient, gradient_of, params, key)
        rate = sum(
            jnp.asarray(settings[name], dtype)
            for name in ("weight_decay", "decoupled_weight_decay")
        )

        def decayed(gradient: Params, params: Params) -> Params:
            return jax.tree.map(lambda g, w: g + rate * w, gradient, params)

        def decayed_gradient_of(params: Params) -> Params:
            return decayed(gradient_of(params), params)

        return self.rule.evaluate(
            own, step_size, decayed(gradient, params), decayed_gradient_of, params, key
        )

    def check_start(self, params: Params, mask: Params = None) -> None:
        """Check concrete parameters before a run begins there.

        Args:
            params: Parameters to begin with.
            mask: 0/1 arrays of the same shapes; what is not kept does not count. None keeps all.

        Raises:
            UserError: They lie outside the optimiser's domain.
        """
        if self.domain is None:
            return
        kept = jax.tree.map(lambda leaf: np.ones(np.shape(leaf)), params) if mask is None else mask
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(kept), strict=True)
        weights = [np.asarray(leaf, np.float64)[np.asarray(keep) != 0] for leaf, keep in pairs]
        wrong = self.domain(np.concatenate(weights))
        if wrong:
            raise UserError(f"optimiser {self.name!r} cannot begin there: {wrong}")

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
            *(self.rule.hyperparameters if self.rule is not None else ()),
            WEIGHT_DECAY,
            self.decoupled_weight_decay,
            *schedule.parameters,
        )


def with_rule(base: Optimizer, rule: GradientRule) -> Optimizer:
    """Return an optimiser on a rule's gradients, named ``"rule(base)"``.

    Raises:
        UserError: The optimiser has a rule already, or a setting of the same name.
    """
    if base.rule is not None:
        raise UserError(
            f"optimiser {base.name!r} has the gradient rule {base.rule.name!r} already, so {rule.name!r} "
            "cannot be added; choose one of them"
        )
    taken = {s.name for s in base.hyperparameters} & {s.name for s in rule.hyperparameters}
    for name in sorted(taken):
        raise UserError(
            f"optimiser {base.name!r} and the gradient rule {rule.name!r} both have a setting {name!r}; "
            "rename one of them"
        )
    return dataclasses.replace(base, name=f"{rule.name}({base.name})", rule=rule)


def _decay(rate: float | jax.Array, dtype: jax.typing.DTypeLike) -> optax.GradientTransformation:
    """Add decayed weights; a decay that is the Python number zero, not an array, is left out.

    A traced zero adds nothing either, but compilers may then contract the sums that follow into
    other fused multiply-adds: Adam differs in the last bit.
    """
    if isinstance(rate, int | float) and rate == 0:
        return optax.identity()
    return optax.add_decayed_weights(jnp.asarray(rate, dtype))
