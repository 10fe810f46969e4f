"""The networks of the double-descent study: places of peaks, rules on planted results, refusals, one run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.data import load
from implicit_bias.errors import UserError
from implicit_bias.results.claims import Finding, NotDecidable, evaluate
from implicit_bias.studies import runner
from implicit_bias.studies.double_descent import STUDY, DoubleDescentSettings
from implicit_bias.studies.double_descent.arms import lanes, parameters, random_features
from implicit_bias.studies.double_descent.claims import NETWORK_CLAIMS
from implicit_bias.studies.double_descent.curves import at, climb, crosswise, peaks, smoothed
from implicit_bias.studies.double_descent.features import RandomFeatures, least_squares
from implicit_bias.studies.double_descent.presentation import NETWORK_DRAWINGS, draw_channels
from implicit_bias.studies.double_descent.rows import threshold
from implicit_bias.studies.double_descent.rules import batch_effect_across_scale, removed_by_decay
from implicit_bias.studies.double_descent.tables import tables
from implicit_bias.studies.images import pooled
from implicit_bias.training import Pool
from implicit_bias.training.lane import LaneExamples
from implicit_bias.training.measurement import FinishedLane
from tests.studies.panels import assert_readable, curve

SEEDS, TESTS, INPUTS, OUTPUTS, EXAMPLES = 6, 2000, 20, 4, 250
WIDTHS = (5, 10, 20, 40, 80, 160)  # 39.84 have 1,000 parameters
PEAKED, FALLING = (50, 30, 36, 44, 36, 20), (50, 44, 38, 32, 26, 20)


def planted(**changes: Any) -> xr.Dataset:
    """A result with given test errors in per cent, equal but for a little noise of each seed.

    Keys: ``noisy`` and ``clean`` by width; ``decayed``, ``stopped`` and ``joint`` (ensembles) likewise;
    ``time`` along training; ``sharp`` by width; ``ratio`` of λmax of large to small batches, by depth;
    ``features`` test losses without and with ridge; ``samples`` by size.
    """
    given: dict[str, Any] = {
        "noisy": PEAKED, "clean": FALLING, "decayed": FALLING, "stopped": FALLING,
        "joint": (50, 29, 33, 36, 30, 18), "time": (90, 60, 30, 30, 45, 45, 30, 30),
        "sharp": (1, 2, 4, 8, 4, 2),
        "ratio": (3.0, 3.0), "features": ((2, 3, 30, 3, 2), (2, 2, 2, 2, 2)), "samples": (40, 30, 45, 20),
        **changes,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    hard = rng.random(TESTS)
    cells: list[dict[str, Any]] = []
    for place, width in enumerate(WIDTHS):
        own = {"hidden_width": width, "batch_size": EXAMPLES, "depth": 1, "examples": EXAMPLES,
               "true_parameters": parameters(width, INPUTS, OUTPUTS, bias=True), "label_noise": 0.2,
               "weight_decay": 0.0, "valid_error": 0.3, "lambda_max": given["sharp"][place]}  # fmt: skip
        cells.append({**own, "arm": "width", "error": given["noisy"][place],
                      "stopped": given["stopped"][place], "joint": given["joint"][place]})  # fmt: skip
        cells.append({**own, "arm": "width", "label_noise": 0.0, "error": given["clean"][place]})
        cells.append({**own, "arm": "decay", "weight_decay": 0.1, "valid_error": 0.2,
                      "error": given["decayed"][place]})  # fmt: skip
        cells.append({**own, "arm": "members", "error": given["noisy"][place]})
    for place, size in enumerate((100, 200, 400, 800)):
        cells.append({**cells[0], "arm": "samples", "hidden_width": 20, "examples": size,
                      "error": given["samples"][place]})  # fmt: skip
    for depth in (1, 2):
        for width in (10, 40):
            for batch in (10, 100):
                sharp = given["ratio"][depth - 1] if batch == 100 else 1.0
                cells.append({**cells[0], "arm": "scaling", "hidden_width": width, "depth": depth,
                              "batch_size": batch, "lambda_max": sharp, "label_noise": 0.0})  # fmt: skip
    rows = [(cell, seed) for cell in cells for seed in range(SEEDS)]
    n = len(rows) + SEEDS

    def column(name: str, missing: Any = np.nan) -> np.ndarray:
        return np.asarray([cell.get(name, missing) for cell, _ in rows] + [missing] * SEEDS)

    def mistakes(name: str) -> np.ndarray:
        made = np.full((n, TESTS), np.nan)
        for row, (cell, _) in enumerate(rows):
            if name in cell:
                limit = 1 - cell[name] / 100
                made[row] = hard + 0.01 * rng.normal(size=TESTS) > limit
        return made

    wrong, joint = mistakes("error"), mistakes("joint")
    along = np.full((n, len(given["time"])), np.nan)
    along[: len(rows)] = np.asarray(given["time"]) / 100 + 0.002 * rng.normal(
        size=(len(rows), len(given["time"]))
    )
    sharp = column("lambda_max").astype(float) * np.exp(0.02 * rng.normal(size=n))
    losses = np.full((n, 2, 5), np.nan)
    losses[len(rows) :] = np.asarray(given["features"]) * np.exp(
        0.05 * rng.normal(size=(SEEDS, 2, 5))
    )
    error = wrong.mean(axis=1)
    stopped = mistakes("stopped").mean(axis=1)
    lane = {
        "test_error": error, "test_loss": error, "train_error": error / 9, "train_loss": error / 9,
        "lambda_max": sharp, "valid_error": column("valid_error").astype(float), "valid_loss": error,
        "stopped_test_error": stopped, "member_error": error, "ensemble_error": joint.mean(axis=1),
        "feature_examples": np.r_[np.full(len(rows), np.nan), np.full(SEEDS, 100.0)],
        "updates_budget": np.r_[np.full(len(rows), 100), np.zeros(SEEDS)],
    }  # fmt: skip
    coordinates = {
        name: ("lane", column(name).astype(float))
        for name in ("hidden_width", "batch_size", "depth", "examples", "true_parameters", "label_noise",
                     "weight_decay")
    }  # fmt: skip
    return xr.Dataset(
        {
            **{name: ("lane", values) for name, values in lane.items()},
            "diverged": ("lane", np.zeros(n, bool)),
            "test_wrong": (("lane", "test_example"), wrong),
            "log_test_error": (("lane", "probe"), along),
            "log_step": (("lane", "probe"), np.tile(np.arange(8.0), (n, 1))),
            "feature_test_loss": (("lane", "feature_fit", "feature_count"), losses),
            "feature_test_error": (("lane", "feature_fit", "feature_count"), losses / 100),
        },
        {
            "seed": ("lane", [seed for _, seed in rows] + list(range(SEEDS))),
            "arm": ("lane", np.asarray([*column("arm", "")[: len(rows)], *["features"] * SEEDS], object)),
            "output": range(OUTPUTS),
            "feature_count": [25, 50, 100, 200, 400],
            "feature_fit": ["ridgeless", "best ridge"],
            **coordinates,
        },
    )  # fmt: skip


def judged(result: xr.Dataset) -> dict[str, Finding]:
    """Findings by id."""
    return {finding.id: finding for finding in evaluate(NETWORK_CLAIMS, result)}


@pytest.fixture(scope="module")
def usual() -> xr.Dataset:
    """A peak under label noise alone, which all remedies remove."""
    return planted()


def test_threshold_is_where_parameters_equal_numbers_to_fit(usual: xr.Dataset) -> None:
    # Breaks if a bias is forgotten: by hand, 4 + h·(20 + 4 + 1) = 250·4 at h = 39.84; 4,000 examples of MNIST
    # reach the threshold between 50 and 51 units, at the published 50.3.
    assert parameters(3, 2, 1, bias=True) == 3 * 2 + 3 + 3 + 1
    assert parameters(50, 784, 10, bias=True) < 4000 * 10 < parameters(51, 784, 10, bias=True)
    assert threshold(usual) == pytest.approx(39.84)


def test_peak_is_the_highest_climb_and_not_the_highest_point() -> None:
    # Breaks if the peak is the largest value (the start), or the minimum that of the whole curve (the end).
    assert climb(np.asarray([90.0, 30, 32, 50, 40, 10])) == (1, 3)
    assert climb(np.asarray([5.0, 4, 3, 2])) == (3, 3)
    flat = smoothed(np.asarray([[1.0, 1, 1, 1]]))
    np.testing.assert_allclose(flat, 1.0)
    np.testing.assert_allclose(smoothed(np.asarray([4.0, 0, 0])), [8 / 3, 1, 0])
    curves = np.asarray(
        [[9.0, 3, 5, 9, 5, 1], [9, 8, 7, 6, 5, 4], [9, 3, 4, 5, 6, 9], [9, 3, np.nan, 9, 5, 1]]
    )
    np.testing.assert_array_equal(peaks(curves), [3, np.nan, np.nan, np.nan])  # last: none inside


def test_places_of_a_seed_are_those_of_the_others() -> None:
    # Breaks if a seed's own curve has a say in where it is measured.
    curves = np.asarray([[9.0, 3, 5, 9, 5, 1]] * 2 + [[9.0, 8, 7, 1, 30, 1]])
    places = crosswise(curves)
    assert places[2] == (1, 3)
    np.testing.assert_array_equal(at(curves, [1, None, 4]), [3, np.nan, 30])
    assert crosswise(curves[:1]) == [None]


def test_planted_peak_is_conditional_on_noise_and_removed(usual: xr.Dataset) -> None:
    # Breaks if a comparison has the wrong sign, the wrong rows, or the wrong threshold.
    found = judged(usual)
    main = found["johannsen.double-descent"]
    assert main.verdict == "conditional"
    assert "rise to the peak, 0 % noise" in main.condition.partition("Refuted: ")[2]
    assert main.effect == pytest.approx(14, abs=1)
    for name in (
        "threshold",
        "decay",
        "stopping",
        "ensembling",
        "samples",
        "time",
        "features",
        "flatness",
    ):
        assert found[f"double-descent.ctrl.{name}"].verdict == "supported", name
    assert found["double-descent.ctrl.channels"].verdict == "not-decided"
    scaling = found["johannsen.ext.scaling"]
    assert scaling.verdict == "supported"
    assert scaling.effect == pytest.approx(3, rel=0.1)


def test_other_plants_are_refuted_or_not_decided() -> None:
    # Breaks if a rule cannot say no.
    early = planted(noisy=(50, 30, 26, 25, 24, 20), samples=(40, 30, 20, 10),
                    time=(90, 80, 70, 60, 50, 40, 30, 20),
                    sharp=(8, 4, 2, 2, 2, 8), features=((2, 30, 3, 2, 2), (2, 30, 2, 2, 2)))  # fmt: skip
    found = judged(early)
    assert found["johannsen.double-descent"].verdict == "conditional"  # one descent
    assert "rise" in found["johannsen.double-descent"].condition.partition("Refuted: ")[2]
    for name in ("threshold", "decay", "stopping", "ensembling"):
        assert found[f"double-descent.ctrl.{name}"].verdict == "not-decided", name
    assert found["double-descent.ctrl.samples"].verdict == "refuted"
    assert found["double-descent.ctrl.time"].verdict == "conditional"
    assert found["double-descent.ctrl.flatness"].verdict == "refuted"
    assert found["double-descent.ctrl.features"].verdict == "conditional"
    kept = judged(
        planted(decayed=PEAKED, joint=PEAKED, stopped=PEAKED, noisy=PEAKED, ratio=(3.0, 1.0))
    )
    for name in ("decay", "stopping", "ensembling"):
        assert kept[f"double-descent.ctrl.{name}"].verdict == "refuted", name
    assert kept["johannsen.ext.scaling"].verdict == "conditional"
    far = judged(planted(noisy=(30, 44, 30, 26, 24, 20)))  # a peak at a quarter of the prediction
    assert far["double-descent.ctrl.threshold"].verdict == "conditional"


def test_scaling_reports_how_the_ratio_changes() -> None:
    # Breaks if widths and depths are mixed up: the planted ratio falls to a third with depth alone.
    found = batch_effect_across_scale(planted(ratio=(3.0, 1.0)))
    changes = found.details["factor by which the ratio changes"]
    assert changes["of depth, 1 to 2, width 10"][0] == pytest.approx(1 / 3, rel=0.1)
    assert changes["of width, 10 to 40, 1 hidden"][0] == pytest.approx(1, rel=0.1)


def test_arms_that_are_missing_decide_nothing(usual: xr.Dataset) -> None:
    # Breaks if a rule reads rows that are not there.
    with pytest.raises(NotDecidable, match="decay"):
        removed_by_decay(usual.isel(lane=usual["arm"].values != "decay"))


def test_figures_of_planted_results_are_drawn(usual: xr.Dataset) -> None:
    # Breaks if a figure needs what a result need not have.
    for drawing in NETWORK_DRAWINGS:
        if drawing.when(usual):
            assert drawing.draw(usual).axes, drawing.name


def test_channels_are_drawn_where_they_were_planted(usual: xr.Dataset) -> None:
    # Breaks if the figure of channels is that of widths, noises are exchanged, or errors are fractions.
    rows = usual["arm"].values == "width"
    arm = np.where(rows, "channels", np.where(usual["arm"].values == "channels", "other", "width"))
    figure = draw_channels(usual.assign_coords(arm=("lane", arm.astype(object))))
    assert_readable(figure, ("parameters", "test loss", "training loss"))
    capacity = [4 + width * 25 for width in WIDTHS]
    for panel, label, wanted in (
        ("test error (%)", "20 % label noise", PEAKED),
        ("test error (%)", "0 % label noise", FALLING),
        ("training error (%)", "20 % label noise", np.asarray(PEAKED) / 9),
        ("test loss", "0 % label noise", np.asarray(FALLING) / 100),
    ):
        points = curve(figure, label, panel)
        np.testing.assert_allclose(points[:, 0], capacity, rtol=1e-12)
        # 2,000 test examples: a planted rate is met within some 3 standard errors of 1.1 %.
        np.testing.assert_allclose(points[:, 1], wanted, rtol=0.12)
    assert curve(figure, "parameters = n·K", "test loss")[0, 0] == EXAMPLES * OUTPUTS


def test_the_table_of_scaling_has_its_ratios_in_their_rows() -> None:
    # Breaks if batch sizes are exchanged in the ratio, or widths and depths in the rows.
    planted_ratios = planted(ratio=(3.0, 2.0))
    (table,) = [one for one in tables(planted_ratios) if one.columns[0] == "hidden layers"]
    assert table.columns[2:5] == ("λmax, B = 10", "test error, %, B = 10", "training loss, B = 10")
    assert [(row[0], row[1]) for row in table.rows] == [
        ("1", "10"), ("1", "40"), ("2", "10"), ("2", "40"),
    ]  # fmt: skip
    for row, ratio in zip(table.rows, (3.0, 3.0, 2.0, 2.0), strict=True):
        cells = dict(zip(table.columns, row, strict=True))
        for head, value in (
            ("ratio of λmax", ratio),
            ("λmax, B = 100", ratio),
            ("λmax, B = 10", 1.0),
        ):
            assert float(cells[head].split()[0]) == pytest.approx(value, rel=0.08), head
        assert float(cells["test error, %, B = 10"].split()[0]) == pytest.approx(50, abs=3)


def test_lanes_of_other_sweeps_are_those_asked_for() -> None:
    # Breaks if an arm trains on other sizes, batches or updates than the settings say, or counts other
    # parameters: by hand, on 64 inputs and 3 outputs.
    shared = {
        "seeds": 2, "data": {"n_train": 40, "n_valid": 20, "n_test": 30, "classes": [0, 1, 2]},
        "label_noises": [0.0, 0.2], "updates": 30, "probes": 5,
    }  # fmt: skip
    settings = DoubleDescentSettings.model_validate(
        {**shared, "arms": ["samples", "scaling"], "samples": {"width": 7, "sizes": [10, 20, 40, 80]},
         "scaling": {"batch_sizes": [5, 20], "widths": [4, 9], "depths": [1, 2], "epochs": 3,
                     "step_size": 0.03}}
    )  # fmt: skip
    made = lanes(settings, settings.data.load(), None)
    own = [lane for lane in made if lane.tags["arm"] == "samples"]
    assert [(lane.recipe.n_train, lane.seed) for lane in own] == [
        (size, seed) for size in (10, 20, 40, 80) for seed in (0, 1)
    ]
    for lane in own:
        assert lane.recipe.batch_size == lane.recipe.n_train == lane.tags["examples"]
        assert lane.tags["true_parameters"] == 64 * 7 + 7 + 7 * 3 + 3
        assert lane.settings["label_noise"] == 0.2
        assert (lane.budget.updates, lane.recipe.optimizer.name) == (30, "adam")
    own = [lane for lane in made if lane.tags["arm"] == "scaling"]
    found = {
        (lane.tags["depth"], lane.tags["hidden_width"], lane.recipe.batch_size, lane.seed): lane
        for lane in own
    }
    assert len(own) == len(found) == 2 * 2 * 2 * 2
    for (depth, width, batch, _), lane in found.items():
        assert lane.budget.updates == 3 * 40 // batch
        assert lane.settings == {"step_size": 0.03}
        assert lane.recipe.optimizer.name == "sgd"
        between = (width * width + width) * (depth - 1)
        assert lane.tags["true_parameters"] == 64 * width + width + between + width * 3 + 3
    too_few = settings.model_copy(
        update={"samples": settings.samples.model_copy(update={"sizes": (10, 20, 40, 10**4)})}
    )
    with pytest.raises(UserError, match=r"samples\.sizes .*examples left to train on"):
        lanes(too_few, settings.data.load(), None)
    images = DoubleDescentSettings.model_validate(
        {**shared, "arms": ["channels"], "data": {**shared["data"], "flatten": False},
         "channels": {"sizes": [1, 2, 3, 5], "batch_size": 8, "updates": 12, "step_size": 0.2}}
    )  # fmt: skip
    made = lanes(images, images.data.load(), None)
    assert [
        (lane.tags["hidden_width"], lane.settings["label_noise"], lane.seed) for lane in made
    ] == [(k, noise, seed) for k in (1, 2, 3, 5) for noise in (0.0, 0.2) for seed in (0, 1)]
    for lane in made:
        k = lane.tags["hidden_width"]
        assert isinstance(k, int)
        # Images of 8 × 8 points, halved twice: 2 × 2 places of 2k channels are left.
        assert lane.tags["true_parameters"] == (9 + 1) * k + (9 * k + 1) * 2 * k + 8 * k * 3 + 3
        assert (lane.recipe.batch_size, lane.budget.updates) == (8, 12)
        assert lane.settings["step_size"] == 0.2


def test_images_are_averaged_over_squares() -> None:
    # Breaks if rows and columns are mixed up; by hand on the first image.
    whole = load("digits", standardise="none", flatten=False)
    small = pooled(whole, 2)
    assert small.input_shape == (4, 4, 1)
    image = whole.x_train[0, :, :, 0]
    assert small.x_train[0, 1, 2, 0] == pytest.approx(image[2:4, 4:6].mean(), rel=1e-6)
    with pytest.raises(UserError, match=r"data\.pool is 9"):
        pooled(whole, 9)


def test_least_squares_of_minimum_norm_and_ridge() -> None:
    # Breaks if a penalty enters otherwise: against NumPy's pseudo-inverse and the normal equations.
    rng = np.random.default_rng(1)
    for shape in ((6, 4), (4, 6)):
        features, y = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
        free, ridge = least_squares(features, y, (0.0, 0.3))
        np.testing.assert_allclose(free, np.linalg.pinv(features) @ y, atol=1e-12)
        normal = features.T @ features + 0.3 * np.eye(shape[1])
        np.testing.assert_allclose(ridge, np.linalg.solve(normal, features.T @ y), atol=1e-12)


def test_random_features_interpolate_from_as_many_as_examples() -> None:
    # Breaks if features or targets are not those of the lane: training loss vanishes from N = n on.
    rng = np.random.default_rng(2)
    pool = Pool(rng.normal(size=(60, 5)), rng.integers(0, 3, 60), rng.normal(size=(40, 5)),
                rng.integers(0, 3, 40))  # fmt: skip
    examples = LaneExamples(np.arange(20), np.arange(20, 60), rng.integers(0, 3, 20))
    lane = FinishedLane(0, examples, None, None, None)
    found = RandomFeatures((5, 20, 80), (1e-2, 1.0), 3, 0.2)(pool, 0, {"examples": lane})
    fits = found["feature_train_loss"]
    assert fits[0, 0] > 0.01
    assert fits[0, 1:].max() < 1e-12
    assert (fits[1] > fits[0] - 1e-12).all()
    assert found["feature_examples"] == 20
    absent = RandomFeatures((5, 20, 80), (1e-2,), 3, 0.2, present=False)
    assert np.isnan(absent(pool, 0, {})["feature_test_loss"]).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"widths": [3, 6, 10, 14, 20], "control_widths": [6, 7, 10]}, "7 is none"),
        ({"arms": ["decay"]}, "add 'width'"),
        ({"arms": ["width", "channels"]}, "run channels alone"),
        ({"label_noises": [0.2, 1.0]}, "label_noises"),
        ({"data": {"n_train": None, "n_valid": 5}}, "where the threshold lies"),
        ({"data": {"n_train": 50, "n_valid": 0}}, "hold some out"),
        ({"scaling": {"batch_sizes": [200, 20]}}, "the small one first"),
        ({"model": {"widths": [5, 5]}}, "one hidden layer"),
    ],
)
def test_settings_refuse_what_cannot_be_run(given: dict[str, Any], words: str) -> None:
    # Breaks if a mistake is found only after training.
    with pytest.raises(ValueError, match=words):
        DoubleDescentSettings.model_validate(given)


def test_more_features_than_memory_holds_are_refused() -> None:
    # Breaks if networks are trained first, and memory is used up after them.
    settings = DoubleDescentSettings.model_validate(
        {"features": {"ratios": [0.2, 0.5, 1.0, 2.0, 1e9]}, "data": {"n_train": 50, "n_valid": 50}}
    )
    with pytest.raises(UserError, match=r"makes 50000000000 features of .* choose ratios up to"):
        random_features(settings, settings.data.load())


def test_a_small_run_agrees_with_numpy(tmp_path: Any) -> None:
    # Breaks if ensembles, early stopping, errors, λmax or capacities come from other rows than they say.
    settings = DoubleDescentSettings.model_validate(
        {
            "seeds": 2, "dtype": "float64", "arms": ["width", "decay", "members", "features"],
            "data": {"n_train": 30, "n_valid": 20, "n_test": 40, "classes": [0, 1, 2],
                     "standardise": "global"},
            "widths": [1, 2, 3, 4, 5], "control_widths": [2, 3, 4], "label_noises": [0.2], "decays": [0.1],
            "members": 2, "updates": 30, "probes": 6,
            "features": {"ratios": [0.2, 0.5, 1, 2, 4]}, "linear": {"draws": 10, "trials": 3, "tests": 20},
        }
    )  # fmt: skip
    done = runner.run(STUDY, settings, tmp_path / "out", scale="custom")
    result = done.result
    assert "test_outputs" not in result
    width = result.isel(lane=result["arm"].values == "width")
    np.testing.assert_array_equal(
        width["true_parameters"].values, 3 + width["hidden_width"].values * (64 + 3 + 1)
    )
    np.testing.assert_allclose(width["test_error"].values, width["test_wrong"].values.mean(axis=1))
    # The loss is convex in an output: the ensemble's is at most the members' mean.
    joint = np.isfinite(width["ensemble_loss"].values)
    assert joint.sum() == 3 * 2
    for row in np.flatnonzero(joint):
        own = width.isel(lane=row)
        twin = (
            (result["arm"].values == "members")
            & (result["seed"].values == int(own["seed"]))
            & (result["hidden_width"].values == float(own["hidden_width"]))
        )
        other = result.isel(lane=np.flatnonzero(twin)[0])
        assert float(other["test_loss"]) != float(own["test_loss"])
        assert (
            float(own["ensemble_loss"]) <= (float(own["test_loss"]) + float(other["test_loss"])) / 2
        )
        assert float(own["member_error"]) == pytest.approx(
            (float(own["test_error"]) + float(other["test_error"])) / 2
        )
    for row in range(width.sizes["lane"]):
        step = np.flatnonzero(width["log_step"].values[row] == width["stopped_update"].values[row])[
            0
        ]
        errors = width["log_valid_error"].values[row]
        assert errors[step] == np.nanmin(errors)
        assert width["log_test_error"].values[row, step] == width["stopped_test_error"].values[row]
    assert (width["lambda_max"].values > 0).all()
    assert {finding.id for finding in done.presented.findings} == {
        claim.id for claim in STUDY.claims
    }
