"""The attention study: one small run of all of it against NumPy, its floor, stacks and refusals."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from implicit_bias import losses
from implicit_bias.data import Dataset, markov_chain
from implicit_bias.errors import UserError
from implicit_bias.models import Transformer
from implicit_bias.results import claims as claims_module
from implicit_bias.studies import runner
from implicit_bias.studies.attention import STUDY
from implicit_bias.studies.attention.arms import lanes, measurement
from implicit_bias.studies.attention.collapse import STACKS, Stacks, residual
from implicit_bias.studies.attention.measure import prefix_floor
from implicit_bias.studies.attention.rows import of_few, trained
from implicit_bias.studies.attention.settings import ARMS, AttentionSettings
from implicit_bias.studies.rows import by_seed
from implicit_bias.theory.matrix_rank import effective_rank
from implicit_bias.training import Pool
from implicit_bias.training.lane import LaneExamples
from implicit_bias.training.measurement import FinishedLane

SMALL: dict[str, Any] = {
    "seeds": 2, "dtype": "float64",
    "data": {"pool": 40, "n_train": 20, "n_valid": 8, "n_test": 10, "length": 5, "vocabulary": 3},
    "network": {"depth": 1, "heads": 2, "mlp_ratio": 1}, "width": 4, "widths": [4], "gains": [4],
    "batch_size": 4, "updates": 6, "probes": 4, "probe_set": 3, "top": 2,
    "few": {"n_train": 8, "width": 8, "small": 4, "epochs": 3, "factors": [1, 3]},
    "collapse": {"length": 5, "width": 4, "layers": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    """Run the study, small and in double precision."""
    settings = AttentionSettings.model_validate(SMALL)
    return runner.run(STUDY, settings, tmp_path_factory.mktemp("attention") / "out", scale="custom")


def test_all_arms_are_run_and_judged(done: runner.Run) -> None:
    # Breaks if an arm is lost, a rule crashes on a real result, or a figure cannot be drawn.
    assert set(ARMS) | {"collapse"} == set(np.unique(done.result["arm"].values))
    assert not done.result["diverged"].values.any()
    findings = {f.id: f for f in claims_module.evaluate(STUDY.claims, done.result)}
    assert "not-decided" not in {finding.verdict for finding in findings.values()}
    assert findings["attention.id.rows"].verdict == "supported"
    assert findings["attention.id.beginnings"].verdict == "supported"
    drawn = {path.stem for path in (done.out / "figures").glob("*.png")}
    assert {"layers", "training", "map", "collapse"} <= drawn


def test_starts_are_shared_and_judged_at_their_times(done: runner.Run) -> None:
    # Breaks if arms of a seed begin elsewhere, or the end is taken for the least.
    result = done.result
    np.testing.assert_array_equal(
        trained(result, "rank_before"), by_seed(result, "shuffled", "rank_before")
    )
    assert (trained(result, "rank_before") != by_seed(result, "gain", "rank_before")).all()
    valid, test = (trained(result, f"log_{part}_loss") for part in ("valid", "test"))
    least = np.nanargmin(valid, axis=1)
    np.testing.assert_array_equal(trained(result, "least_test_loss"), test[[0, 1], least])
    np.testing.assert_array_equal(trained(result, "end_test_loss"), test[:, -1])
    np.testing.assert_allclose(
        trained(result, "final_train_loss"), trained(result, "log_train_loss")[:, -1], rtol=1e-10
    )
    assert (of_few(result, "final_train_loss") >= of_few(result, "floor_loss")).all()


def a_lane(dataset: Dataset, model: Transformer) -> FinishedLane:
    """Random parameters as if trained from others, on the first eight sequences."""
    example = jnp.asarray(dataset.x_train[0])
    begun, ended = (jax.jit(model.init)(jax.random.key(n), example, scale=2.0)[0] for n in (0, 1))
    rows = np.arange(8)
    examples = LaneExamples(rows, rows[:0], jnp.asarray(dataset.y_train[:8]))
    return FinishedLane(jnp.uint32(0), examples, ended, {}, begun)


def test_measures_are_those_of_the_matrices() -> None:
    # Breaks if before and after, heads and layers, or the alphabets are exchanged.
    deep = {**SMALL["network"], "depth": 2}
    settings = AttentionSettings.model_validate({**SMALL, "network": deep})
    dataset = markov_chain(20, 10, 5, 3, dtype="float64")
    model = settings.transformer(dataset, 4)
    lane = a_lane(dataset, model)
    pool = Pool(
        *(jnp.asarray(getattr(dataset, n)) for n in ("x_train", "y_train", "x_test", "y_test"))
    )
    loss = losses.get("cross_entropy")
    measure = measurement(settings, dataset)
    found = jax.jit(lambda lane: measure(model, loss, pool, lane))(lane)
    assert set(found) == set(measure.variables)
    for moment, params in (("before", lane.initial), ("after", lane.params)):
        matrices = np.asarray(model.attention(params, {}, pool.x_test[:3]))
        ranks = effective_rank(np.linalg.svd(matrices, compute_uv=False)).mean(axis=(1, 2))
        np.testing.assert_allclose(found[f"rank_{moment}"], ranks, rtol=1e-8)
        near = [matrices[..., i, i - 1 : i + 1].sum(-1) for i in range(2, 5)]
        np.testing.assert_allclose(
            found[f"recent_{moment}"], np.mean(near, axis=0).mean(axis=(1, 2)), rtol=1e-8
        )
    np.testing.assert_allclose(found["map_after"], matrices.mean(axis=1), rtol=1e-10)
    # Another alphabet: the same sequences under other names.
    outputs, _ = model.apply(lane.params, {}, (pool.x_test + 1) % 3, train=False)
    other = loss.mean(outputs, (pool.y_test + 1) % 3)
    np.testing.assert_allclose(found["relabelled_loss"], other, rtol=1e-8)
    assert float(found["bayes_loss"]) == pytest.approx(dataset.provenance["bayes_loss"])
    numbers = sum(leaf.size for leaf in jax.tree.leaves(lane.params))
    assert float(found["per_token"]) == pytest.approx(numbers / 40)


def test_images_are_permuted_by_patches() -> None:
    # Breaks if pixels leave their patch, or examples exchange theirs.
    settings = AttentionSettings.model_validate({**SMALL, "data": {"name": "digits", "n_test": 10}})
    dataset = settings.data.load()
    model = settings.transformer(dataset, 4)
    assert (model.vocabulary, model.causal, model.readout) == (None, False, "mean")
    x = jnp.asarray(dataset.x_test[:3])
    moved = measurement(settings, dataset)._permuted(model, x)
    for one, other in zip(x, moved, strict=True):
        patches = [
            sorted(
                np.asarray(image[i : i + 2, j : j + 2]).tobytes()
                for i in range(0, 8, 2)
                for j in range(0, 8, 2)
            )
            for image in (one, other)
        ]
        assert patches[0] == patches[1]
        assert (one != other).any()
    few = AttentionSettings.model_validate(
        {**SMALL, "arms": ["trained"], "data": {"name": "modular-arithmetic", "n_train": 50}}
    )
    equations = few.data.load()
    assert few.transformer(equations, 4).readout == "last"
    assert len(lanes(few, equations, None)) == 2


def test_no_function_of_the_tokens_so_far_beats_the_floor() -> None:
    # By hand: after "0" come 1, 1 and 2, after "01" come 2 and 0. Breaks if beginnings are forgotten.
    x = jnp.asarray([[0.0, 1], [0, 1], [0, 2], [1, 1]])
    y = jnp.asarray([[1, 2], [1, 0], [2, 2], [1, 1]])
    loss, error = prefix_floor(x, y, 3)
    first, second = -(2 * np.log(2 / 3) + np.log(1 / 3)) / 4, 2 * np.log(2) / 4
    assert float(loss) == pytest.approx((first + second) / 2)
    assert float(error) == pytest.approx(0.25)


def test_stacks_have_their_residuals() -> None:
    # Breaks if the mean is over coordinates, or skips are left out.
    assert residual(np.ones((4, 3))) == pytest.approx(0)
    assert residual(np.array([[1.0, 0], [-1, 0]])) == pytest.approx(1)
    found = Stacks(8, 8, 10).of_seed(0)["residual"]
    alone, _, skips, _ = found
    assert found.shape == (len(STACKS), 11)
    assert alone[-1] < 1e-6 < 0.1 < skips[-1]
    np.testing.assert_array_equal(found[:, 0], found[0, 0])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arms": ["few"]}, "add 'trained'"),
        ({"width": 8}, "add the width to the widths"),
        ({"gains": [1.0]}, "leave out 1"),
        ({"widths": [4, 5]}, "choose widths that heads divide"),
        ({"few": {"factors": [2]}}, "add 1"),
        ({"few": {"width": 8, "small": 8}}, "choose a smaller small one"),
        ({"model": {"name": "dense"}}, "model.name is 'dense'; leave it out"),
        ({"collapse": {"length": 10**6}}, "less than or equal to 1024"),
        ({"data": {"n_valid": 0}}, "validation data"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises((ValidationError, UserError), match=says):
        AttentionSettings.model_validate({**SMALL, **changes})


def test_data_that_do_not_fit_are_refused() -> None:
    # Breaks if a run begins that cannot end.
    few = {**SMALL["few"], "n_train": 33}
    settings = AttentionSettings.model_validate({**SMALL, "few": few})
    with pytest.raises(UserError, match=r"few.n_train is 33, but 32 examples are left"):
        lanes(settings, settings.data.load(), None)
    settings = AttentionSettings.model_validate({**SMALL, "probe_set": 11})
    with pytest.raises(UserError, match="there are 10 test examples"):
        measurement(settings, settings.data.load())
    settings = AttentionSettings.model_validate({**SMALL, "top": 5})
    with pytest.raises(UserError, match="top is 5, but there are 5 positions"):
        measurement(settings, settings.data.load())
    pixels = {**SMALL["data"], "standardise": "pixel"}
    with pytest.raises(UserError, match=r"data.standardise is 'pixel'"):
        AttentionSettings.model_validate({**SMALL, "data": pixels}).data.load()
