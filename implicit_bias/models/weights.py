"""Weights that a user brings, so that any trained network can enter the measurements.

Three layouts are understood, told apart by the names of their arrays:

* this package's own: the very names of the model's parameters, ``layer_0/weight`` or
  ``layer_0.weight``; for an adapted Flax network, the network's own names. Read as they are.
* PyTorch: ``....weight`` of shape (n_out, n_in), as in ``Dense``, and ``....bias``.
* Flax: ``.../kernel`` of shape (n_in, n_out), which is transposed, and ``.../bias``, with or
  without an outer ``params``. Flax numbers layers as they are made: of ``Dense(3)(Dense(8)(x))`` the
  outer one is number 0. Give ``order`` for a network that is written so.

The last two describe a plain network ``h Wᵀ + b``. A ``Dense`` model in another parameterisation
multiplies its weights on the way, so they are divided by that multiplier here: the loaded network
computes what the original did. A PyTorch network whose layers happen to be called ``layer_0``,
``layer_1``, … is taken for this package's own; give ``order`` to have it read as PyTorch's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.models.base import Model, Params, State, abstract_init
from implicit_bias.models.dense import Dense

SUFFIXES: tuple[str, ...] = (".npz", ".msgpack", ".pt", ".pth")


def load_weights(
    model: Model,
    example: jax.Array,
    source: str | Path | Mapping[str, Any],
    *,
    order: Sequence[str] | None = None,
) -> tuple[Params, State]:
    """Turn weights from elsewhere into a model's parameters.

    Args:
        model: The model that will use them: a ``Dense`` for Flax and PyTorch layouts, any model for
            its own layout.
        example: One input without the batch axis; parameters take its dtype.
        source: An ``.npz`` file, a Flax ``.msgpack`` file, a PyTorch ``.pt`` or ``.pth`` file
            holding a state dict (needs PyTorch), or a mapping, nested or flat, from names to arrays
            or tensors.
        order: Names of the layers from input to output, without ``weight`` or ``kernel``. By
            default PyTorch layers come in their stored order and Flax layers in the order of the
            numbers in their names. When given, the weights are not taken for the package's own.

    Returns:
        ``(params, state)``, as ``model.init`` returns them.

    Raises:
        UserError: When the file cannot be read, or names, shapes or values do not fit.
    """
    found = _flatten(_read(source) if isinstance(source, str | Path) else source)
    found = {name: _as_array(name, value) for name, value in found.items()}
    if not found:
        raise UserError("the weights hold no arrays; give names and arrays, e.g. a state dict")
    blank_params, blank_state = abstract_init(model, example)
    wanted = _flatten(blank_params)
    wanted_state = _flatten(blank_state)
    own = {_strip(name): value for name, value in found.items()}
    if order is None and set(wanted) <= set(own):
        params = _fill(blank_params, wanted, own)
        missing = set(wanted_state) - set(own)
        if missing:
            raise UserError(
                f"the weights lack {min(missing)!r}, part of the model's state; add it to the file"
            )
        _reject_extra(set(own) - set(wanted) - set(wanted_state))
        return params, _fill(blank_state, wanted_state, own)
    if not isinstance(model, Dense):
        absent = sorted(set(wanted) - set(own))
        raise UserError(
            f"the weights lack {absent[0]!r}, which the model needs (found: {_some(own)}); "
            "give the model's own parameter names"
        )
    return _from_layers(model, example, found, wanted, order), {}


def _from_layers(
    model: Dense,
    example: jax.Array,
    found: dict[str, np.ndarray],
    wanted: dict[str, Any],
    order: Sequence[str] | None,
) -> Params:
    """Match a Flax or PyTorch network layer by layer."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, value in found.items():
        prefix, _, leaf = name.rpartition("/")
        if leaf not in ("weight", "kernel", "bias"):
            raise UserError(
                f"the weights have {name!r}, but a dense network has only kernels, or weights, "
                "and biases; remove it, or use the model it belongs to"
            )
        groups.setdefault(prefix, {})[leaf] = value
    names = _ordered(groups, order)
    if len(names) != model.depth:
        raise UserError(
            f"the weights have {len(names)} layers ({_some(names)}), but the model has "
            f"{model.depth}; choose widths to match"
        )
    if order is None and _fit(groups, names[::-1], wanted) and not _fit(groups, names, wanted):
        raise UserError(
            f"the layers of the weights fit in the reverse order alone; give order={names[::-1]}"
        )
    params: Params = {}
    multipliers = model.layers(example.size, example.dtype)
    for index, name in enumerate(names):
        group = groups[name]
        flax_layout = "weight" not in group
        leaf = "kernel" if flax_layout else "weight"
        if leaf not in group:
            raise UserError(
                f"layer {name!r} of the weights has a bias but no weight or kernel; add it"
            )
        weight = group[leaf].T if flax_layout else group[leaf]
        target = f"layer_{index}"
        _check_shape(f"{name}/{leaf}", group[leaf], wanted[f"{target}/weight"].shape, flax_layout)
        pieces = {"weight": (weight, float(multipliers[index].weight_multiplier))}
        if model.bias != ("bias" in group):
            has, needs = ("no bias", "has biases") if model.bias else ("a bias", "has none")
            raise UserError(
                f"layer {name!r} of the weights has {has}, but the model {needs}; "
                f"choose bias={not model.bias}"
            )
        if model.bias:
            _check_shape(f"{name}/bias", group["bias"], wanted[f"{target}/bias"].shape, False)
            pieces["bias"] = group["bias"], float(multipliers[index].bias_multiplier)
        params[target] = {
            part: jnp.asarray(value / multiplier, example.dtype)
            for part, (value, multiplier) in pieces.items()
        }
    return params


def _fit(
    groups: Mapping[str, Mapping[str, np.ndarray]], names: Sequence[str], wanted: Mapping[str, Any]
) -> bool:
    """Say whether layers in this order have the shapes of the model's."""
    shapes = [
        groups[name]["weight"].shape
        if "weight" in groups[name]
        else groups[name].get("kernel", np.zeros(())).shape[::-1]
        for name in names
    ]
    return shapes == [wanted[f"layer_{index}/weight"].shape for index in range(len(names))]


def _ordered(groups: Mapping[str, Any], order: Sequence[str] | None) -> list[str]:
    if order is not None:
        names = [name.replace(".", "/") for name in order]
        if sorted(names) != sorted(groups):
            raise UserError(
                f"order names the layers {_some(order)}, but the weights have {_some(groups)}; "
                "name each layer once"
            )
        return names
    if all("weight" in group for group in groups.values()):
        return list(groups)
    return sorted(groups, key=_natural)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort ``Dense_2`` before ``Dense_10``."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _check_shape(
    name: str, value: np.ndarray, shape: tuple[int, ...], transposed: bool = False
) -> None:
    expected = shape[::-1] if transposed else shape
    if value.shape != expected:
        raise UserError(
            f"array {name!r} of the weights has shape {value.shape}, but the model needs "
            f"{expected}; choose widths, outputs and inputs to match"
        )


def _fill(blank: Any, wanted: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> Any:
    """Put arrays in the place of shape records."""
    for name, leaf in wanted.items():
        _check_shape(name, found[name], leaf.shape)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.asarray(found[_path_name(path)], leaf.dtype), blank
    )


def _reject_extra(extra: set[str]) -> None:
    if extra:
        raise UserError(
            f"the weights have {_some(sorted(extra))}, which the model does not; "
            "remove it, or choose the model they belong to"
        )


def _strip(name: str) -> str:
    return name.removeprefix("params/")


def _flatten(tree: Any) -> dict[str, Any]:
    """Flatten nested mappings to ``a/b/c`` names; dots in names become slashes too."""
    flat: dict[str, Any] = {}

    def visit(prefix: str, node: Any) -> None:
        if isinstance(node, Mapping):
            for name, child in node.items():
                visit(f"{prefix}/{name}" if prefix else str(name), child)
        else:
            flat[prefix.replace(".", "/")] = node

    visit("", tree)
    return flat


def _path_name(path: Any) -> str:
    return "/".join(str(step.key) for step in path).replace(".", "/")


def _as_array(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a PyTorch tensor
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" and "float" not in array.dtype.name:
        raise UserError(f"array {name!r} of the weights is not numeric; remove it or convert it")
    if not np.isfinite(array.astype(np.float64)).all():
        raise UserError(
            f"array {name!r} of the weights has values that are not finite; give finite weights"
        )
    return array


def _read(source: str | Path) -> Mapping[str, Any]:
    path = Path(source)
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"weights file {path} has suffix {path.suffix!r}; choose one of {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist; check the path")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        if path.suffix == ".msgpack":
            from flax import serialization

            content = serialization.msgpack_restore(path.read_bytes())
        else:
            content = _read_torch(path)
    except UserError:
        raise
    except Exception as error:  # each library has its own zoo of errors for a damaged file
        raise UserError(
            f"weights file {path} cannot be read as {path.suffix} ({type(error).__name__}); "
            "save it again"
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"weights file {path} holds {type(content).__name__}, not named arrays; "
            "save the state dict"
        )
    return content


def _read_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"reading {path} needs PyTorch; install it, or save the state dict as .npz"
        ) from None
    return torch.load(path, map_location="cpu", weights_only=True)


def _some(names: Any) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:6]) + (" …" if len(listed) > 6 else "")
