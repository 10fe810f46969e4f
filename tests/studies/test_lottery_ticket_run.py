"""One run of the lottery-ticket study against networks pruned and trained in NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import pruning
from implicit_bias.data import Dataset
from implicit_bias.data.batches import epoch_order
from implicit_bias.keys import role_key
from implicit_bias.results.claims import evaluate
from implicit_bias.studies import runner
from implicit_bias.studies.lottery_ticket import STUDY
from implicit_bias.studies.lottery_ticket.claims import CLAIMS
from implicit_bias.studies.lottery_ticket.masks import control_mask, mask_key, scored_mask
from implicit_bias.studies.lottery_ticket.networks import conv_2, small_conv_2
from implicit_bias.studies.lottery_ticket.rows import STABILITY, of_arm
from implicit_bias.studies.lottery_ticket.settings import LotterySettings
from implicit_bias.studies.lottery_ticket.tables import tables
from implicit_bias.studies.rows import by_seed
from implicit_bias.training.lane import LaneInputs, lane_examples

N, BATCH, STEP, EPOCHS, LATE = 30, 10, 0.1, 3, 4
UPDATES = EPOCHS * N // BATCH
SMALL: dict[str, Any] = {
    "seeds": 2, "dtype": "float64", "levels": [0.6, 0.4], "rate": 0.4, "output_rate": 0.2,
    # With two seeds, eight lanes a round: all rounds share a program, late rewinding has its own.
    "arms": ["dense", "ticket", "late-rewinding", "magnitude-at-init", "reinit"],
    "data": {"n_train": N, "n_valid": 20, "n_test": 40, "classes": [0, 1, 2]},
    "model": {"widths": [6], "init": "glorot"}, "protocol": "code", "batch_size": BATCH, "epochs": EPOCHS,
    "score_examples": 10, "evaluate_every": 3, "rewind_step": LATE,
    "stability": {"arms": ["ticket"], "level": 0.4, "points": 3, "examples": 20},
    "curvature": {"examples": 20, "tol": 1e-8, "max_products": 100},
}  # fmt: skip

Weights = list[np.ndarray]
"""First weights and biases, then those of the output layer."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """Run the study, small and in double precision."""
    settings = LotterySettings.model_validate(SMALL)
    return runner.run(STUDY, settings, tmp_path_factory.mktemp("tickets") / "out", scale="custom")


class Oracle:
    """Networks of seed 1, trained and pruned in NumPy."""

    def __init__(self) -> None:
        settings = LotterySettings.model_validate(SMALL)
        data: Dataset = settings.data.load()
        inputs = LaneInputs(np.uint32(1), {"label_noise": 0.0})
        self.model = settings.model.build(3)
        self.example = jnp.asarray(data.x_train[0], jnp.float64)
        drawn = jax.jit(lambda: lane_examples(data, N, 20, inputs))()
        self.orders = {
            copy: [
                np.asarray(epoch_order(self.key("data_order", copy), epoch, N))
                for epoch in range(EPOCHS)
            ]
            for copy in (0, 1)
        }
        self.x = data.x_train[np.asarray(drawn.train)].astype(float)
        self.y = np.eye(3)[np.asarray(drawn.targets)]
        self.x_test, self.y_test = data.x_test.astype(float), data.y_test

    def key(self, role: Any, copy: int = 0) -> jax.Array:
        return role_key(1, role, jnp.uint32(copy))

    def initial(self, copy: int = 0) -> Weights:
        params, _ = self.model.init(self.key("initialisation", copy), self.example)
        return [
            np.asarray(params[f"layer_{i}"][name]) for i in range(2) for name in ("weight", "bias")
        ]

    def outputs(self, params: Weights, x: np.ndarray) -> np.ndarray:
        hidden = np.maximum(x @ params[0].T + params[1], 0)
        return hidden @ params[2].T + params[3]

    def gradient(self, params: Weights, x: np.ndarray, y: np.ndarray) -> Weights:
        """Of the mean cross-entropy."""
        hidden = np.maximum(x @ params[0].T + params[1], 0)
        logits = hidden @ params[2].T + params[3]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        delta = (shares / shares.sum(axis=1, keepdims=True) - y) / len(x)
        back = delta @ params[2] * (hidden > 0)
        return [back.T @ x, back.sum(axis=0), delta.T @ hidden, delta.sum(axis=0)]

    def train(
        self, start: Weights, mask: Weights, first: int = 0, last: int = UPDATES, copy: int = 0
    ) -> Weights:
        """Descend on the batches of a data order, pruned weights at zero."""
        params = [leaf * keep for leaf, keep in zip(start, mask, strict=True)]
        for update in range(first, last):
            order = self.orders[copy][update * BATCH // N]
            rows = order[update * BATCH % N :][:BATCH]
            slope = self.gradient(params, self.x[rows], self.y[rows])
            params = [
                leaf - STEP * keep * own
                for leaf, keep, own in zip(params, mask, slope, strict=True)
            ]
        return params

    def largest(self, params: Weights, scores: Weights, counts: tuple[int, int]) -> Weights:
        """Return the mask of the largest scores of each layer."""
        mask = [np.ones_like(leaf) for leaf in params]
        for place, count in zip((0, 2), counts, strict=True):
            flat = np.zeros(scores[place].size)
            flat[np.argsort(-scores[place].ravel(), kind="stable")[:count]] = 1
            mask[place] = flat.reshape(scores[place].shape)
        return mask

    def error(self, params: Weights) -> float:
        return float(np.mean(self.outputs(params, self.x_test).argmax(axis=1) != self.y_test))

    def sharpness(self, params: Weights, mask: Weights) -> float:
        """Return the largest eigenvalue of the Hessian's surviving rows and columns, by differences."""
        alive = np.concatenate([keep.ravel() for keep in mask]) > 0
        flat = np.concatenate([leaf.ravel() for leaf in params])
        x, y, width = self.x[:20], self.y[:20], 1e-6

        def slope(at: np.ndarray) -> np.ndarray:
            parts, begin = [], 0
            for leaf in params:
                parts.append(at[begin : begin + leaf.size].reshape(leaf.shape))
                begin += leaf.size
            return np.concatenate([own.ravel() for own in self.gradient(parts, x, y)])

        columns = []
        for place in np.flatnonzero(alive):
            step = np.zeros(flat.size)
            step[place] = width
            columns.append((slope(flat + step) - slope(flat - step))[alive] / (2 * width))
        matrix = np.stack(columns)
        return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])


SIZES = (64 * 6, 6 * 3)


def counts(level: float, have: tuple[int, int]) -> tuple[int, int]:
    """Return what two layers keep, the second pruned at half the rate, to the nearest in all."""
    wanted = round(level * sum(SIZES))
    share = (sum(have) - wanted) / (have[0] + have[1] / 2)
    second = have[1] * (1 - share / 2)
    choices = [(wanted - kept, kept) for kept in (int(second), int(second) + 1)]
    return min(choices, key=lambda pair: abs(pair[1] - second))


def distance(first: Weights, second: Weights) -> float:
    return float(np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(first, second, strict=True))))


def test_tickets_and_controls_are_those_written_out(done: runner.Run) -> None:
    # Breaks if a mask, the values it is set back to, what it is drawn from, or a measure is wrong.
    oracle, result = Oracle(), done.result
    whole = [np.ones_like(leaf) for leaf in oracle.initial()]
    initial = oracle.initial()
    dense = oracle.train(initial, whole)
    first, then = counts(0.6, SIZES), counts(0.4, counts(0.6, SIZES))
    mask = oracle.largest(initial, [np.abs(leaf) for leaf in dense], first)
    trained = oracle.train(initial, mask)
    # What is pruned already is zero after training and never comes back.
    second = oracle.largest(initial, [np.abs(leaf) for leaf in trained], then)
    assert all((a <= b).all() for a, b in zip(second, mask, strict=True))
    early = oracle.train(initial, whole, last=LATE)
    late = oracle.train(early, mask, first=LATE)
    late_mask = oracle.largest(initial, [np.abs(leaf) for leaf in late], then)

    def masked(params: Weights, keep: Weights) -> Weights:
        return [leaf * own for leaf, own in zip(params, keep, strict=True)]

    at_init = oracle.largest(initial, [np.abs(leaf) for leaf in initial], then)
    fresh = oracle.initial(1)
    cells = [
        ("dense", 1.0, whole, initial, 0), ("ticket", 0.6, mask, initial, 0),
        ("ticket", 0.4, second, initial, 0), ("late-rewinding", 0.6, mask, early, LATE),
        ("late-rewinding", 0.4, late_mask, early, LATE), ("magnitude-at-init", 0.4, at_init, initial, 0),
        ("reinit", 0.4, second, fresh, 0),
    ]  # fmt: skip
    for arm, level, keep, start, begin in cells:
        ended = oracle.train(start, keep, first=begin)
        row = {
            name: of_arm(result, arm, name, level)[1]
            for name in ("distance", "test_error", "lambda_max", "weights_remaining", "weights_escaped")
        }  # fmt: skip
        assert row["distance"] == pytest.approx(distance(ended, masked(start, keep)), rel=1e-6), arm
        assert row["test_error"] == pytest.approx(oracle.error(ended)), arm
        assert row["lambda_max"] == pytest.approx(oracle.sharpness(ended, keep), rel=1e-4), arm
        assert row["weights_remaining"] == keep[0].sum() + keep[2].sum() == round(level * 402)
        assert row["weights_escaped"] == 0
    # Twice the same network in two orders of examples.
    twin = oracle.train(initial, second, copy=1)
    once = oracle.train(initial, second)
    line = [oracle.error([(1 - t) * a + t * b for a, b in zip(once, twin, strict=True)])
            for t in (0.0, 0.5, 1.0)]  # fmt: skip
    np.testing.assert_allclose(by_seed(result, STABILITY, "line_error")[1, 0, 1], line)
    rise = max(line) - (line[0] + line[2]) / 2
    assert by_seed(result, STABILITY, "instability")[1, 0, 1] == pytest.approx(rise)


def test_every_arm_has_as_many_weights_as_it_says(done: runner.Run) -> None:
    # Breaks if an arm is missing, has other numbers by layer than the ticket, or another level.
    result = done.result
    last = counts(0.4, counts(0.6, SIZES))
    for arm in ("ticket", "late-rewinding", "magnitude-at-init", "reinit"):
        left = of_arm(result, arm, "layer_remaining", 0.4) * SIZES
        np.testing.assert_allclose(left, [last] * 2)
    findings = {one.id: one.verdict for one in evaluate(CLAIMS, result)}
    assert findings["lottery-ticket.ctrl.mask"] == "supported"
    table = tables(result)[0]
    assert table.columns == ("arm", "100 %", "60 %", "40 %")
    assert [row[0] for row in table.rows] == SMALL["arms"]


def test_masks_of_controls_are_what_they_are_called() -> None:
    # Breaks if a control has another layer's numbers, is not random, or is made of the wrong weights.
    settings = LotterySettings.model_validate(SMALL)
    dataset, rng = settings.data.load(), np.random.default_rng(0)
    shapes = {"layer_0": (6, 64), "layer_1": (3, 6)}
    initial, trained = (
        {
            name: {"weight": rng.normal(size=shape), "bias": np.zeros(shape[0])}
            for name, shape in shapes.items()
        }
        for _ in range(2)
    )
    ticket = pruning.prune(pruning.masks.full(initial), initial, {"layer_0": 100, "layer_1": 9})

    def made(arm: str, number: int = 1, level: float = 109 / 402) -> dict[str, np.ndarray]:
        key = mask_key(0, arm, number)
        mask = control_mask(arm, settings, level, ticket, initial, trained, key)
        assert all((mask[name]["bias"] == 1).all() for name in shapes)
        return {name: mask[name]["weight"] for name in shapes}

    own = {name: np.asarray(ticket[name]["weight"]) for name in shapes}
    for arm in ("random-layerwise", "shuffled", "magnitude-at-init", "one-shot"):
        found = made(arm)
        assert [found[name].sum() for name in shapes] == [100, 9]
        assert any((found[name] != own[name]).any() for name in shapes)
    assert all((made("reinit")[name] == own[name]).all() for name in shapes)
    by_unit = made("shuffled")
    np.testing.assert_array_equal(by_unit["layer_0"].sum(axis=1), own["layer_0"].sum(axis=1))
    # Every layer keeps the same part, to a weight: 384 and 18 times 109/402.
    assert sorted(made("random")[name].sum() for name in shapes) == [5, 104]
    assert (made("random")["layer_0"] != made("random", 2)["layer_0"]).any()
    for arm, weights in (("magnitude-at-init", initial), ("one-shot", trained)):
        size = np.abs(weights["layer_0"]["weight"])
        kept = made(arm)["layer_0"] > 0
        assert size[kept].min() > size[~kept].max()
    key = mask_key(0, "snip", 1)
    scored = scored_mask("snip", settings, dataset, 109 / 402, 0, initial, key)
    # Pixels that are always dark have no gradient: SNIP keeps none of their weights.
    dark = np.flatnonzero((dataset.x_train == dataset.x_train[:1]).all(axis=0))
    assert dark.size
    assert scored["layer_0"]["weight"][:, dark].sum() == 0
    assert sum(scored[name]["weight"].sum() for name in shapes) == 109


def test_conv_2_is_as_large_as_published() -> None:
    # Breaks if a layer is missing or pools otherwise. 4.3 million parameters are published; of the small one
    # there are, by hand, those of 3 → 8 → 8 channels and of 16 · 16 · 8 → 64 → 64 → 10 units.
    shape: Any = jax.ShapeDtypeStruct((32, 32, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    for network, published, error in (
        (conv_2(10), 4.3e6, 0.01),
        (small_conv_2(10), 28 * 8 + 73 * 8 + 2049 * 64 + 65 * 64 + 65 * 10, 0),
    ):
        params, _ = jax.eval_shape(network.init, key, shape)
        found = sum(leaf.size for leaf in jax.tree.leaves(params))
        assert found == pytest.approx(published, rel=error, abs=0)
