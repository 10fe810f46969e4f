"""The networks whose curvature is measured: one hidden ReLU layer, trained on MNIST.

They are trained once, by the engine, and left in a file from which every runner reads them, so that
all measure the same Hessians. Whatever a runner finds it leaves in a file too, to be judged.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.work import CLASSES, FEATURES

BATCH, STEP_SIZE, MOMENTUM = 100, 0.05, 0.9
ORIGINALS = "IMPLICIT_BIAS_TEST_DATA"
"""Environment variable naming a folder whose ``mnist`` holds the four original files."""


@dataclass(frozen=True)
class Problem:
    """Which eigenvalues of which networks are asked for.

    Attributes:
        folder: Where the networks, and what is found, are kept meanwhile.
        examples: Examples n that the loss is averaged over, and trained on.
        hidden: Hidden units H of the 784-H-10 networks.
        networks: How many networks; the first is the one that is measured alone.
        updates: Updates of their training.
        k: How many of the largest eigenvalues.
        tol: Largest residual, relative to the largest eigenvalue.
        probes: Random vectors of the spectral density.
        depth: Lanczos steps from each.
        drawn: Whether to draw the data even where MNIST is present.
    """

    folder: str
    examples: int = 10_000
    hidden: int = 100
    networks: int = 16
    updates: int = 500
    k: int = 5
    tol: float = 1e-3
    probes: int = 2
    depth: int = 100
    drawn: bool = False

    @property
    def dimension(self) -> int:
        """Number of parameters p."""
        return self.hidden * (FEATURES + 1) + CLASSES * (self.hidden + 1)

    def data(self) -> tuple[np.ndarray, np.ndarray, str]:
        """Return inputs (n, 784) float32, labels (n,) int32, and what they are in words."""
        if self.drawn:
            return (*_draw(self.examples), "drawn data (asked for)")
        from implicit_bias import data
        from implicit_bias.errors import UserError

        try:
            mnist = data.load("mnist", n_train=self.examples)
        except UserError:
            originals = Path(os.environ.get(ORIGINALS, "")) / "mnist"
            if not (os.environ.get(ORIGINALS) and originals.is_dir()):
                return (*_draw(self.examples), "drawn data, because MNIST is not prepared here")
            with tempfile.TemporaryDirectory() as cache:
                data.prepare("mnist", originals, cache_dir=cache)
                mnist = data.load("mnist", n_train=self.examples, cache_dir=cache)
        what = f"{mnist.n_train} training images of MNIST, each pixel standardised"
        return np.ascontiguousarray(mnist.x_train), mnist.y_train.astype(np.int32), what

    def save(self, name: str, **arrays: Any) -> None:
        """Leave arrays under a name."""
        np.savez(Path(self.folder) / f"{name}.npz", **arrays)

    def read(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays left under a name."""
        with np.load(Path(self.folder) / f"{name}.npz") as file:
            return {key: file[key] for key in file.files}

    def found(self) -> list[str]:
        """Return the names of the runners that left eigenvectors."""
        return sorted(
            place.stem.removeprefix("found-") for place in Path(self.folder).glob("found-*.npz")
        )


def train(problem: Problem) -> dict[str, float]:
    """Train the networks and save them under ``"networks"``.

    Returns:
        Mean loss and error on the training set, of the first network.
    """
    import jax
    import jax.numpy as jnp

    from implicit_bias import optimizers
    from implicit_bias.data import Dataset
    from implicit_bias.optimizers import schedules
    from implicit_bias.training import Budget, Lane, Recipe, make_plan, train_chunk

    x, y, what = problem.data()
    dataset = Dataset("benchmark", "classification", CLASSES, x, y, x[:1], y[:1])
    recipe = Recipe(
        model=model(problem),
        loss=loss(),
        optimizer=optimizers.get("heavy_ball"),
        schedule=schedules.get("constant"),
        batch_size=min(BATCH, problem.examples),
        n_train=problem.examples,
    )
    settings = {"step_size": STEP_SIZE, "momentum": MOMENTUM}
    lanes = [
        Lane(recipe, seed, settings, Budget(problem.updates)) for seed in range(problem.networks)
    ]
    (program,) = make_plan(lanes, dataset).programs
    trained = [train_chunk(program, chunk, dataset) for chunk in program.chunks]
    weights = jax.tree.map(lambda *parts: np.concatenate(parts), *[part.params for part in trained])
    problem.save(
        "networks", x=x, y=y, what=what,
        w1=weights["layer_0"]["weight"], b1=weights["layer_0"]["bias"],
        w2=weights["layer_1"]["weight"], b2=weights["layer_1"]["bias"],
    )  # fmt: skip
    first = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), weights)
    outputs, _ = model(problem).apply(first, {}, jnp.asarray(x), train=False)
    return {
        "loss": float(recipe.loss.mean(outputs, jnp.asarray(y))),
        "error": float(np.mean(np.argmax(outputs, axis=1) != y)),
    }


def model(problem: Problem) -> Any:
    """Return the networks' architecture, for this package."""
    from implicit_bias.models import Dense

    return Dense(widths=(problem.hidden,), outputs=CLASSES)


def loss() -> Any:
    """Return the loss, for this package."""
    from implicit_bias import losses

    return losses.get("cross_entropy")


def _draw(examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ten clouds around random centres, in MNIST's shapes."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, examples, dtype=np.int32)
    centres = 0.1 * generator.standard_normal((CLASSES, FEATURES), dtype=np.float32)
    noise = generator.standard_normal((examples, FEATURES), dtype=np.float32)
    return centres[labels] + noise, labels
