"""Step sizes over time: which formula is static, its numbers are traced.

With t the number of updates already made and W the warm-up steps, the step size of the next update
is

    η(t) = step_size · min(1, (t + 1)/max(W, 1)) · decay(max(t − W, 0))

so that the first update already moves, the last warm-up update has the full step size, W = 0 and W
= 1 are no warm-up, and decay starts when warm-up ends. With s = max(t − W, 0), the decays are

* ``constant``: 1;
* ``cosine``: f + (1 − f)·½(1 + cos(π·min(1, s/(T − W)))), with T = ``decay_steps`` counted from the
  start and f = ``final_fraction`` (Loshchilov and Hutter 2017, eq. 5, one cycle);
* ``step``: ``decay_rate`` ** floor(s/``decay_every``);
* ``exponential``: ``decay_rate`` ** (s/``decay_every``);
* ``inverse_sqrt``: 1/√(1 + floor(s/``decay_every``)); with ``step_size`` 0.1 and ``decay_every``
  512 that of Nakkiran et al. 2019, appendix B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown
from implicit_bias.ranges import Setting

Kind = Literal["constant", "cosine", "step", "exponential", "inverse_sqrt"]

_FRACTION = Setting("decay_rate", 0.1, minimum=0.0, maximum=1.0, includes_minimum=False)

PARAMETERS: dict[str, tuple[Setting, ...]] = {
    "constant": (),
    "cosine": (
        Setting("decay_steps", 10_000.0, minimum=0.0, includes_minimum=False),
        Setting("final_fraction", 0.0, minimum=0.0, maximum=1.0),
    ),
    "step": (_FRACTION, Setting("decay_every", 1_000.0, minimum=1.0)),
    "exponential": (
        _FRACTION,
        Setting("decay_every", 1_000.0, minimum=0.0, includes_minimum=False),
    ),
    "inverse_sqrt": (Setting("decay_every", 512.0, minimum=1.0),),
}
"""The traced parameters of each kind, with defaults and ranges."""

WARMUP = Setting("warmup_steps", 0.0, minimum=0.0)


@dataclass(frozen=True)
class Schedule:
    """The static part of a step-size schedule; hashable.

    Attributes:
        kind: Name of the decay.
        warmup: Whether there is a linear warm-up; without it, a constant schedule needs no counter.

    Raises:
        UserError: For an unknown kind.
    """

    kind: Kind = "constant"
    warmup: bool = False

    def __post_init__(self) -> None:
        if self.kind not in PARAMETERS:
            raise unknown("step-size schedule", self.kind, PARAMETERS)

    @property
    def is_constant(self) -> bool:
        """Whether the step size is the same at every update."""
        return self.kind == "constant" and not self.warmup

    @property
    def parameters(self) -> tuple[Setting, ...]:
        """The traced parameters beside ``step_size``."""
        return (*PARAMETERS[self.kind], *((WARMUP,) if self.warmup else ()))

    def build(self, settings: Mapping[str, float | jax.Array]) -> Callable[[jax.Array], jax.Array]:
        """Return the step size as a function of the number of updates already made.

        Args:
            settings: ``step_size`` and this schedule's parameters, possibly traced, of one dtype.

        Returns:
            A function from an integer scalar to a scalar of the step size's dtype.
        """
        peak = jnp.asarray(settings["step_size"])
        dtype = peak.dtype

        def step_size(count: jax.Array) -> jax.Array:
            made = jnp.asarray(count).astype(dtype)
            elapsed, rise = made, jnp.ones((), dtype)
            if self.warmup:
                warmup = jnp.asarray(settings["warmup_steps"], dtype)
                rise = jnp.minimum(rise, (made + 1) / jnp.maximum(warmup, 1))
                elapsed = jnp.maximum(made - warmup, 0)
            return peak * rise * self._decay(elapsed, settings)

        return step_size

    def _decay(self, elapsed: jax.Array, settings: Mapping[str, float | jax.Array]) -> jax.Array:
        given = {
            parameter.name: jnp.asarray(settings[parameter.name], elapsed.dtype)
            for parameter in self.parameters
        }
        if self.kind == "cosine":
            # Warm-up counts towards the total, so that decay_steps can be the length of the run.
            length = given["decay_steps"] - given.get("warmup_steps", jnp.zeros_like(elapsed))
            progress = jnp.minimum(elapsed / length, 1)
            floor = given["final_fraction"]
            return floor + (1 - floor) * (0.5 * (1 + jnp.cos(math.pi * progress)))
        if self.kind == "step":
            return given["decay_rate"] ** jnp.floor(elapsed / given["decay_every"])
        if self.kind == "exponential":
            return given["decay_rate"] ** (elapsed / given["decay_every"])
        if self.kind == "inverse_sqrt":
            return (1 + jnp.floor(elapsed / given["decay_every"])) ** -0.5
        return jnp.ones_like(elapsed)

    def validate(self, settings: Mapping[str, float]) -> None:
        """Check what ranges of single numbers cannot say.

        Args:
            settings: Concrete numbers.

        Raises:
            UserError: When a cosine would end before its warm-up does.
        """
        if self.kind == "cosine" and self.warmup:
            total, warmup = settings.get("decay_steps"), settings.get("warmup_steps")
            if total is not None and warmup is not None and total <= warmup:
                raise UserError(
                    f"decay_steps is {total:g}, but warmup_steps is {warmup:g}; "
                    "choose decay_steps > warmup_steps"
                )


def get(spec: object, *, warmup: bool = False) -> Schedule:
    """Find a schedule by name, or return one that is already built.

    Args:
        spec: A name (``names()``) or a ``Schedule``.
        warmup: Whether to add a linear warm-up to a named schedule.

    Returns:
        The schedule.

    Raises:
        UserError: For an unknown name.
    """
    if isinstance(spec, Schedule):
        return spec
    if not isinstance(spec, str) or spec not in PARAMETERS:
        raise unknown("step-size schedule", spec, PARAMETERS)
    return Schedule(spec, warmup)  # type: ignore[arg-type]


def names() -> tuple[str, ...]:
    """Return the names that ``get`` knows."""
    return tuple(sorted(PARAMETERS))
