"""A user's own Flax network, Linen or NNX, as a model of this package.

Flax stays inside this module: the rest of the package sees the two pure functions only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError
from implicit_bias.models.base import Params, Scalar, State, require_floating

# How Linen modules are told that they are training: the argument, and whether it means the
# opposite.
_TRAIN_ARGUMENTS = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
}


@dataclass(frozen=True)
class LinenModel:
    """A Flax Linen module as a model.

    Attributes:
        module: The module; its fields must be hashable. Called as ``module(x)``, or with the train
            argument by keyword.
        name: Name used in descriptions.
        train_argument: Name of the keyword argument that tells the module it is training
            (``train``, ``training``, ``is_training``) or that it is not (``deterministic``,
            ``use_running_average``); ``None`` when it has none.
    """

    module: Any
    name: str
    train_argument: str | None

    @property
    def output_axis(self) -> int:
        """Axis of a kernel that counts output units: the last, as in Flax's own layers."""
        return -1

    def init(
        self, key: jax.Array, example: jax.Array, *, scale: Scalar = 1.0
    ) -> tuple[Params, State]:
        """Draw the module's own initial parameters; see ``Model.init``.

        Parameters and state are converted to the example's dtype. The scale multiplies the
        parameters that have at least two axes (kernels), not biases and normalisation scales. Draws
        are those of the module's own initialisers: they are not prefix-stable.
        """
        require_floating(example)
        keys = _streams(key)
        batch = jnp.zeros((1, *example.shape), example.dtype)
        with _usual_promotion():
            variables = dict(self.module.init(keys, batch, **self._train_keyword(False)))
        params = _scaled(variables.pop("params", {}), example.dtype, scale)
        return params, _cast(variables, example.dtype)

    def apply(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        *,
        train: bool,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        """Evaluate the module; see ``Model.apply``.

        While training, every collection of the state may change; otherwise none does.
        """
        variables = {"params": params, **state}
        keys = None if key is None else _streams(key)
        keyword = self._train_keyword(train)
        with _usual_promotion():
            if not (train and state):
                return self.module.apply(variables, x, rngs=keys, **keyword), state
            outputs, new = self.module.apply(
                variables, x, rngs=keys, mutable=list(state), **keyword
            )
        return outputs, dict(new)

    def describe(self) -> dict[str, Any]:
        """Return the module's name and printed form."""
        return {"architecture": "flax-linen", "name": self.name, "module": str(self.module)}

    def _train_keyword(self, train: bool) -> dict[str, bool]:
        if self.train_argument is None:
            return {}
        opposite = _TRAIN_ARGUMENTS.get(self.train_argument, False)
        return {self.train_argument: train != opposite}


@dataclass(frozen=True)
class NnxModel:
    """A Flax NNX module as a model, through split and merge.

    Attributes:
        factory: Builds the module from ``nnx.Rngs``; called once per ``init``, and once without
            computing anything whenever ``apply`` is traced.
        name: Name used in descriptions.
    """

    factory: Callable[[Any], Any]
    name: str

    @property
    def output_axis(self) -> int:
        """Axis of a kernel that counts output units: the last, as in Flax's own layers."""
        return -1

    def init(
        self, key: jax.Array, example: jax.Array, *, scale: Scalar = 1.0
    ) -> tuple[Params, State]:
        """Draw the module's own initial parameters; see ``LinenModel.init``."""
        from flax import nnx

        require_floating(example)
        with _usual_promotion():
            module = self.factory(nnx.Rngs(key))
        _, params, _, rest = _split(module)
        params = _scaled(nnx.to_pure_dict(params), example.dtype, scale)
        return params, _cast(nnx.to_pure_dict(rest), example.dtype)

    def apply(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        *,
        train: bool,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        """Evaluate the module; see ``Model.apply``.

        The module's own random streams are reseeded from ``key`` at every call.

        Raises:
            UserError: When a module with random streams is trained without a key.
        """
        from flax import nnx

        skeleton = nnx.eval_shape(lambda: self.factory(nnx.Rngs(0)))
        graph, blank_params, blank_streams, blank_rest = _split(skeleton)
        leaves, layout = jax.tree.flatten(blank_streams)
        if leaves and train and key is None:
            raise UserError(
                f"model {self.name!r} draws random numbers while training, but no key was given; "
                "pass key="
            )
        base = jax.random.key(0) if key is None else key
        streams = jax.tree.unflatten(
            layout,
            [
                jax.random.fold_in(base, index)
                if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
                else jnp.zeros(leaf.shape, leaf.dtype)
                for index, leaf in enumerate(leaves)
            ],
        )
        nnx.replace_by_pure_dict(blank_params, params)
        nnx.replace_by_pure_dict(blank_rest, state)
        module = nnx.merge(graph, blank_params, streams, blank_rest)
        if train:
            module.train()
        else:
            module.eval()
        with _usual_promotion():
            outputs = module(x)
        if not train:
            return outputs, state
        return outputs, nnx.to_pure_dict(_split(module)[3])

    def describe(self) -> dict[str, Any]:
        """Return the factory's name."""
        return {"architecture": "flax-nnx", "name": self.name}


def from_flax(
    module: Any, *, name: str | None = None, train_argument: str | None = "auto"
) -> LinenModel | NnxModel:
    """Adapt a Flax network.

    The network must map ``(batch, *features)`` to ``(batch, k)``.

    Args:
        module: A Linen module, or a function ``rngs -> nnx.Module`` (an NNX module class with no
            other arguments is one). Two adapted models are equal, and share compiled programs, when
            their modules are equal: define a factory once, at the top of a file.
        name: Name used in descriptions; the class's or function's by default.
        train_argument: For Linen: see ``LinenModel``; ``"auto"`` looks at the signature of
            ``__call__``.

    Returns:
        A model.

    Raises:
        UserError: When ``module`` is neither, or cannot be hashed.
    """
    from flax import linen, nnx

    if isinstance(module, nnx.Module):
        raise UserError(
            f"the NNX module {type(module).__name__} already holds parameters; give a function "
            f"rngs -> module instead, e.g. lambda rngs: {type(module).__name__}(rngs=rngs)"
        )
    try:
        hash(module)
    except TypeError:
        raise UserError(
            f"{type(module).__name__} has a field that cannot be hashed; use tuples, not lists"
        ) from None
    if isinstance(module, linen.Module):
        if train_argument == "auto":
            parameters = inspect.signature(type(module).__call__).parameters
            train_argument = next((n for n in _TRAIN_ARGUMENTS if n in parameters), None)
        return LinenModel(module, name or type(module).__name__, train_argument)
    if inspect.isclass(module) and issubclass(module, nnx.Module):
        return NnxModel(_ByKeyword(module), name or module.__name__)
    if callable(module) and not inspect.isclass(module):
        return NnxModel(module, name or str(getattr(module, "__name__", "nnx")))
    raise UserError(
        f"{module!r} is not a Flax network; give a Linen module or a function rngs -> NNX module"
    )


@dataclass(frozen=True)
class _ByKeyword:
    """Calls an NNX class with ``rngs`` by keyword, as NNX classes expect."""

    module: type

    def __call__(self, rngs: Any) -> Any:
        return self.module(rngs=rngs)


def _usual_promotion() -> AbstractContextManager[None]:
    """Let a user's network, and Flax, mix dtypes, even where strict promotion is switched on."""
    return jax.numpy_dtype_promotion("standard")


def _split(module: Any) -> tuple[Any, Any, Any, Any]:
    """Take an NNX module apart: graph, parameters, random streams, everything else."""
    from flax import nnx

    parts: Any = nnx.split(module, nnx.Param, nnx.RngState, ...)
    return parts


def _streams(key: jax.Array) -> dict[str, jax.Array]:
    """Give each of Linen's usual random streams its own key."""
    names = ("params", "dropout", "noise")
    return {name: jax.random.fold_in(key, index) for index, name in enumerate(names)}


def _cast(tree: Any, dtype: jax.typing.DTypeLike) -> Any:
    def cast(leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)


def _scaled(params: Any, dtype: jax.typing.DTypeLike, scale: Scalar) -> Any:
    factor = jnp.asarray(scale, dtype)
    return jax.tree.map(
        lambda leaf: factor * leaf if leaf.ndim >= 2 else leaf, _cast(params, dtype)
    )
