"""Blocks of parameters: one layer, the weights without the biases, whatever a path tells.

Curvature restricted to a block is the corresponding sub-matrix of the whole curvature: the loss is
differentiated with respect to the block, and all other parameters are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.tree_util import keystr, tree_flatten_with_path

from implicit_bias.arguments import require_function
from implicit_bias.errors import UserError, unknown

Params = Any
Block = None | str | Sequence[str] | Callable[[str], bool]

KINDS: dict[str, tuple[str, ...]] = {
    "weights": ("weight", "weights", "kernel"),
    "biases": ("bias", "biases"),
}


@dataclass(frozen=True)
class Selected:
    """A block of parameters as one flat vector, and the ways back to a tree.

    Attributes:
        flat: The block's parameters, shape (p_block,).
        rebuild: Maps such a vector to a tree like the parameters, in which everything outside the
            block is as it was given: the point at which to evaluate a loss.
        unravel: Maps such a vector to a tree like the parameters, in which everything outside the
            block is zero: a direction, an eigenvector.
        indices: Shape (p_block,), increasing: where the block's numbers stand in the flat vector of
            all parameters. A NumPy array, known when a program is compiled.
        paths: The paths of the block's arrays, in the order of ``flat``.
    """

    flat: jax.Array
    rebuild: Callable[[jax.Array], Params]
    unravel: Callable[[jax.Array], Params]
    indices: np.ndarray
    paths: tuple[str, ...]


def parameter_paths(params: Params) -> tuple[str, ...]:
    """Return the path of each array, such as ``"layer_0/weight"``, in the flat vector's order.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import curvature
        >>> curvature.parameter_paths({"first": {"weight": jnp.zeros((2, 3)), "bias": jnp.zeros(2)}})
        ('first/bias', 'first/weight')
    """
    return tuple(
        keystr(path, simple=True, separator="/") for path, _ in tree_flatten_with_path(params)[0]
    )


def select(params: Params, block: Block = None) -> Selected:
    """Cut a block out of the parameters.

    Args:
        params: Any pytree of arrays; p numbers in all. Those of the block must be floating.
        block: Which arrays belong to the block.

            - ``None``: all.
            - ``"layer_0/weight"`` or ``"layer_0"``: a path, or the beginning of one up to a slash
              (``"layer_1"`` does not mean ``"layer_10"``).
            - ``"weights"``, ``"biases"``: the arrays the last part of whose path is ``weight``,
              ``weights`` or ``kernel``, respectively ``bias`` or ``biases``. These two words go
              before a path of that name.
            - A sequence of such strings: their union. The order does not matter.
            - A function of the path that says whether an array belongs.

    Returns:
        The block; its numbers keep the order they have in the flat vector of all parameters.

    Raises:
        UserError: If a string names nothing, nothing is selected, or the block's parameters are not
            floating.
    """
    leaves, structure = jax.tree.flatten(params)
    paths = parameter_paths(params)
    sizes = [int(np.size(leaf)) for leaf in leaves]
    ends = np.cumsum(sizes, dtype=np.int64)
    chosen = [index for index, taken in enumerate(_membership(paths, block)) if taken]
    for index in chosen:
        kind = jnp.result_type(leaves[index])
        if not jnp.issubdtype(kind, jnp.floating):
            raise UserError(
                f"the parameters {paths[index]!r} have type {kind}; "
                "give floating-point parameters, or choose a block without them"
            )
    if block is None:
        flat, rebuild = ravel_pytree(params)
        unravel = rebuild
    else:
        if sum(sizes[index] for index in chosen) == 0:
            raise UserError(f"the block {_name(block)} is empty; the paths are {', '.join(paths)}")
        flat, pieces = ravel_pytree([leaves[index] for index in chosen])

        def place(vector: jax.Array, others: list[Any]) -> Params:
            placed = list(others)
            for index, piece in zip(chosen, pieces(vector), strict=True):
                placed[index] = piece
            return jax.tree.unflatten(structure, placed)

        def rebuild(vector: jax.Array) -> Params:
            return place(vector, leaves)

        def unravel(vector: jax.Array) -> Params:
            return place(vector, [jnp.zeros_like(leaf) for leaf in leaves])

    indices = [np.arange(ends[index] - sizes[index], ends[index]) for index in chosen]
    return Selected(
        flat,
        rebuild,
        unravel,
        np.concatenate([np.zeros(0, np.int64), *indices]),
        tuple(paths[index] for index in chosen),
    )


def _membership(paths: Sequence[str], block: Block) -> list[bool]:
    """Say of each path whether it belongs to the block."""
    if block is None:
        return [True] * len(paths)
    if callable(block):
        require_function("block", block, ("path",), "whether the array belongs")
        return [bool(block(path)) for path in paths]
    names = [block] if isinstance(block, str) else block
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"block is {block!r}; give a path such as {paths[0]!r}, a list of paths, or a function "
            "of the path"
        )
    found = [[_matches(path, name) for path in paths] for name in names]
    for name, matches in zip(names, found, strict=True):
        if not any(matches) and name not in KINDS:
            raise unknown("block", name, [*paths, *KINDS])
    return [any(of_path) for of_path in zip(*found, strict=True)] if names else [False] * len(paths)


def _matches(path: str, name: str) -> bool:
    if name in KINDS:
        return path.rsplit("/", 1)[-1] in KINDS[name]
    return path == name or path.startswith(f"{name}/")


def _name(block: Block) -> str:
    """Return a block's name for a message."""
    return "given by a function" if callable(block) else repr(block)
