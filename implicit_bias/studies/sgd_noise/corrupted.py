"""Training labels of which some are wrong: how much each counts for early-stopped SGD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.sgd_noise.draws import generator
from implicit_bias.training.experiment import Variable

FITS: dict[str, str] = {
    "least squares": "a linear model, squared error",
    "network": "two layers of tanh, squared error, both trained",
    "logistic": "a linear model, logistic loss",
    "network, clusterable": "the same network, on clusters that are small beside their distances",
}
"""What is trained."""

CLUSTERS = 4
"""Clusters, of alternating label."""

APART = 3.0
"""Norm of the clusters' centres."""

WITHIN = {"network, clusterable": 0.05}
"""Standard deviation of every coordinate within clusters, by what is trained; one elsewhere, so that clusters
of more inputs than ten overlap and no cluster tells a label. Where it is small neighbours do."""

BATCH = 10
"""Examples of an update, in one order for all runs of a seed."""

CHANGES = {"least squares": 1.0}
SMALL = 1e-6
"""Change of a label whose effect is measured, of a logistic loss of its target in units of a flip: one where
predictions are linear in labels, so that any change gives the derivative to rounding, and small elsewhere,
so that it is the derivative to six digits."""

STEPS = {"least squares": 0.004, "network": 0.01, "logistic": 0.02, "network, clusterable": 0.01}
"""Step sizes."""


@dataclass(frozen=True)
class Corrupted(Drawn):
    """SGD on labels of ±1 of which a share is flipped, stopped where validation on such labels is best.

    Attributes:
        examples: Training examples, a multiple of the batch.
        inputs: Features.
        flipped: Share of labels that are wrong.
        epochs: Epochs; validation chooses one.
        width: Hidden units.
        tests: Clean test examples, and as many for validation.
        draws: Data sets of a seed, of which means are kept.
    """

    examples: int
    inputs: int
    flipped: float
    epochs: int
    width: int
    tests: int
    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        fit = ("fit",)
        return {
            "counts_corrupted": Variable(fit, "1", "norm of the change of all predictions with a wrong "
            "label"),
            "counts_clean": Variable(fit, "1", "the same of a right one"),
            "counts_apart": Variable(fit, "1", "largest difference of a label's effect on predictions "
            "whether "
                                     "labels are wrong or right, relative"),
            "stop_epoch": Variable(fit, "epochs", "where validation is best"),
            "error_stopped": Variable(fit, "%", "clean test error there"),
            "error_end": Variable(fit, "%", "clean test error at the end"),
            "obeyed_stopped": Variable(fit, "%", "wrong training labels that are predicted there"),
            "obeyed_end": Variable(fit, "%", "the same at the end"),
            "share_stopped": Variable(fit, "%", "share of wrong labels in the sum of squared residuals "
            "there"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Models."""
        return {"fit": tuple(FITS)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw data sets and train all models on them."""
        rng = generator(seed, 5)
        found = [self._draw(rng) for _ in range(self.draws)]
        return {name: np.mean([one[name] for one in found], axis=0) for name in self.variables}

    def _draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        centres = rng.standard_normal((CLUSTERS, self.inputs))
        centres *= APART / np.linalg.norm(centres, axis=1, keepdims=True)

        def draw(count: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
            which = np.arange(count) % CLUSTERS
            places = centres[which], rng.standard_normal((count, self.inputs))
            return places, np.where(which % 2 == 0, 1.0, -1.0)

        parts_of, right = draw(self.examples)
        valid_of, valid_right = draw(self.tests)
        test_of, test_right = draw(self.tests)
        wrong = np.zeros(self.examples, bool)
        wrong[rng.permutation(self.examples)[: round(self.flipped * self.examples)]] = True
        labels = np.where(wrong, -right, right)
        valid_labels = np.where(rng.random(self.tests) < self.flipped, -valid_right, valid_right)
        order = np.stack([rng.permutation(self.examples) for _ in range(self.epochs)])
        start = rng.standard_normal((self.inputs + 1, self.width))
        count = self.examples + 2 * self.tests
        parts = np.split(np.arange(count), [self.examples, self.examples + self.tests])
        rows = []
        for fit in FITS:
            x, valid, test = (
                middle + WITHIN.get(fit, 1.0) * away
                for middle, away in (parts_of, valid_of, test_of)
            )
            points = np.concatenate([x, valid, test])
            change = CHANGES.get(fit, SMALL)
            sets = np.concatenate([_changed(labels, change), _changed(right, change)])
            path, base = train(fit, x, sets, order, points, start)
            stop = int(np.argmin(np.mean((base[:, parts[1]] - valid_labels) ** 2, axis=1)))
            effects = [(ends[1:] - ends[0]) / change for ends in np.split(path[stop], 2)]
            counts = np.linalg.norm(effects[0], axis=1)
            apart = np.abs(effects[0] - effects[1]).max() / np.abs(effects[0]).max()
            squares = (base[stop][parts[0]] - labels) ** 2
            rows.append(
                {
                    "counts_corrupted": counts[wrong].mean(),
                    "counts_clean": counts[~wrong].mean(),
                    "counts_apart": apart,
                    "stop_epoch": stop + 1.0,
                    "share_stopped": 100 * squares[wrong].sum() / squares.sum(),
                    **{
                        f"{name}_{when}": 100 * share
                        for when, at in (("stopped", stop), ("end", -1))
                        for name, share in (
                            ("error", np.mean(base[at][parts[2]] * test_right <= 0)),
                            ("obeyed", np.mean(base[at][parts[0]][wrong] * labels[wrong] > 0)),
                        )
                    },
                }
            )
        return {name: np.asarray([row[name] for row in rows]) for name in self.variables}


def _changed(labels: np.ndarray, change: float) -> np.ndarray:
    """Return labels, and labels with each one changed, (examples + 1, examples)."""
    return np.concatenate([labels[None], labels + change * np.eye(len(labels))])


def train(
    fit: str,
    x: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    points: np.ndarray,
    start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Train one model on many sets of labels of the same examples, in the same order.

    Args:
        fit: One of ``FITS``.
        x: Inputs, (m, n).
        labels: Shape (sets, m).
        order: Of examples, (epochs, m).
        points: Where outputs of the first set are wanted, (points, n).
        start: Draw of a network's weights, standard normal, (n + 1, width); linear models begin at zero.

    Returns:
        Outputs after every epoch: of all sets at x, (epochs, sets, m); of the first at points, (epochs,
        points).
    """
    step, sets = STEPS[fit], len(labels)
    found, base = [], []
    network = fit.startswith("network")
    # Its output at first is taken off, so that it begins at zero as the others do.
    first_inner, first_outer = start[:-1] / np.sqrt(x.shape[1]), start[-1] / np.sqrt(start.shape[1])
    inner = np.repeat(first_inner[None], sets, axis=0)
    outer = np.repeat(first_outer[None], sets, axis=0)
    w = np.zeros((sets, x.shape[1]))

    def offset(at: np.ndarray) -> np.ndarray:
        return np.asarray(np.tanh(at @ first_inner) @ first_outer)

    for epoch in order:
        for batch in np.split(epoch, len(epoch) // BATCH):
            part, targets = x[batch], labels[:, batch]
            if network:
                hidden = np.tanh(part @ inner)  # (sets, batch, width)
                left = (hidden @ outer[:, :, None])[:, :, 0] - offset(part) - targets
                back = left[:, :, None] * outer[:, None, :] * (1 - hidden**2)
                outer = outer - step / BATCH * (left[:, None, :] @ hidden)[:, 0]
                inner = inner - step / BATCH * (part.T @ back)
            elif fit == "logistic":
                # −y·s(−yf) of labels ±1 is s(f) − (1 + y)/2, which takes labels between as well.
                left = 1 / (1 + np.exp(-(w @ part.T))) - (1 + targets) / 2
                w = w - step / BATCH * left @ part
            else:
                w = w - step / BATCH * (w @ part.T - targets) @ part
        if network:
            outputs = (np.tanh(x @ inner) @ outer[:, :, None])[:, :, 0] - offset(x)
            base.append(np.tanh(points @ inner[0]) @ outer[0] - offset(points))
        else:
            outputs = w @ x.T
            base.append(w[0] @ points.T)
        found.append(outputs)
    return np.stack(found), np.stack(base)
