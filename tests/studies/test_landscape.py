"""The landscape study's small parts, and its rules on planted results."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from implicit_bias import models
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.results.claims import evaluate
from implicit_bias.studies.base import Trials
from implicit_bias.studies.landscape import STUDY
from implicit_bias.studies.landscape.arms import lanes, partners
from implicit_bias.studies.landscape.claims import CLAIMS
from implicit_bias.studies.landscape.derived import barrier, derive, path
from implicit_bias.studies.landscape.plane_drawings import rise_levels
from implicit_bias.studies.landscape.planes import boundary_rise, orthonormal
from implicit_bias.studies.landscape.redrawn import Redrawn
from implicit_bias.studies.landscape.script import Script
from implicit_bias.studies.landscape.settings import LandscapeSettings
from implicit_bias.studies.landscape.special import walk_explained

DATA = Dataset(
    "toy", "classification", 2,
    np.zeros((40, 3), np.float32), (np.arange(40) % 2).astype(np.int32),
    np.zeros((6, 3), np.float32), (np.arange(6) % 2).astype(np.int32),
)  # fmt: skip


# Small parts


def test_the_rise_to_the_boundary_of_a_paraboloid() -> None:
    # Breaks if corners count twice, or the middle is not taken off.
    axis = np.linspace(-2, 2, 5)
    bowl = 7 + np.add.outer(3 * axis**2, axis**2)
    edge = [(a, b) for a in axis for b in axis if max(abs(a), abs(b)) == 2]
    assert len(edge) == 16
    assert boundary_rise(bowl) == pytest.approx(np.mean([3 * a**2 + b**2 for a, b in edge]))
    assert boundary_rise(np.stack([bowl, -bowl])).shape == (2,)


def test_two_directions_become_orthonormal() -> None:
    # Breaks if only one array of the pytree is projected.
    rng = np.random.default_rng(0)
    first, second = ({"a": jnp.asarray(rng.normal(size=3)), "b": jnp.asarray(rng.normal(size=2))}
                     for _ in range(2))  # fmt: skip
    length = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in first.values()))
    first = {name: leaf / length for name, leaf in first.items()}
    one, two = (np.concatenate([tree["a"], tree["b"]]) for tree in orthonormal(first, second))
    np.testing.assert_allclose([one @ one, two @ two, one @ two], [1, 1, 0], atol=1e-12)
    # In their plane: the second is a combination of both that were given.
    given = np.concatenate([second["a"], second["b"]])
    np.testing.assert_allclose(given - (given @ one) * one - (given @ two) * two, 0, atol=1e-12)


def test_a_random_walk_explains_what_its_gram_matrix_says() -> None:
    # Breaks if the number of steps is off by one, or a squared sine is a sine.
    for steps in (3, 7):
        index = np.arange(1, steps + 1)
        values = np.linalg.eigvalsh(np.minimum.outer(index, index).astype(float))[::-1]
        np.testing.assert_allclose(walk_explained(steps), (values / values.sum())[:2], rtol=1e-12)
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(8, 200_000)), axis=0)
    squares = np.linalg.svd(walk - walk[-1], compute_uv=False) ** 2
    np.testing.assert_allclose(walk_explained(7), (squares / squares.sum())[:2], rtol=0.02)


def test_other_initial_weights_of_the_same_network() -> None:
    # Breaks if the draw is the network's own, the function another, or the two share an identity.
    base = models.Dense((4,), 2)
    other = Redrawn(base)
    key, x = jax.random.key(0), jnp.ones((2, 3))
    first, second = (model.init(key, x[0])[0] for model in (base, other))
    assert float(jnp.abs(first["layer_0"]["weight"] - second["layer_0"]["weight"]).min()) > 0
    same = (model.apply(first, {}, x, train=False)[0] for model in (base, other))
    np.testing.assert_array_equal(*same)
    assert other.output_axis == base.output_axis
    assert other.describe() != base.describe()
    third = Redrawn(base, 2).init(key, x[0])[0]
    assert float(jnp.abs(third["layer_0"]["weight"] - second["layer_0"]["weight"]).min()) > 0


def test_the_script_prints_its_centre_everywhere() -> None:
    # Breaks if the draws are in another order than the script's, or what it means is not a quadratic.
    pool: Any = None
    found = Script(grid=5)(pool, 0, {})
    generator = np.random.RandomState(42)
    x = generator.standard_normal((100, 128))
    y = generator.randint(0, 10, 100)
    weights = 0.01 * generator.standard_normal((128, 10))
    other = 0.01 * generator.standard_normal((128, 10))
    for target, size in ((weights, 1e-4), (other, 1e-5)):
        for _ in range(100):
            target -= size * generator.standard_normal((128, 10))
    first = generator.standard_normal((128, 10))
    second = generator.standard_normal((128, 10))
    basis, _ = np.linalg.qr(np.stack([first.ravel(), second.ravel()], axis=1))
    signs = np.sign([basis[:, 0] @ first.ravel(), basis[:, 1] @ second.ravel()])
    v1, v2 = ((basis[:, n] * signs[n]).reshape(128, 10) for n in (0, 1))
    centre = np.mean((x @ weights) ** 2) + np.mean(y.astype(float) ** 2)
    np.testing.assert_allclose(found["printed"][0], centre, rtol=1e-12)
    assert np.ptp(found["printed"], axis=1).max() == 0
    # The plane that is meant, from its Gram matrix.
    parts = [(x @ part).ravel() for part in (weights, v1, v2)]
    gram = np.array([[a @ b for a in parts] for b in parts]) / 1000
    places = [np.array([1, a, b]) for a in np.linspace(-1, 1, 5) for b in np.linspace(-1, 1, 5)]
    plane = [c @ gram @ c + np.mean(y.astype(float) ** 2) for c in places]
    np.testing.assert_allclose(found["true"][0], [min(plane), max(plane)], rtol=1e-12)
    assert found["walked"][0] == pytest.approx(1e-4 * np.sqrt(100 * 1280), rel=0.05)
    assert abs(found["descended"]).max() < 0.01


def test_barriers() -> None:
    # Breaks if the chord is between other ends, or rounding counts.
    t = np.linspace(0, 1, 5)
    values = np.stack([1 + t + 2 * t * (1 - t), 3 - t - t * (1 - t), 0.1 * (1 - t) + 0.1 * t])
    np.testing.assert_allclose(barrier(t, values), [0.5, 0, 0], atol=1e-15)
    assert barrier(t, np.full(5, 0.1))[()] == 0
    assert np.isnan(barrier(t, np.array([0, 1, np.nan, 1, 0])))


def test_levels_of_a_rise_show_small_and_large_ones() -> None:
    # Breaks if a fall below the centre takes all levels, or a plane that never rises raises.
    rise = np.outer(np.linspace(-1, 1, 9), np.linspace(0, 1, 9)) * 0.3
    levels = rise_levels([rise, 10 * rise])
    assert levels[0] == 0
    assert 0 < levels[1] < 0.3 < levels[-1] <= 3
    assert (np.diff(levels) > 0).all()
    assert len(rise_levels([-np.abs(rise)])) > 1
    assert len(rise_levels([0 * rise])) > 1


# Settings and lanes


def test_lanes_share_all_but_what_is_compared() -> None:
    # Breaks if an arm gets another seed, budget or batch than it says.
    settings = LandscapeSettings.model_validate(
        {"seeds": 2, "data": {"n_train": 40}, "model": {"widths": [3]}, "epochs": 4,
         "batches": {"small": 4, "large": 20}, "special": {"stations": [0.5, 2]}}
    )  # fmt: skip
    made = lanes(settings, DATA, None)
    assert [lane.tags["arm"] for lane in made[::2]] == ["small", "large", "scaled", "adam"]
    assert [lane.budget.updates for lane in made[::2]] == [40, 8, 8, 40]
    assert [lane.recipe.batch_size for lane in made[::2]] == [4, 20, 20, 4]
    assert [lane.values["step_size"] for lane in made[::2]] == [0.1, 0.1, 0.8, 0.001]
    others = partners(settings, DATA, None)
    assert [lane.budget.updates for lane in others[::2]] == [40, 5, 20]
    assert isinstance(others[0].recipe.model, Redrawn)
    # Stations are early stops of the arm small, with its own draws.
    assert others[2].recipe == made[0].recipe
    assert others[2].values == made[0].values


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batches": {"small": 64, "large": 64}}, "smaller small"),
        ({"batches": {"step_size": 1.0}}, "larger scaled"),
        ({"planes": {"grid": 10}}, "choose an odd"),
        ({"planes": {"fine_grid": 10}}, "choose an odd"),
        ({"paths": {"points": 4}}, "choose an odd"),
        ({"special": {"stations": [2, 1]}}, "give increasing numbers"),
        ({"epochs": 5}, "stations is .* and epochs is 5;"),
        ({"model": {"widths": []}}, "hidden units are matched"),
        ({"nearby": {"radii": [0.0]}}, "greater than 0"),
    ],
)
def test_bad_settings_are_refused(changes: dict, told: str) -> None:
    # Breaks if a mistake shows only after a run.
    with pytest.raises(ValueError, match=told):
        LandscapeSettings.model_validate(changes)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    # Breaks if large batches are not checked against the data.
    settings = LandscapeSettings.model_validate({"data": {"n_train": 40}})
    with pytest.raises(UserError, match=r"batches.large is 512, .* 40 examples"):
        lanes(settings, DATA, None)


def test_what_is_measured_has_the_same_text_in_every_process() -> None:
    # Breaks if a record holds a function: a run that goes on would measure all again.
    settings = LandscapeSettings.model_validate(
        {"data": {"n_train": 40}, "batches": {"small": 8, "large": 40}}
    )
    assert STUDY.measurement is not None
    records = [STUDY.measurement(settings, DATA)]
    records += [
        stage.experiment(settings, DATA) for stage in STUDY.stages if isinstance(stage, Trials)
    ]
    for record in records:
        assert " at 0x" not in repr(record)


# Rules on planted results

SEEDS = 6
PAIRS = ("batches", "optimisers", "initialisations")


def planted(**changes: Any) -> xr.Dataset:
    """A result like a run's; rises and the like are geometric means over seeds, with a little noise."""
    plan = {
        "rise_raw": {"small": 0.05, "large": 2.0, "scaled": 2.0},
        "rise_filter": {"small": 0.05, "large": 2.0, "scaled": 2.0},
        "curvature": {"small": 0.01, "large": 0.4, "scaled": 0.4},
        "rescaled": {"raw": 1.0, "filter": 1.0},
        "norm": {"small": 5.0, "adam": 10.0},
        "movement": {"small": 0.2, "adam": 0.8},
        "nearby_error": np.zeros((2, 5)),
        "climb": 0.0,
        "swing": 1.2,
        "printed": [[0.0012, 0.1234], [0.0015, 0.8932]],
    } | changes
    rng = np.random.default_rng(0)
    arms = ("small", "large", "scaled", "adam")
    rows = [(arm, "arms", seed) for arm in arms for seed in range(SEEDS)]
    rows += [
        (name, name, seed) for name in ("paths", "matching", "script") for seed in range(SEEDS)
    ]
    n = len(rows)
    arm, stage = (np.array([row[part] for row in rows], object) for part in (0, 1))
    noisy = np.exp(0.02 * rng.normal(size=n))
    per_arm = {
        name: np.array([plan[name].get(one, 1.0) if kind == "arms" else np.nan
                        for one, kind, _ in rows]) * noisy
        for name in ("rise_raw", "rise_filter", "curvature", "norm", "movement")
    }  # fmt: skip
    # On a plane of 3 × 3 points all but the middle are the boundary; the middle is 0.1.
    boundary = np.ones((3, 3))
    boundary[1, 1] = 0

    def plane(name: str) -> np.ndarray:
        return 0.1 + np.broadcast_to(
            (per_arm[name][:, None, None] * boundary[None])[:, None, None], (n, 2, 2, 3, 3)
        )

    fraction = np.linspace(0, 1, 5)
    way = np.full((n, 3, 2, 5), np.nan)
    is_path = stage == "paths"
    # Down to the middle's 1 / swing, and up by the climb at one place.
    shape = 1 - (1 - 1 / plan["swing"]) * np.array([0, 0, 1, 0, 0])
    way[is_path] = 0.1 * shape * noisy[is_path, None, None, None]
    way[is_path, :, 0, 1] += plan["climb"]
    matched = np.where((stage == "matching")[:, None, None, None], 0.1, np.nan) * np.ones((3, 2, 5))
    alpha = np.linspace(-1, 2, 13)
    near = np.where(is_path[:, None, None], np.asarray(plan["nearby_error"], float), np.nan)
    printed = np.where((stage == "script")[:, None, None], np.asarray(plan["printed"]), np.nan)
    own = per_arm["rise_raw"][:, None] * [plan["rescaled"][kind] for kind in ("raw", "filter")]
    own[:, 1] = per_arm["rise_filter"] * plan["rescaled"]["filter"]
    dims = ("lane", "pair", "split", "fraction")
    result = xr.Dataset(
        {
            "plane_raw": (("lane", "split", "slice", "a", "b"), plane("rise_raw")),
            "plane_filter": (("lane", "split", "slice", "u", "v"), plane("rise_filter")),
            "rescaled_rise": (("lane", "kind"), own),
            "parameter_norm": ("lane", per_arm["norm"]),
            "relative_movement": ("lane", per_arm["movement"]),
            "test_loss": ("lane", np.where(stage == "arms", 0.1, np.nan)),
            "test_error": ("lane", np.where(stage == "arms", 0.01, np.nan)),
            "parameters": ("lane", np.where(stage == "arms", 39352.0, np.nan)),
            "curve_loss": (dims, way),
            "curve_error": (dims, way),
            "matched_loss": (dims, matched),
            "matched_error": (dims, matched),
            "straight_loss": (("lane", "pair", "split", "alpha"), np.full((n, 3, 2, 13), 0.1)),
            "straight_error": (("lane", "pair", "split", "alpha"), np.full((n, 3, 2, 13), 0.1)),
            "nearby_error": (("lane", "radius", "point"), near),
            "nearby_loss": (("lane", "radius", "point"), near + 0.5),
            "printed": (("lane", "network", "extreme"), printed),
            "true": (("lane", "network", "extreme"), np.where(np.isnan(printed), np.nan, [1.0, 1.2])),
            "walked": (("lane", "network"), np.ones((n, 2))),
            "target_loss": ("lane", np.full(n, np.nan)),
            "reached_target": ("lane", np.zeros(n, bool)),
            "diverged": ("lane", np.zeros(n, bool)),
        },
        {
            "arm": ("lane", arm),
            "stage": ("lane", stage),
            "seed": ("lane", np.array([row[2] for row in rows])),
            "split": ["train", "test"],
            "kind": ["raw", "filter"],
            "mode": ["larger", "smaller"],
            "pair": list(PAIRS),
            "a": [-5.0, 0.0, 5.0], "b": [-5.0, 0.0, 5.0],
            "u": [-1.0, 0.0, 1.0], "v": [-1.0, 0.0, 1.0],
            "alpha": alpha,
            "fraction": fraction,
            "radius": [0.1, 1.0],
            "network": ["small batch", "large batch"],
            "extreme": ["lowest", "highest"],
        },
    )  # fmt: skip
    modes = per_arm["curvature"][:, None, None, None] * np.array([1.0, 0.5])
    for kind in ("raw", "filter"):
        result[f"plane_curvature_{kind}"] = (
            ("lane", "split", "slice", "mode"), np.broadcast_to(modes, (n, 2, 2, 2)),
        )  # fmt: skip
    return derive(result)


def judged(result: xr.Dataset, alone: str) -> Any:
    """The finding of one claim, judged without the others'."""
    (claim,) = [claim for claim in CLAIMS if claim.id == alone]
    (finding,) = evaluate([claim], result)
    return finding


def test_slices_are_compared_paired_and_in_both_normalisations() -> None:
    # Breaks if a condition is left out, or large and small change places.
    found = judged(planted(), "ch11.C.17")
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(40, rel=0.05)
    assert found.n_seeds == SEEDS
    equal = {"small": 0.05, "large": 2.0, "scaled": 0.05}
    mixed = judged(planted(rise_raw=equal, rise_filter=equal, curvature=equal), "ch11.C.17")
    assert mixed.verdict == "conditional"
    assert "supported: rise, raw, equal step" in mixed.condition
    assert "Refuted: rise, raw, larger step" in mixed.condition
    turned = {"small": 2.0, "large": 0.05, "scaled": 0.05}
    none = judged(planted(rise_raw=turned, rise_filter=turned, curvature=turned), "ch11.C.17")
    assert none.verdict == "refuted"
    assert none.details["parameters"] == 39352


def test_published_rises_within_a_factor_of_two() -> None:
    # Breaks if a rise is compared with the other arm's, or the factor has one side only.
    claim = "ch11.C.17.values"
    assert judged(planted(), claim).verdict == "supported"
    for small, large, verdict in (
        (0.05, 0.5, "refuted"), (0.2, 2.0, "refuted"), (0.01, 2.0, "refuted"),
        (0.05, 4.0, "inconclusive"), (0.08, 1.2, "supported"),
    ):  # fmt: skip
        found = judged(planted(rise_raw={"small": small, "large": large}), claim)
        assert found.verdict == verdict, (small, large)


def test_the_control_of_scale_counts_both_ways() -> None:
    # Breaks if a fall by rescaling counts as no change.
    claim = "ch11.C.17.scale"
    assert judged(planted(), claim).verdict == "supported"
    for factor in (5.0, 0.2):
        found = judged(planted(rescaled={"raw": factor, "filter": 1.0}), claim)
        assert found.verdict == "conditional"
        assert "Refuted: raw" in found.condition
        assert found.details["arms"]["raw"]["effect"] == pytest.approx(5)
    result = planted()
    result["rescaled_rise"] = result["rescaled_rise"] * np.nan
    assert judged(result, claim).verdict == "not-decided"


def test_random_points_count_where_no_example_is_wrong() -> None:
    # Breaks if a small error counts as none, or distances are pooled.
    claim = "ch11.mot.geometry"
    assert judged(planted(), claim).verdict == "supported"
    assert judged(planted(nearby_error=np.full((2, 5), 0.01)), claim).verdict == "refuted"
    near = np.zeros((2, 5))
    near[1] = 0.5
    found = judged(planted(nearby_error=near), claim)
    assert found.verdict == "conditional"
    assert "supported: ‖θ − θ₀‖ = 0.1" in found.condition


def test_paths_and_the_test_loss_along_them() -> None:
    # Breaks if a path may rise, or the test loss of the training set is taken.
    paths, wild = "ch11.mot.geometry.paths", "ch11.mot.geometry.test-loss"
    assert judged(planted(), paths).verdict == "supported"
    assert judged(planted(climb=0.019), paths).verdict == "supported"
    assert judged(planted(climb=0.03), paths).verdict == "refuted"
    assert judged(planted(), wild).verdict == "refuted"
    found = judged(planted(swing=4.0), wild)
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(4, rel=0.01)
    # The climb is in the training loss alone.
    assert judged(planted(climb=1.0), wild).verdict == "refuted"


def test_adam_against_gradient_descent() -> None:
    # Breaks if the ratio is turned round, or norm and distance are one.
    claim = "ch11.mot.geometry.optimizers"
    assert judged(planted(), claim).verdict == "supported"
    found = judged(planted(norm={"small": 5.0, "adam": 5.1}), claim)
    assert found.verdict == "conditional"
    assert "Refuted: ‖θ‖" in found.condition
    same = planted(norm={"small": 5.0, "adam": 5.0}, movement={"small": 0.2, "adam": 0.1})
    assert judged(same, claim).verdict == "refuted"


def test_the_script_is_judged_by_what_it_computes() -> None:
    # Breaks if an average of the four numbers decides.
    claim = "ch11.S.13"
    assert judged(planted(), claim).verdict == "supported"
    other = [[0.0012, 0.1234], [0.0015, 0.9132]]
    assert judged(planted(printed=other), claim).verdict == "refuted"
    constant = judged(planted(printed=[[30.4, 30.4], [30.3, 30.3]]), claim)
    assert constant.verdict == "refuted"
    assert "a range of 0" in constant.reason


def test_what_was_not_run_is_not_decided() -> None:
    # Breaks if a missing arm or experiment raises.
    result = planted()
    kept = result.isel(lane=np.flatnonzero(np.isin(result["arm"].values, ["small", "adam"])))
    findings = {found.id: found.verdict for found in evaluate(CLAIMS, kept)}
    assert findings.pop("ch11.mot.geometry.optimizers") == "supported"
    assert findings.pop("ch11.C.17.scale") == "supported"
    assert set(findings.values()) == {"not-decided"}


def test_diverged_lanes_are_left_out() -> None:
    # Breaks if a diverged lane's loss counts in a pair.
    result = planted()
    lost = (result["arm"].values == "large") & (result["seed"].values == 2)
    result = result.assign(diverged=("lane", lost))
    result["rise_raw"] = result["rise_raw"].where(~result["diverged"])
    found = judged(result, "ch11.C.17")
    assert found.verdict == "supported"
    assert found.n_seeds == SEEDS - 1
    assert judged(result, "ch11.C.17.values").n_seeds == SEEDS - 1


def test_places_of_a_path_lie_between_its_ends() -> None:
    # Breaks if what lies beyond the networks counts as between them.
    places, values = path(planted(), "straight")
    np.testing.assert_allclose(places, np.linspace(0, 1, 5))
    assert values.shape[-1] == 5
