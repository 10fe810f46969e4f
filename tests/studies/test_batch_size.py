"""The batch-size study: what it runs, how it judges, how it is drawn.

Rules and drawings are shown planted results: made from the study's own lanes, put together as the runner
does, with numbers that nobody trained.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias import studies
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.results import figures
from implicit_bias.results.assemble import Row, assemble
from implicit_bias.results.claims import Finding, evaluate
from implicit_bias.results.table import to_text
from implicit_bias.studies.batch_size import STUDY, arms, presentation
from implicit_bias.studies.batch_size.arms import ARMS, TUNING, BatchSizeSettings
from implicit_bias.studies.batch_size.claims import RICH, SMALLEST_GAP, SMALLEST_RATIO
from implicit_bias.studies.settings import DataSettings, ModelSettings
from implicit_bias.training import Lane
from implicit_bias.training.loop import LOGGED

N_TEST, SEEDS = 1000, 5
SIZES = (16, 64, 256)
CLAIMS = {claim.id: claim for claim in STUDY.claims}


def _dataset() -> Dataset:
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(n, 6)).astype(np.float32), rng.integers(0, 3, n).astype(np.int32)

    return Dataset("planted", "classification", 3, *draw(400), *draw(N_TEST))


DATASET = _dataset()


def _settings(**changes: Any) -> BatchSizeSettings:
    values = {
        "seeds": SEEDS,
        "data": DataSettings(n_train=300, n_valid=50),
        "model": ModelSettings(widths=(7, 5)),
        "batch_sizes": SIZES,
        "anchor_batch_size": 64,
        "anchor_step_size": 0.2,
        "epochs": 4,
        "updates": {"batch_sizes": SIZES, "epochs": 3},
        "momentum": {"batch_sizes": SIZES, "step_size": 0.05, "momentum": 0.8, "epochs": 2},
        "matched": {"target_loss": 0.5, "max_epochs": 10, "evaluations_per_epoch": 2},
        "tuning_step_sizes": (0.1, 0.5, 2.0),
        "label_noise": 0.3,
        "probes": 4,
        "curvature": {"directions": 2, "noise_batches": (16, 256)},
    }
    return BatchSizeSettings.model_validate({**values, **changes})


SETTINGS = _settings()


# What is run


def _by_arm(settings: BatchSizeSettings, tuned: float = 0.5) -> dict[str, list[Lane]]:
    """Return every arm's lanes, with one tuned step size throughout."""
    grid = arms.tuning_lanes(settings, DATASET, None)
    earlier = (
        _assembled(settings, [_planted_tuning(lane, tuned) for lane in grid]) if grid else None
    )
    found: dict[str, list[Lane]] = {TUNING: grid} if grid else {}
    for lane in arms.arm_lanes(settings, DATASET, earlier):
        found.setdefault(str(lane.tags["arm"]), []).append(lane)
    return found


def _planted_tuning(lane: Lane, best: float) -> Row:
    error = abs(math.log(lane.values["step_size"] / best)) / 10
    return _row(lane, TUNING, valid_error=error, valid_loss=error)


# Breaks if an arm of the table loses a batch size or a seed, or its step size, optimiser, noise or label
# noise. The table is that of the study's documentation, written out.
def test_arms() -> None:
    fixed, root = [0.2, 0.2, 0.2], [0.1, 0.2, 0.4]
    linear, tuned, heavy = [0.05, 0.2, 0.8], [0.5, 0.5, 0.5], [0.05, 0.05, 0.05]
    table = {
        "epochs-fixed": (fixed, {}), "epochs-sqrt": (root, {}), "epochs-linear": (linear, {}),
        "updates-fixed": (fixed, {}), "updates-sqrt": (root, {}), "updates-linear": (linear, {}),
        "injected-noise": ([None, 0.2, 0.2], {"noise_batch_size": 16}),
        "matched-fixed": (fixed, {}),
        "noisy-labels": ([0.2, None, 0.2], {"label_noise": 0.3}),
        "momentum": (heavy, {"momentum": 0.8}),
        "momentum-long": ([0.05, 0.05, None], {"momentum": 0.8}),
        "momentum-matched": (heavy, {"momentum": 0.8}),
        "tuned": (tuned, {}), "matched-tuned": (tuned, {}),
    }  # fmt: skip
    found = _by_arm(SETTINGS)
    assert list(found) == [TUNING, *table]
    assert set(table) == set(ARMS)
    for arm, (step_sizes, special) in table.items():
        for size, step_size in zip(SIZES, step_sizes, strict=True):
            lanes = [lane for lane in found[arm] if lane.recipe.batch_size == size]
            if step_size is None:
                assert lanes == []
                continue
            assert [lane.seed for lane in lanes] == list(range(SEEDS)), arm
            for lane in lanes:
                values = {"label_noise": 0.0, "weight_decay": 0.0, "init_scale": 1.0, **special}
                assert lane.values["step_size"] == pytest.approx(step_size), arm
                assert {name: lane.values[name] for name in values} == values, arm
                assert lane.recipe.gradient_noise == (arm == "injected-noise")
                assert lane.recipe.optimizer.name == (
                    "heavy_ball" if "momentum" in special else "sgd"
                )
                assert ("momentum" in lane.values) == ("momentum" in special)
                assert (lane.recipe.n_train, lane.recipe.n_valid) == (300, 50)
                assert lane.recipe.sampling == "epoch"
                assert lane.recipe.loss.name == "cross_entropy"
    for lane in found[TUNING]:
        assert lane.recipe.optimizer.name == "sgd"
        assert lane.recipe.n_valid == 50
    grid = {(lane.seed, lane.recipe.batch_size, lane.values["step_size"]) for lane in found[TUNING]}
    assert grid == {(s, b, e) for s in range(SEEDS) for b in SIZES for e in (0.1, 0.5, 2.0)}
    # Arms that need no validation data may do without it.
    assert TUNING not in _by_arm(_settings(arms=("epochs-fixed",)))


# Breaks if a budget is not what its arm says: equal epochs up to the last, smaller batch; equal updates
# really equal, injected noise included; a target loss looked at twice an epoch.
def test_budgets() -> None:
    found = _by_arm(SETTINGS)
    per_epoch = {16: 19, 64: 5, 256: 2}

    def budgets(arm: str) -> dict[int, Any]:
        return {lane.recipe.batch_size: lane.budget for lane in found[arm]}

    for arm in (TUNING, "epochs-fixed", "epochs-sqrt", "epochs-linear", "tuned", "noisy-labels"):
        for size, budget in budgets(arm).items():
            assert (budget.updates, budget.target_loss) == (4 * per_epoch[size], None), arm
    for arm in ("updates-fixed", "updates-sqrt", "updates-linear", "injected-noise"):
        updates = {budget.updates for budget in budgets(arm).values()}
        assert updates == {3 * per_epoch[16]}, arm
    for size, budget in budgets("momentum").items():
        assert budget.updates == 2 * per_epoch[size]
    for size, budget in budgets("momentum-long").items():
        assert budget.updates == 10 * per_epoch[size]
    for arm in ("matched-fixed", "matched-tuned", "momentum-matched"):
        for size, budget in budgets(arm).items():
            every = {16: 10, 64: 2, 256: 1}[size]
            asked = (budget.updates, budget.target_loss, budget.evaluate_every)
            assert asked == (10 * per_epoch[size], 0.5, every), arm
    for lanes in found.values():
        for lane in lanes:
            if lane.budget.target_loss is not None:
                assert lane.probes == (0,)
            else:
                assert lane.probes[-1] == lane.budget.updates
                assert len(lane.probes) <= 5
                assert lane.probes[0] == (0 if lane.tags["arm"] != TUNING else lane.budget.updates)


# Breaks if equal updates may cost more than sixteen times the epochs.
def test_ratio_of_equal_updates_is_capped() -> None:
    for sizes in ((10, 160), (16, 64, 256)):
        assert _settings(updates={"batch_sizes": sizes}).updates.batch_sizes == sizes
    for sizes in ((10, 161), (161, 10), (1, 300)):
        with pytest.raises(ValueError, match="the cap is 16"):
            _settings(updates={"batch_sizes": sizes})


# Breaks if what cannot be compared is accepted.
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms": ("epochs-fixd",)}, "epochs-fixd"),
        ({"batch_sizes": (64, 64)}, "two different batch sizes"),
        ({"momentum": {"batch_sizes": (8, 8)}}, "two different batch sizes"),
        ({"data": DataSettings(n_train=300)}, "set data.n_valid"),
        ({"curvature": {"filter_radii": ()}}, "filter_radii"),
        ({"curvature": {"radii": (1.0, 1.0)}}, "radii"),
        ({"curvature": {"noise_batches": (16, 16)}}, "noise_batches"),
        ({"arms": ("epochs-fixed", "epochs-fixed")}, "name each once"),
        ({"tuning_step_sizes": (0.1, 0.1)}, "name each once"),
        ({"seeds": 0}, "seeds"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_settings_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        _settings(**changes)


# Breaks if a measurement that cannot be made is found out after training.
@pytest.mark.parametrize(
    ("curvature", "told"),
    [({"examples": 301}, "trains on 300"), ({"probe_set": 1001}, "1000 test")],
)
def test_measurement_refused(curvature: dict[str, int], told: str) -> None:
    with pytest.raises(UserError, match=told):
        arms.endpoint(_settings(curvature=curvature), DATASET)
    regression = dataclasses.replace(
        DATASET, task="regression", n_outputs=1,
        y_train=DATASET.x_train[:, :1], y_test=DATASET.x_test[:, :1],
    )  # fmt: skip
    with pytest.raises(UserError, match="is a regression dataset"):
        arms.tuning_lanes(SETTINGS, regression, None)


# Breaks if settings do not reach the measurement, or not the data they are for.
def test_endpoint_settings() -> None:
    made = arms.endpoint(
        _settings(curvature={"examples": 50, "tol": 0.5, "directions": 3}), DATASET
    )
    assert (made.examples, made.n_test, made.tol, made.directions) == (50, N_TEST, 0.5, 3)
    assert arms.endpoint(SETTINGS, DATASET).examples == 300


# Breaks if the tuned step size is not that of the least validation error of its own seed and batch size,
# if a tie is not decided by the validation loss, or a diverged lane (NaN) wins.
def test_tuning() -> None:
    rng = np.random.default_rng(5)
    rows, expected = [], {}
    for lane in arms.tuning_lanes(SETTINGS, DATASET, None):
        key = lane.seed, lane.recipe.batch_size
        error, loss = float(rng.integers(0, 2)) / 10, float(rng.random())
        if lane.values["step_size"] == 2.0 or key == (3, 64):
            error = loss = math.nan
        rows.append(_row(lane, TUNING, valid_error=error, valid_loss=loss))
        if not math.isnan(error):
            expected[key] = min(
                expected.get(key, (9, 9, 9)), (error, loss, lane.values["step_size"])
            )
    result = _assembled(SETTINGS, rows)
    chosen = {key: best[2] for key, best in expected.items()}
    assert len(set(chosen.values())) == 2
    assert arms.tuned_step_sizes(result) == chosen
    lanes = arms.arm_lanes(SETTINGS, DATASET, result)
    for arm in ("tuned", "matched-tuned"):
        found = {(lane.seed, lane.recipe.batch_size): lane.values["step_size"]
                 for lane in lanes if lane.tags["arm"] == arm}  # fmt: skip
        # A seed whose every step size diverged has no tuned lane, instead of a made-up one.
        assert found == chosen
        assert (3, 64) not in found


# Breaks if λ · η forgets that momentum multiplies the step.
def test_derive() -> None:
    result = _planted()
    for arm, factor in (("epochs-fixed", 1), ("momentum", 5)):
        lanes = result.isel(lane=np.flatnonzero(result["arm"].values == arm))
        step = factor * lanes["step_size"].values
        np.testing.assert_allclose(lanes["step_over_batch"], step / lanes["batch_size"].values)
        np.testing.assert_allclose(
            lanes["lambda_max_times_step"], step * lanes["lambda_max"].values, rtol=1e-6
        )


# Planted results


def _row(lane: Lane, stage: str, measured: Mapping[str, Any] | None = None, **logs: float) -> Row:
    """Return a lane as the runner stores it, trained to the end of its budget."""
    stopped = lane.budget.target_loss is not None
    updates = lane.budget.evaluate_every if stopped else lane.budget.updates
    sizes = [6, *lane.recipe.model.widths, 3]
    trained = {
        "updates": updates,
        "diverged": False,
        "reached": stopped,
        "stop_loss": 0.4 if stopped else math.nan,
        "parameters": sum((a + 1) * b for a, b in itertools.pairwise(sizes)),
        "log_steps": np.array(lane.probes),
        **{f"log_{name}": np.full(len(lane.probes), logs.get(name, 0.5)) for name in LOGGED},
    }
    trained = {name: np.asarray(value) for name, value in trained.items()}
    return Row(lane, stage, lane.identity(DATASET.checksum), trained, measured)


def _assembled(settings: BatchSizeSettings, rows: Sequence[Row]) -> xr.Dataset:
    described = {json.dumps(row.lane.recipe.model.describe(), sort_keys=True) for row in rows}
    result = assemble(
        rows,
        arms.endpoint(settings, DATASET),
        logged=LOGGED,
        study=STUDY.name,
        settings={
            **settings.to_json(), "dataset": DATASET.describe(), "models": sorted(described),
        },
        provenance={},
    )  # fmt: skip
    return STUDY.derive(result)


World = Callable[[Lane, np.random.Generator], dict[str, float]]


def _slope(lane: Lane) -> float:
    """0 for the smallest batch, 1 for sixteen times as much; as if noise were its batch size."""
    batch = lane.values.get("noise_batch_size", lane.recipe.batch_size)
    return math.log(batch / 16) / math.log(16)


def better(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Small batches are clearly flatter and better, in the rich regime."""
    slope = _slope(lane)
    return {"sharpness": math.exp(2 * slope + 0.05 * rng.normal()), "error": 0.05 + 0.1 * slope,
            "norm": 1 + slope, "kernel": 0.6 + 0.02 * rng.normal()}  # fmt: skip


def worse(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Small batches are clearly sharper and worse, in the lazy regime."""
    slope = _slope(lane)
    return {"sharpness": math.exp(-2 * slope + 0.05 * rng.normal()), "error": 0.15 - 0.1 * slope,
            "norm": 3 - slope, "kernel": 0.1 + 0.02 * rng.normal()}  # fmt: skip


def equal(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """It makes no difference."""
    return {"sharpness": math.exp(0.01 * rng.normal()), "error": 0.1, "norm": 1.0, "kernel": 0.29}


def noisy(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Seeds differ more than batch sizes may."""
    return {"sharpness": math.exp(2 * rng.normal()), "error": 0.2 * rng.random(),
            "norm": math.exp(rng.normal()), "kernel": 0.3 + 0.2 * rng.normal()}  # fmt: skip


def opposite(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Sharper minima err less."""
    return {**better(lane, rng), "error": 0.15 - 0.1 * _slope(lane)}


def tuning_undoes_it(lane: Lane, rng: np.random.Generator) -> dict[str, float]:
    """Small batches are better until the step size is tuned or the training loss equal."""
    undone = "tuned" in str(lane.tags["arm"]) or "matched" in str(lane.tags["arm"])
    return worse(lane, rng) if undone else better(lane, rng)


def _measured(lane: Lane, world: World, settings: BatchSizeSettings) -> dict[str, np.ndarray]:
    """Return what the measurement of a lane would be in a world."""
    rng = np.random.default_rng(
        [lane.seed, lane.recipe.batch_size, *str(lane.tags["arm"]).encode()]
    )
    said = world(lane, rng)
    sharpness, radii = said["sharpness"], np.array(settings.curvature.filter_radii)
    # Nested sets of examples, so that equal error rates mean equal examples.
    wrong = np.arange(N_TEST) < round(said["error"] * N_TEST)
    count = int(_row(lane, "arms").trained["parameters"])
    trace = 3 * count * sharpness
    absolute = 0.5 * np.array(settings.curvature.radii) ** 2 * trace / count
    values: dict[str, Any] = {
        "train_loss": 0.4, "train_error": 0.05, "valid_loss": 0.5, "valid_error": 0.1,
        "test_loss": 0.5, "test_error": wrong.mean(), "loss_gap": 0.0, "error_gap": 0.0,
        "lambda_max": sharpness, "lambda_max_residual": 1e-4, "lambda_max_products": 20,
        "lambda_max_converged": True, "lambda_max_power": 1.001 * sharpness,
        "lambda_max_power_converged": True, "trace": trace, "trace_standard_error": 0.1,
        "gradient_norm": 0.1, "parameter_norm": said["norm"], "relative_movement": 0.5,
        "kernel_change": said["kernel"],
        "loss_change": np.stack([absolute, absolute]),
        "loss_change_filter": np.stack([radii**2 * sharpness] * 2),
        "batch_covariance_trace": sharpness / np.array(settings.curvature.noise_batches),
        "test_wrong": wrong,
    }  # fmt: skip
    floats = {n: np.asarray(v) for n, v in values.items()}
    return {n: v.astype(np.float32) if v.dtype.kind == "f" else v for n, v in floats.items()}


def _planted(world: World = better, settings: BatchSizeSettings = SETTINGS) -> xr.Dataset:
    """Return a result of a world; every tuned step size is 0.5."""
    rows = [
        _planted_tuning(lane, 0.5)
        if arm == TUNING
        else _row(lane, "arms", _measured(lane, world, settings))
        for arm, lanes in _by_arm(settings).items()
        for lane in lanes
    ]
    return _assembled(settings, rows)


def _without(result: xr.Dataset, *names: str) -> xr.Dataset:
    return result.isel(lane=np.flatnonzero(~np.isin(result["arm"].values, names)))


def _only(result: xr.Dataset, *names: str) -> xr.Dataset:
    return result.isel(lane=np.flatnonzero(np.isin(result["arm"].values, names)))


def _judged(result: xr.Dataset, *ids: str) -> dict[str, Finding]:
    """Judge some claims, or all."""
    chosen = [CLAIMS[name] for name in ids] if ids else STUDY.claims
    return {finding.id: finding for finding in evaluate(chosen, result)}


@pytest.fixture(scope="module")
def judged() -> Callable[[World], dict[str, Finding]]:
    """All claims of a world, judged once."""
    known: dict[str, dict[str, Finding]] = {}

    def judge(world: World) -> dict[str, Finding]:
        if world.__name__ not in known:
            known[world.__name__] = _judged(_planted(world))
        return known[world.__name__]

    return judge


# How it judges


OWNED = {
    "johannsen.batch-size": "statistical",
    "johannsen.hessian": "statistical",
    "johannsen.weight-perturb": "statistical",
    "johannsen.corr": "statistical",
    "johannsen.ctrl.lr-scaling": "required-control",
    "johannsen.ctrl.updates": "required-control",
    "johannsen.ctrl.settle": "required-control",
    "johannsen.ctrl.noise-vs-compute": "required-control",
    "johannsen.ctrl.hparam-table": "required-control",
    "johannsen.ctrl.errorbars": "required-control",
    "johannsen.ctrl.arch-report": "required-control",
    "johannsen.ctrl.regime": "required-control",
    "johannsen.ctrl.hessian-method": "required-control",
    "johannsen.ctrl.dataset": "required-control",
    "dhand.cor-8.2": "statistical",
    "dhand.E5": "statistical",
    "ch11.C.7": "statistical",
    "ch11.W.7": "statistical",
    "ch11.A.2": "statistical",
    "ch11.mot.batch": "statistical",
    "ch11.ml.4": "identity",
    "ch11.def.gap": "definition",
}
STATISTICAL = [
    name
    for name in OWNED
    if name not in ("johannsen.ctrl.hparam-table", "johannsen.ctrl.errorbars",
                    "johannsen.ctrl.arch-report", "johannsen.ctrl.hessian-method",
                    "ch11.ml.4", "ch11.def.gap")
]  # fmt: skip


# Breaks if a claim is lost, judged twice, owned by two studies, of another kind, or without a criterion.
def test_every_claim_is_owned_once() -> None:
    assert {claim.id: claim.kind for claim in STUDY.claims} == OWNED
    assert len(STUDY.claims) == len(OWNED)
    everywhere = [claim.id for name in studies.names() for claim in studies.get(name).claims]
    assert sorted(everywhere) == sorted(set(everywhere))
    for claim in STUDY.claims:
        assert claim.criterion
        assert claim.sentence
        assert claim.source


# Breaks if a smallest effect is changed without its claim saying so, or is named nowhere.
def test_smallest_effects() -> None:
    assert (SMALLEST_GAP, SMALLEST_RATIO, RICH) == (0.2, 0.25, 0.3)
    said = {
        name: (CLAIMS[name].smallest_effect, CLAIMS[name].unit)
        for name in STATISTICAL
        if CLAIMS[name].smallest_effect is not None
    }
    points, ratio = (0.2, "percentage points"), (0.25, "ratio")
    assert said == {
        "johannsen.batch-size": points, "johannsen.hessian": ratio,
        "johannsen.weight-perturb": ratio, "johannsen.corr": (0.3, "correlation"),
        "johannsen.ctrl.lr-scaling": points, "johannsen.ctrl.updates": points,
        "johannsen.ctrl.regime": (0.3, "relative kernel change"),
        "johannsen.ctrl.dataset": points, "ch11.A.2": (0.0, "ratio"),
    }  # fmt: skip
    # Claims of several quantities name each one's in words.
    for name in set(STATISTICAL) - set(said):
        assert "0.2 points" in CLAIMS[name].criterion, name
        assert "1.25" in CLAIMS[name].criterion, name


# Breaks if a rule looks at other data than it says, or has a sign, a boundary or a pairing wrong: its
# verdict would not follow the world it is shown.
@pytest.mark.parametrize("name", STATISTICAL)
def test_verdicts_follow_the_data(name: str, judged: Callable[[World], dict[str, Finding]]) -> None:
    found = {world.__name__: judged(world)[name] for world in (better, worse, equal, noisy)}
    expected = {
        "better": "supported",
        "worse": "refuted",
        "equal": "refuted",
        "noisy": "inconclusive",
    }
    if name == "johannsen.corr":
        # Sharper ones err more in both worlds; where nothing differs there is nothing to correlate.
        expected |= {"worse": "supported", "equal": "inconclusive"}
    if name in ("ch11.A.2", "ch11.W.7"):
        # Any ratio above 1 matters, of λmax and of the norm; in the equal world it is within its noise.
        expected |= {"equal": "inconclusive"}
    assert {world: finding.verdict for world, finding in found.items()} == expected
    for finding in found.values():
        assert finding.kind == OWNED[name]
        assert finding.criterion == CLAIMS[name].criterion
        assert finding.n_seeds == SEEDS
        assert finding.interval is not None
        assert finding.effect is not None


# Breaks if the effect reported is not the one planted.
def test_effects(judged: Callable[[World], dict[str, Finding]]) -> None:
    found = judged(better)
    for name in ("johannsen.batch-size", "johannsen.ctrl.updates", "dhand.cor-8.2"):
        assert found[name].effect == pytest.approx(10)
    assert found["johannsen.hessian"].effect == pytest.approx(math.exp(2), rel=0.1)
    # C.7 and A.2 are about the second batch size against the first: a quarter of the way.
    assert found["ch11.C.7"].effect == pytest.approx(5)
    assert found["ch11.mot.batch"].effect == pytest.approx(10)
    assert found["ch11.A.2"].effect == pytest.approx(math.e, rel=0.1)
    assert found["ch11.W.7"].effect == pytest.approx(math.e, rel=0.1)


# Breaks if a correlation against the claim is not told from none.
def test_opposite_correlation() -> None:
    assert _judged(_planted(opposite), "johannsen.corr")["johannsen.corr"].verdict == "refuted"


# Breaks if a claim that holds under one control and not under the other is called true, or false.
def test_conditional() -> None:
    names = ("johannsen.batch-size", "johannsen.hessian", "johannsen.weight-perturb", "dhand.cor-8.2",
             "ch11.C.7")  # fmt: skip
    for name, finding in _judged(_planted(tuning_undoes_it), *names).items():
        assert finding.verdict == "conditional", name
        assert "supported: " in finding.condition, name
        refuted = finding.condition.partition("refuted: ")[2]
        assert "tuned" in refuted or "matched" in refuted, name
    # Where the tuned arm was run, it stands for the claim.
    assert _judged(_planted(tuning_undoes_it), "johannsen.batch-size")[
        "johannsen.batch-size"
    ].effect == pytest.approx(-10)


# Breaks if lanes that diverged or missed their target count, or are not spoken of.
def test_lanes_left_out() -> None:
    result = _planted(better)
    spoilt = result.copy(deep=True)
    arm, seed = spoilt["arm"].values, spoilt["seed"].values
    lost = (arm == "epochs-fixed") & (seed == 0)
    missed = (arm == "matched-fixed") & (seed == 1) & (spoilt["batch_size"].values == 256)
    spoilt["diverged"].values[lost] = True
    spoilt["reached_target"].values[missed] = False
    for name in ("test_error", "lambda_max"):
        spoilt[name].values[lost] = np.nan
    spoilt["lambda_max"].values[missed] = 1e9
    spoilt["test_wrong"].values[lost | missed] = False
    names = ("johannsen.batch-size", "johannsen.hessian")
    for name, finding in _judged(spoilt, *names).items():
        assert finding.verdict == "supported"
        assert "3 of 120 lanes diverged; 1 of 120 lanes missed the target loss" in finding.reason
        arms_of = finding.details["arms"]
        counts = {arm: (arms_of[arm]["n"], arms_of[arm]["excluded"]) for arm in arms_of}
        assert counts["epochs-fixed"] == counts["matched-fixed"] == (4, 1)
        assert counts["tuned"] == (5, 0), name


# Breaks if a claim is decided without the arms it is about. Each row: what is left out.
@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("johannsen.batch-size", [a for a in ARMS if a not in ("noisy-labels", "momentum")]),
        ("johannsen.hessian", [a for a in ARMS if a not in ("noisy-labels", "momentum")]),
        ("johannsen.weight-perturb", ["epochs-fixed", "matched-fixed", "tuned"]),
        ("johannsen.ctrl.lr-scaling", ["epochs-linear", "updates-linear"]),
        ("johannsen.ctrl.updates", ["updates-fixed", "updates-linear"]),
        ("johannsen.ctrl.settle", ["updates-linear"]),
        ("johannsen.ctrl.noise-vs-compute", ["injected-noise"]),
        ("johannsen.ctrl.noise-vs-compute", ["updates-fixed"]),
        ("johannsen.ctrl.regime", ["epochs-fixed", "tuned", "momentum"]),
        ("johannsen.ctrl.dataset", ["epochs-fixed", "noisy-labels"]),
        ("dhand.cor-8.2", ["epochs-fixed"]),
        ("dhand.E5", ["epochs-sqrt"]),
        ("ch11.C.7", ["momentum"]),
        ("ch11.W.7", ["momentum-long"]),
        ("ch11.A.2", ["momentum-matched"]),
        ("ch11.mot.batch", ["momentum"]),
        ("ch11.def.gap", [a for a in ARMS if "matched" not in a]),
    ],
)
def test_missing_arms(name: str, without: list[str]) -> None:
    finding = _judged(_without(_planted(better), *without), name)[name]
    assert finding.verdict == "not-decided"
    assert finding.reason


# Breaks if the tuned arms go missing without a word.
def test_nothing_to_choose_from() -> None:
    grid = arms.tuning_lanes(SETTINGS, DATASET, None)
    rows = [_row(lane, TUNING, valid_error=math.nan, valid_loss=math.nan) for lane in grid]
    with pytest.raises(UserError, match="give smaller ones"):
        arms.arm_lanes(SETTINGS, DATASET, _assembled(SETTINGS, rows))


# Breaks if a result in which every run diverged is decided, or is a traceback.
def test_everything_diverged() -> None:
    result = _lost(_planted(better, _settings(arms=("epochs-fixed", "matched-fixed"))), True)
    found = _judged(result)
    decided = {name for name, finding in found.items() if finding.verdict != "not-decided"}
    at_a_loss = {name for name in decided if found[name].verdict == "inconclusive"}
    assert decided - at_a_loss == {"johannsen.ctrl.hparam-table", "johannsen.ctrl.arch-report"}
    for name in at_a_loss:
        assert found[name].n_seeds == 0, name
    _show(result)


# Breaks if one seed is taken for evidence, or for a reason to fail.
def test_one_seed() -> None:
    result = _planted(better, _settings(seeds=1))
    found = _judged(result)
    for name in STATISTICAL:
        assert found[name].verdict in ("inconclusive", "not-decided"), name
    assert found["johannsen.ctrl.errorbars"].verdict == "refuted"
    _show(_only(result, TUNING, "epochs-fixed", "tuned"))


# The controls that are identities: each holds, and can fail.


def _change(name: str, act: Callable[[np.ndarray], Any]) -> Callable[[xr.Dataset], xr.Dataset]:
    def changed(result: xr.Dataset) -> xr.Dataset:
        result = result.copy(deep=True)
        result[name].values = act(result[name].values)
        return result

    return changed


def _last_is(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def act(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[-1] = value
        return values

    return act


def _seed_alone(result: xr.Dataset) -> xr.Dataset:
    """One cell has one seed left that counts."""
    cell = (result["arm"].values == "momentum") & (result["batch_size"].values == 64)
    result = result.copy(deep=True)
    result["diverged"].values[cell & (result["seed"].values > 0)] = True
    return result


def _another_model(result: xr.Dataset) -> xr.Dataset:
    settings = json.loads(result.attrs["settings"])
    settings["models"] = [json.dumps({"architecture": "my own"})]
    return result.assign_attrs(settings=json.dumps(settings))


@pytest.mark.parametrize(
    ("name", "change", "verdict"),
    [
        ("johannsen.ctrl.hparam-table", lambda r: r.drop_vars("weight_decay"), "refuted"),
        ("johannsen.ctrl.hparam-table", _change("step_size", _last_is(np.nan)), "refuted"),
        ("johannsen.ctrl.errorbars", _seed_alone, "refuted"),
        ("johannsen.ctrl.arch-report", _change("parameters", lambda v: v + 1), "refuted"),
        ("johannsen.ctrl.arch-report", _change("parameters", _last_is(3)), "refuted"),
        ("johannsen.ctrl.arch-report", _another_model, "not-decided"),
        ("johannsen.ctrl.hessian-method", _change("lambda_max_power", _last_is(99)), "refuted"),
        ("johannsen.ctrl.hessian-method", _change("lambda_max_power", lambda v: 0.97 * v), "refuted"),
        ("johannsen.ctrl.hessian-method",
         _change("lambda_max_power_converged", np.zeros_like), "not-decided"),
        ("ch11.ml.4", _change("batch_covariance_trace", np.sqrt), "refuted"),
        ("ch11.ml.4", _change("batch_covariance_trace", lambda v: v * [1.1, 1]), "refuted"),
        ("ch11.def.gap", _change("loss_gap", lambda v: v + 0.01), "refuted"),
        ("ch11.def.gap", _change("loss_gap", lambda v: v * np.nan), "not-decided"),
    ],
)  # fmt: skip
def test_controls_hold_and_can_fail(
    name: str,
    change: Callable[[xr.Dataset], xr.Dataset],
    verdict: str,
    judged: Callable[[World], dict[str, Finding]],
) -> None:
    sound = judged(better)[name]
    assert sound.verdict == "supported"
    assert sound.interval is not None
    assert sound.effect is not None
    assert abs(sound.effect) <= sound.interval[1]
    assert _judged(change(_planted(better)), name)[name].verdict == verdict


# Breaks if a lane on which a method did not converge speaks against it.
def test_methods_are_compared_where_both_converged() -> None:
    result = _planted(better).copy(deep=True)
    result["lambda_max_power"].values[-1] = 99
    result["lambda_max_power_converged"].values[-1] = False
    finding = _judged(result, "johannsen.ctrl.hessian-method")["johannsen.ctrl.hessian-method"]
    assert finding.verdict == "supported"
    assert finding.effect == pytest.approx(0.001, abs=1e-5)


# How it is shown


def _lost(result: xr.Dataset, rows: Any) -> xr.Dataset:
    """Return a result in which some lanes of the arms diverged, as the runner leaves them."""
    result = result.copy(deep=True)
    lost = (result["arm"].values != TUNING) & rows
    result["diverged"].values[lost] = True
    for name, values in result.data_vars.items():
        if values.dtype.kind == "f" and name not in ("target_loss", "epochs", "step_over_batch"):
            values.values[lost] = np.nan
        elif name in ("updates", "epochs", "reached_target", "test_wrong"):
            values.values[lost] = 0
    return result


def _show(result: xr.Dataset) -> dict[str, list[str]]:
    """Make every table and figure; return the tables as rows of text."""
    shown = {}
    for table in presentation.tables(result):
        shown[str(table.caption).split(":")[0]] = to_text(table).splitlines()
    for drawing in STUDY.drawings:
        assert figures.image_bytes(drawing.draw(result))
    return shown


# Breaks if a table or a figure fails or warns on lanes that diverged or missed their target, on an arm of
# which nothing is left, or counts such lanes as seeds.
def test_tables_and_figures_with_lost_lanes() -> None:
    names = ("epochs-fixed", "matched-fixed", "tuned", "injected-noise", "momentum")
    result = _planted(better, _settings(arms=names, seeds=3))
    arm, seed = result["arm"].values, result["seed"].values
    result = _lost(result, (arm == "momentum") | ((arm == "epochs-fixed") & (seed == 0)))
    result["reached_target"].values[(arm == "matched-fixed") & (seed == 2)] = False
    shown = _show(result)
    fit = "\n".join(shown["How well training ended"])
    assert fit.count("2 (−1)") == 6
    assert fit.count("0 (−3)") == 3
    arms_table = "\n".join(shown["Arms"])
    assert "0.1" in arms_table
    assert "grid of step sizes" in arms_table
