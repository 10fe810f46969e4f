"""What the tests of the flat-minima study share: a toy dataset, and settings of a tiny run."""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.data import Dataset
from implicit_bias.studies.flat_minima.settings import FlatMinimaSettings

FEATURES, CLASSES = 5, 3


def toy() -> Dataset:
    """Eighty images of five pixels, of three classes that differ in brightness; thirty more for tests."""
    rng = np.random.default_rng(0)
    y = (np.arange(110) % CLASSES).astype(np.int32)
    x = np.clip(0.2 * rng.normal(size=(110, FEATURES)) + 0.3 * y[:, None] + 0.2, 0, 1)
    x = x.astype(np.float32)
    return Dataset("toy", "classification", CLASSES, x[:80], y[:80], x[80:], y[80:])


def settings(**changes: Any) -> FlatMinimaSettings:
    """Settings of a tiny run."""
    given: dict[str, Any] = {
        "seeds": 2,
        "arms": ["sgd", "sam"],
        "data": {"n_train": 40, "n_valid": 12, "standardise": "none"},
        "model": {"widths": [4], "activation": "tanh"},
        "small_batch": 8,
        "large_batch": 20,
        "epochs": 2,
        "step_sizes": [0.01, 0.05],
        "strengths": {"sam": [0.05, 0.1]},
        "measure": {"eigenvalues": 2, "max_products": 8, "trace_probes": 2, "adaptive_steps": 1,
                    "adaptive_radii": [0.5], "pgd_steps": 1, "eps": [0.05, 0.1]},
        "poison": {"examples": 12, "extra": 4, "target_loss": 0.5, "step_size": 0.3, "max_updates": 4000},
        "search": {"examples": 4, "width": 3, "guesses": 200, "keep": 2},
        **changes,
    }  # fmt: skip
    return FlatMinimaSettings.model_validate(given)
