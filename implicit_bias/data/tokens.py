"""Sequences of tokens: Markov chains, modular arithmetic and text, for models of sequences.

Inputs are numbers of tokens, 0 … vocabulary − 1, held as floating-point numbers, as all inputs are; they
are exact up to 2²⁴ in float32, and models of tokens round them. They are never standardised. Where every
next token is predicted, an example has as many predictions as inputs, and a loss is in nats per token.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from implicit_bias.data.dataset import Dataset
from implicit_bias.errors import UserError, unknown
from implicit_bias.keys import role_generator

_STREAMS = {"transitions": 0, "train": 1, "test": 2, "order": 3}
"""Numbers of the ingredients' generators. Append only: renumbering changes every draw."""

MOST_CONTEXTS = 4096
"""Contexts of a chain, vocabulary to the power of its order; its stationary law is solved densely."""

FLOOR = 0.01
"""Share of the uniform law in each row of transitions, so that every token can follow and the chain mixes."""

LARGEST_FILE = 2**28
"""Bytes of a text; all of it is held in memory."""

Operation = Literal["+", "-", "*", "/"]


def markov_chain(
    n_train: int = 1024,
    n_test: int = 512,
    length: int = 32,
    vocabulary: int = 8,
    *,
    order: int = 2,
    concentration: float = 0.2,
    seed: int = 0,
    dtype: npt.DTypeLike = np.float32,
) -> Dataset:
    """Draw sequences of a stationary Markov chain, of which every next token is to be predicted.

    The law of a token given the ``order`` before it is drawn once, from a Dirichlet distribution, and mixed
    with 1 % of the uniform law; sequences begin in the stationary law. What no predictor can beat is known:
    the mean over predictions of the conditional entropy of the next token given those in view (Cover and
    Thomas 2006, section 4.2), in ``provenance["bayes_loss"]``; from the prediction of token ``order`` + 1
    on that is the entropy rate.

    Args:
        n_train: Training sequences.
        n_test: Test sequences.
        length: Inputs of a sequence, as many as predictions; at least ``order``.
        vocabulary: Number of different tokens, at least 2.
        order: Tokens the next one depends on; 0 draws independent tokens.
        concentration: Parameter of the Dirichlet distribution; small is predictable.
        seed: Seed of everything drawn.
        dtype: Floating-point type of the inputs.

    Returns:
        A classification dataset, inputs (n, length), targets (n, length) shifted by one.

    Raises:
        UserError: A size or the concentration is out of range, or there are too many contexts.
    """
    _whole(1, n_train=n_train, n_test=n_test, length=length)
    _whole(2, vocabulary=vocabulary)
    _whole(0, order=order)
    if not (np.isfinite(concentration) and concentration > 0):
        raise UserError(f"concentration is {concentration!r}; give a number > 0")
    if vocabulary**order > MOST_CONTEXTS:
        raise UserError(
            f"vocabulary is {vocabulary} and order {order}, which make {vocabulary**order} contexts; "
            f"choose at most {MOST_CONTEXTS}"
        )
    if length < order:
        raise UserError(
            f"length is {length}, but order is {order}; choose a length of at least that"
        )
    contexts = vocabulary**order
    rows = _stream(seed, "transitions").dirichlet(np.full(vocabulary, concentration), contexts)
    transitions = (1 - FLOOR) * rows + FLOOR / vocabulary
    stationary = stationary_law(transitions)
    entropies = conditional_entropies(transitions, stationary)
    drawn: dict[str, npt.NDArray[Any]] = {}
    for part, n in (("train", n_train), ("test", n_test)):
        tokens = _walk(_stream(seed, part), transitions, stationary, n, length + 1)
        drawn[f"x_{part}"], drawn[f"y_{part}"] = tokens[:, :-1].astype(np.float64), tokens[:, 1:]
    # The first prediction has one token in view, the next two, and so on; beyond the order no more help.
    bayes = [entropies[min(seen, order)] for seen in range(1, length + 1)]
    settings = {"length": length, "order": order, "concentration": concentration, "seed": seed}
    said = {"entropy_rate": float(entropies[-1]), "bayes_loss": float(np.mean(bayes))}
    return _dataset("markov-chain", vocabulary, vocabulary, drawn, settings, said, dtype)


def modular_arithmetic(
    n_train: int | None = None,
    n_test: int | None = None,
    modulus: int = 23,
    *,
    operation: Operation = "+",
    seed: int = 0,
    dtype: npt.DTypeLike = np.float32,
) -> Dataset:
    """Write equations a ∘ b = c modulo a number; c is to be predicted from the four tokens before it.

    All equations are put in random order; the first are for training, the next for testing, none for both
    (Power et al. 2022, "Grokking", section 2). Tokens 0 … modulus − 1 are numbers, the next two the operation
    and the sign of equality.

    Args:
        n_train: Training equations; None for half of them.
        n_test: Test equations; None for all that are left.
        modulus: The modulus, at least 2; a prime for division.
        operation: ``"+"``, ``"-"``, ``"*"`` or ``"/"``, the last with b ≠ 0.
        seed: Seed of the order.
        dtype: Floating-point type of the inputs.

    Returns:
        A classification dataset, inputs (n, 4), targets (n,).

    Raises:
        UserError: The operation is unknown, the modulus does not fit it, or there are too few equations.
    """
    _whole(2, modulus=modulus)
    operations: dict[str, Callable[[Any, Any], Any]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a * np.array([pow(int(x), -1, modulus) for x in b]),
    }
    if operation not in operations:
        raise unknown("operation", operation, operations)
    if operation == "/" and any(modulus % d == 0 for d in range(2, int(modulus**0.5) + 1)):
        raise UserError(f"modulus is {modulus}, by which not all divide; choose a prime for '/'")
    first, second = (grid.ravel() for grid in np.indices((modulus, modulus)))
    if operation == "/":
        first, second = first[second > 0], second[second > 0]
    results = operations[operation](first, second) % modulus
    signs = np.broadcast_to(np.array([[modulus, modulus + 1]]), (len(first), 2))
    x = np.stack([first, signs[:, 0], second, signs[:, 1]], axis=1).astype(np.float64)
    total = len(x)
    wanted = total // 2 if n_train is None else n_train
    held = total - wanted if n_test is None else n_test
    if n_train is not None or n_test is not None:
        _whole(1, **{k: v for k, v in (("n_train", n_train), ("n_test", n_test)) if v is not None})
    if n_train is None and wanted + held > total:
        raise UserError(
            f"n_test is {held}, but of {total} equations modulo {modulus} {wanted} are for training; "
            f"choose at most {total - wanted}"
        )
    if held < 1 or wanted + held > total:
        raise UserError(
            f"n_train is {wanted} and n_test is {held}, but there are {total} equations modulo "
            f"{modulus}; choose fewer"
        )
    chosen = _stream(seed, "order").permutation(total)
    train, test = chosen[:wanted], chosen[wanted : wanted + held]
    drawn = {"x_train": x[train], "y_train": results[train]}
    drawn |= {"x_test": x[test], "y_test": results[test]}
    settings = {"modulus": modulus, "operation": operation, "seed": seed}
    return _dataset("modular-arithmetic", modulus, modulus + 2, drawn, settings, {}, dtype)


def text(
    path: str | os.PathLike[str],
    length: int = 64,
    *,
    test_fraction: float = 0.1,
    n_train: int | None = None,
    n_test: int | None = None,
    dtype: npt.DTypeLike = np.float32,
) -> Dataset:
    """Read a text file, character by character; every next character is to be predicted.

    The vocabulary is the file's characters in the order of their code points. The end of the file is for
    testing, what is before it for training; both are cut into sequences that do not overlap, and what fills
    none is left out.

    Args:
        path: A text file in UTF-8.
        length: Inputs of a sequence, as many as predictions.
        test_fraction: Part of the characters that is for testing, above 0 and below 1.
        n_train: Keep so many training sequences, the first; None for all.
        n_test: The same for test sequences.
        dtype: Floating-point type of the inputs.

    Returns:
        A classification dataset, inputs (n, length), targets (n, length) shifted by one.

    Raises:
        UserError: The file is missing, empty, no text, too large or too short, or a number is out of range.
    """
    _whole(1, length=length)
    if not 0 < test_fraction < 1:
        raise UserError(f"test_fraction is {test_fraction!r}; give a number between 0 and 1")
    characters = _read(Path(path).expanduser())
    alphabet = sorted(set(characters))
    if len(alphabet) < 2:
        raise UserError(f"the text {path} has one character only, {alphabet[0]!r}; give another")
    codes = np.array([ord(c) for c in alphabet])
    tokens = np.searchsorted(codes, np.frombuffer(characters.encode("utf-32-le"), np.uint32))
    border = len(tokens) - round(test_fraction * len(tokens))
    drawn = {}
    sizes = {"train": n_train, "test": n_test}
    for part, own in (("train", tokens[:border]), ("test", tokens[border:])):
        there = max(0, (len(own) - 1) // length)
        asked_for = sizes[part]
        wanted = there if asked_for is None else asked_for
        if there < 1 or wanted > there:
            asked, fewer = (
                (f"; n_{part} asks for {wanted}", f", a smaller n_{part}")
                if asked_for
                else ("", "")
            )
            raise UserError(
                f"the text {path} has {len(own)} characters for the {part} part, {there} sequences of length "
                f"{length}{asked}; give a longer text{fewer}, a smaller length or another test_fraction"
            )
        _whole(1, **{f"n_{part}": wanted})
        places = np.arange(wanted)[:, None] * length + np.arange(length + 1)[None, :]
        drawn[f"x_{part}"] = own[places[:, :-1]].astype(np.float64)
        drawn[f"y_{part}"] = own[places[:, 1:]]
    settings = {"file": Path(path).name, "length": length, "test_fraction": test_fraction}
    said = {"characters": len(tokens), "alphabet": "".join(alphabet)}
    return _dataset("text", len(alphabet), len(alphabet), drawn, settings, said, dtype)


GENERATORS: dict[str, Callable[..., Dataset]] = {
    "markov-chain": markov_chain,
    "modular-arithmetic": modular_arithmetic,
}
"""What is drawn, by the name that :func:`implicit_bias.data.load` knows it by."""


def stationary_law(transitions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the stationary law of contexts of a chain, all of whose transitions are possible.

    Args:
        transitions: Law of the next token by context, (vocabulary^order, vocabulary); contexts are numbers in
            base ``vocabulary``, the latest token last.

    Returns:
        Shape (vocabulary^order,).
    """
    contexts, vocabulary = transitions.shape
    moves = np.zeros((contexts, contexts))
    here = np.repeat(np.arange(contexts), vocabulary)
    then = (here * vocabulary + np.tile(np.arange(vocabulary), contexts)) % contexts
    np.add.at(moves, (here, then), transitions.ravel())
    # π (M − 1) = 0 with Σ π = 1: one equation is redundant and makes room for the sum.
    system = moves.T - np.eye(contexts)
    system[-1] = 1.0
    right = np.zeros(contexts)
    right[-1] = 1.0
    law = np.maximum(np.linalg.solve(system, right), 0.0)
    found: npt.NDArray[np.float64] = law / law.sum()
    return found


def conditional_entropies(
    transitions: npt.NDArray[np.float64], stationary: npt.NDArray[np.float64]
) -> list[float]:
    """Return the entropy of the next token given the last 0, 1, …, order tokens, in nats.

    Args:
        transitions: As of :func:`stationary_law`.
        stationary: Its result.

    Returns:
        One number for each length of context; the last is the entropy rate.
    """
    vocabulary = transitions.shape[1]
    joint = stationary[:, None] * transitions
    order = round(np.log(len(stationary)) / np.log(vocabulary))
    found = []
    for seen in range(order + 1):
        # Sum out all but the last `seen` tokens of the context, which are the last digits of its number.
        law = joint.reshape(-1, vocabulary**seen, vocabulary).sum(axis=0)
        given = law.sum(axis=1, keepdims=True)
        found.append(float(-np.sum(law * np.log(law / given))))
    return found


def _walk(
    rng: np.random.Generator, transitions: npt.NDArray[np.float64],
    stationary: npt.NDArray[np.float64], n: int, length: int,
) -> npt.NDArray[np.int64]:  # fmt: skip
    """Draw sequences, (n, length), one after another so that more of them leave the first as they are."""
    contexts, vocabulary = transitions.shape
    order = round(np.log(contexts) / np.log(vocabulary))
    uniform = rng.random((n, length + 1))
    context = np.minimum(np.searchsorted(np.cumsum(stationary), uniform[:, 0]), contexts - 1)
    cumulative = np.cumsum(transitions, axis=1)
    tokens = np.zeros((n, order + length), np.int64)
    for place in range(order):
        tokens[:, place] = context // vocabulary ** (order - 1 - place) % vocabulary
    for place in range(length):
        drawn = (cumulative[context] < uniform[:, 1 + place, None]).sum(axis=1)
        tokens[:, order + place] = np.minimum(drawn, vocabulary - 1)
        context = (context * vocabulary + tokens[:, order + place]) % contexts
    return tokens[:, :length] if order else tokens


def _read(path: Path) -> str:
    """Return what a text file holds.

    Raises:
        UserError: It is missing, empty, too large or no text.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise UserError(f"the text {path} has {size} bytes; give at most {LARGEST_FILE}")
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"there is no text file {path}; give the path of one") from error
    except OSError as error:
        said = error.strerror or error
        raise UserError(f"the text {path} cannot be read ({said}); give a text file") from error
    if not raw:
        raise UserError(f"the text {path} is empty; give a file with text")
    try:
        characters = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"the text {path} is not UTF-8 (byte {error.start}); convert it, or give a text file"
        ) from error
    if "\0" in characters:
        raise UserError(f"the text {path} holds zero bytes, as binary files do; give a text file")
    return characters


def _dataset(
    name: str,
    classes: int,
    vocabulary: int,
    drawn: dict[str, Any],
    settings: dict[str, Any],
    said: dict[str, Any],
    dtype: npt.DTypeLike,
) -> Dataset:
    source = "read" if name == "text" else "drawn"
    provenance = {
        "source": f"{source}: {name}",
        "settings": settings,
        "vocabulary": vocabulary,
        **said,
        "numpy": np.__version__,
    }
    y = drawn["y_train"]
    predictions = y.shape[1] if y.ndim == 2 else 1
    if predictions == 1 and y.ndim == 2:
        drawn = {k: v[:, 0] if k[0] == "y" else v for k, v in drawn.items()}
    made = Dataset(
        name=name, task="classification", n_outputs=classes, provenance=provenance,
        predictions=predictions, **drawn,
    )  # fmt: skip
    return made.astype(dtype)


def _stream(seed: int, ingredient: str) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UserError(f"seed is {seed!r}; give a whole number >= 0")
    # A word of its own keeps these apart from the streams of other generators.
    return role_generator(seed, "data", 100 + _STREAMS[ingredient])


def _whole(least: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < least:
            raise UserError(f"{name} is {size!r}; give a whole number >= {least}")
