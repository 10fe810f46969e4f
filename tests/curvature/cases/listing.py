"""The case list: every *pair* of choices, and not every combination."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

FACTORS: dict[str, tuple[Any, ...]] = {
    "network": ("deep linear", "dense", "residual", "convolution", "attention"),
    "block": (None, "layer_0", "weights", "biases", ("layer_1", "biases")),
    "chunk_size": (None, 1, 3, 50),  # 3 does not divide 7
    "loss": ("squared", "cross_entropy", "logistic"),
    "lanes": ("one", "map", "vmap"),
    "linearize": (True, False),
    "weighted": (False, True),
    "dtype": ("float64", "float32"),
}


@dataclass(frozen=True)
class Case:
    """One choice of everything."""

    network: str
    block: Any
    chunk_size: int | None
    loss: str
    lanes: str
    linearize: bool
    weighted: bool
    dtype: str

    def __str__(self) -> str:
        return "-".join(str(getattr(self, name)).replace(" ", "_") for name in FACTORS)


def _pairs(levels: tuple[int, ...]) -> set[tuple[int, int, int, int]]:
    """Return the pairs (factor, level, factor, level) that a row of levels covers."""
    return {(i, levels[i], j, levels[j]) for i, j in itertools.combinations(range(len(levels)), 2)}


def all_pairs() -> set[tuple[int, int, int, int]]:
    """Return all pairs there are."""
    sizes = [len(values) for values in FACTORS.values()]
    return {
        (i, a, j, b)
        for i, j in itertools.combinations(range(len(sizes)), 2)
        for a in range(sizes[i])
        for b in range(sizes[j])
    }


def _rows() -> Iterator[tuple[int, ...]]:
    """Cover all pairs: start each row from an open pair, fill it greedily, keep the best of some."""
    rng = np.random.default_rng(4)  # of the first forty, none needs fewer rows
    sizes = [len(values) for values in FACTORS.values()]
    missing = all_pairs()
    while missing:
        candidates = []
        for _ in range(20):
            i, a, j, b = sorted(missing)[rng.integers(len(missing))]
            row = {i: a, j: b}
            for factor in rng.permutation(len(sizes)):
                if factor not in row:
                    gains = [
                        sum(
                            ((factor, level, g, v) if factor < g else (g, v, factor, level))
                            in missing
                            for g, v in row.items()
                        )
                        for level in range(sizes[factor])
                    ]
                    best = np.flatnonzero(np.array(gains) == max(gains))
                    row[int(factor)] = int(rng.choice(best))
            candidates.append(tuple(row[factor] for factor in range(len(sizes))))
        chosen = max(candidates, key=lambda row: len(_pairs(row) & missing))
        missing -= _pairs(chosen)
        yield chosen


def pairs(case: Case) -> set[tuple[int, int, int, int]]:
    """Return the pairs that a case covers."""
    return _pairs(tuple(values.index(getattr(case, name)) for name, values in FACTORS.items()))


CASES = [
    Case(**{name: FACTORS[name][level] for name, level in zip(FACTORS, row, strict=True)})
    for row in _rows()
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
