"""A user's own Flax network, Linen or NNX, as a model of this package.

Flax stays inside this module: the rest of the package sees the two pure functions only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_key
from implicit_bias.errors import UserError, unknown
from implicit_bias.models.base import Params, Scalar, State, failure_in, require_floating

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
        require_key(key)
        keys = _streams(key)
        batch = jnp.zeros((1, *example.shape), example.dtype)
        with _own_words(self.name, batch):
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
        with _own_words(self.name, x):
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
        require_key(key)
        with _own_words(self.name, example):
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
        with _own_words(self.name, x):
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

    The network must map ``(batch, *features)`` to ``(batch, k)``. Whether it is training is told

    - to a Linen module that has one of the arguments ``train``, ``training``, ``is_training``,
      ``deterministic`` or ``use_running_average``: by that keyword, with or without a default;
    - to a Linen module without any of them: not at all, ``module(x)`` is called both times. Layers
      that differ, such as ``Dropout``, then need their own fixed setting;
    - to an NNX module: by ``module.train()`` and ``module.eval()``, which set every layer. Its
      ``__call__`` takes the inputs alone.

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
        UserError: When ``module`` is neither, cannot be hashed, or its ``__call__`` does not take
            the inputs and the train argument as said above, and nothing else.
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
        elif train_argument is not None and train_argument not in _TRAIN_ARGUMENTS:
            raise unknown("train argument", train_argument, _TRAIN_ARGUMENTS)
        _check_call(type(module), train_argument)
        return LinenModel(module, name or type(module).__name__, train_argument)
    if inspect.isclass(module) and issubclass(module, nnx.Module):
        _check_call(module, None)
        return NnxModel(_ByKeyword(module), name or module.__name__)
    if callable(module) and not inspect.isclass(module):
        return NnxModel(module, name or str(getattr(module, "__name__", "nnx")))
    raise UserError(
        f"{module!r} is not a Flax network; give a Linen module or a function rngs -> NNX module"
    )


def run_with_layer(
    model: LinenModel,
    params: Params,
    state: State,
    x: jax.Array,
    layer: str,
    instead: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Return a submodule's activations, its own or the given ones, and the outputs that follow.

    Args:
        model: An adapted Linen module; it is evaluated, not trained.
        params: Its parameters.
        state: Its state.
        x: Inputs, shape (n, *features).
        layer: The submodule's path, such as ``"block/Dense_0"``.
        instead: What the submodule is to return, or ``None`` for its own.

    Raises:
        UserError: If there is no such submodule, it is called more than once or does not return one
            array, or ``instead`` has another shape.
    """
    from flax import linen

    seen: list[str] = []
    found: list[jax.Array] = []

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        value = call(*args, **kwargs)
        path = "/".join(context.module.path)
        if context.method_name != "__call__" or not path:
            return value
        seen.append(path)
        if path == layer:
            value = replaced(value, instead)
            found.append(value)
        return value

    with linen.intercept_methods(intercept):
        outputs, _ = model.apply(params, state, x, train=False)
    if not found:
        raise unknown("layer", layer, dict.fromkeys(seen))
    if len(found) > 1:
        raise UserError(
            f"layer {layer!r} is called {len(found)} times; choose a layer that is called once"
        )
    return found[0], outputs


def replaced(value: Any, instead: jax.Array | None) -> jax.Array:
    """Return what stands in a layer's place, or its own value.

    Raises:
        UserError: If the value is not one array, or the other has another shape.
    """
    shape = getattr(value, "shape", None)
    if shape is None:
        raise UserError(
            f"the layer returns {type(value).__name__}; choose one that returns an array"
        )
    if instead is not None and jnp.shape(instead) != shape:
        raise UserError(
            f"the activations have shape {jnp.shape(instead)}; give shape {shape}, as the layer's own"
        )
    return value if instead is None else instead


def _check_call(module: type, train_argument: str | None) -> None:
    """Refuse a ``__call__`` that cannot be called as it will be."""
    signature = inspect.signature(module.__call__)
    keyword = {} if train_argument is None else {train_argument: False}
    try:
        signature.bind(None, None, **keyword)
    except TypeError as error:
        called = "module(x)" if train_argument is None else f"module(x, {train_argument}=...)"
        raise UserError(
            f"{module.__name__}.__call__{signature} cannot be called as {called}: {error}; give "
            "defaults to other arguments, and take the train argument by keyword"
        ) from None


@dataclass(frozen=True)
class _ByKeyword:
    """Calls an NNX class with ``rngs`` by keyword, as NNX classes expect."""

    module: type

    def __call__(self, rngs: Any) -> Any:
        return self.module(rngs=rngs)


@contextmanager
def _own_words(name: str, x: jax.Array) -> Iterator[None]:
    """Let a user's network mix dtypes, and say in one line where it fails.

    The line is the layer's own; Flax and JAX put the page around it.
    """
    from flax.errors import FlaxError

    try:
        with _usual_promotion():
            yield
    except UserError:
        raise
    except (TypeError, ValueError, FlaxError) as error:
        if isinstance(error, jax.errors.JAXTypeError):  # a tracer misused: its own text is best
            raise
        raise failure_in(repr(name), x, error) from error


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
