"""The batch-size study's rules and drawings, shown planted results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias import studies
from implicit_bias.errors import UserError
from implicit_bias.results import figures
from implicit_bias.results.claims import Finding
from implicit_bias.results.table import to_text
from implicit_bias.studies.batch_size import STUDY, arms, presentation
from implicit_bias.studies.batch_size.claims import RICH, SMALLEST_GAP, SMALLEST_RATIO
from implicit_bias.studies.batch_size.settings import ARMS, TUNING
from tests.studies.batch_size_planted import (
    CLAIMS,
    DATASET,
    SEEDS,
    SETTINGS,
    World,
    better,
    equal,
    findings_of,
    keep_only,
    leave_out,
    make_row,
    make_settings,
    noisy,
    opposite,
    planted,
    put_together,
    tuning_undoes_it,
    worse,
)


@pytest.fixture(scope="module")
def judged() -> Callable[[World], dict[str, Finding]]:
    """All claims of a world, judged once."""
    known: dict[str, dict[str, Finding]] = {}

    def judge(world: World) -> dict[str, Finding]:
        if world.__name__ not in known:
            known[world.__name__] = findings_of(planted(world))
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
    assert findings_of(planted(opposite), "johannsen.corr")["johannsen.corr"].verdict == "refuted"


# Breaks if a claim that holds under one control and not under the other is called true, or false.
def test_conditional() -> None:
    names = ("johannsen.batch-size", "johannsen.hessian", "johannsen.weight-perturb", "dhand.cor-8.2",
             "ch11.C.7")  # fmt: skip
    for name, finding in findings_of(planted(tuning_undoes_it), *names).items():
        assert finding.verdict == "conditional", name
        assert "supported: " in finding.condition, name
        refuted = finding.condition.partition("Refuted: ")[2]
        assert "tuned" in refuted or "matched" in refuted, name
    # Where the tuned arm was run, it stands for the claim.
    assert findings_of(planted(tuning_undoes_it), "johannsen.batch-size")[
        "johannsen.batch-size"
    ].effect == pytest.approx(-10)


# Breaks if lanes that diverged or missed their target count, or are not spoken of.
def test_lanes_left_out() -> None:
    result = planted(better)
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
    for name, finding in findings_of(spoilt, *names).items():
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
    finding = findings_of(leave_out(planted(better), *without), name)[name]
    assert finding.verdict == "not-decided"
    assert finding.reason


# Breaks if the tuned arms go missing without a word.
def test_nothing_to_choose_from() -> None:
    grid = arms.tuning_lanes(SETTINGS, DATASET, None)
    rows = [make_row(lane, TUNING, valid_error=math.nan, valid_loss=math.nan) for lane in grid]
    with pytest.raises(UserError, match="give smaller ones"):
        arms.arm_lanes(SETTINGS, DATASET, put_together(SETTINGS, rows))


# Breaks if a result in which every run diverged is decided, or is a traceback.
def test_everything_diverged() -> None:
    result = _lost(planted(better, make_settings(arms=("epochs-fixed", "matched-fixed"))), True)
    found = findings_of(result)
    decided = {name for name, finding in found.items() if finding.verdict != "not-decided"}
    at_a_loss = {name for name in decided if found[name].verdict == "inconclusive"}
    assert decided - at_a_loss == {"johannsen.ctrl.hparam-table", "johannsen.ctrl.arch-report"}
    for name in at_a_loss:
        assert found[name].n_seeds == 0, name
    _show(result)


# Breaks if one seed is taken for evidence, or for a reason to fail.
def test_one_seed() -> None:
    result = planted(better, make_settings(seeds=1))
    found = findings_of(result)
    for name in STATISTICAL:
        assert found[name].verdict in ("inconclusive", "not-decided"), name
    assert found["johannsen.ctrl.errorbars"].verdict == "refuted"
    _show(keep_only(result, TUNING, "epochs-fixed", "tuned"))


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
    assert findings_of(change(planted(better)), name)[name].verdict == verdict


# Breaks if a lane on which a method did not converge speaks against it.
def test_methods_are_compared_where_both_converged() -> None:
    result = planted(better).copy(deep=True)
    result["lambda_max_power"].values[-1] = 99
    result["lambda_max_power_converged"].values[-1] = False
    finding = findings_of(result, "johannsen.ctrl.hessian-method")["johannsen.ctrl.hessian-method"]
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
    result = planted(better, make_settings(arms=names, seeds=3))
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
