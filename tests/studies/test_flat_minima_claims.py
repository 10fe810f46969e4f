"""The flat-minima study's rules on planted results whose verdicts are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.results.claims import Finding, evaluate
from implicit_bias.results.statistics import mean_interval
from implicit_bias.studies.flat_minima.claims import CLAIMS
from implicit_bias.studies.flat_minima.drawings import draw_spectra, draw_strength
from implicit_bias.studies.flat_minima.rules import folded
from implicit_bias.studies.flat_minima.script import PRINTED
from tests.studies.panels import assert_readable, curve

SEEDS, TESTED = 6, 1000
ORDINARY = {
    "error": 5.0, "lambda_max": 10.0, "lambda_min": -0.1, "adaptive": 1.0, "fgsm": 30.0, "norm": 10.0,
    "margin": 5.0, "radius": 0.3, "strength": 0.0, "residual": 1e-4,
}  # fmt: skip


def planted(
    cells: Mapping[tuple[str, int], Mapping[str, float]], outputs: int = 10, spread: float = 0.01
) -> xr.Dataset:
    """Lanes of arms and batch sizes with given means, over seeds that differ by a per cent.

    ``error`` and ``fgsm`` are in per cent of the test examples: that many are wrong, the same in every arm
    first, so that differences have little noise.
    """
    rng = np.random.default_rng(0)
    rows: list[tuple[str, int, int, dict[str, float]]] = []
    for (arm, size), given in cells.items():
        for seed in range(SEEDS):
            noise = 1 + spread * rng.normal()
            own = {**ORDINARY, **given}
            for name in ("lambda_max", "adaptive", "norm", "margin", "radius"):
                own[name] *= noise
            rows.append((arm, size, seed, own))

    def column(name: str) -> tuple[str, np.ndarray]:
        return "lane", np.array([row[3][name] for row in rows])

    def wrong(name: str) -> np.ndarray:
        counts = [round(TESTED * row[3][name] / 100) + row[2] % 2 for row in rows]
        return np.array([np.arange(TESTED) < count for count in counts])

    top = np.array([[row[3]["lambda_max"], row[3]["lambda_max"] / 4] for row in rows])
    rise = np.array([[row[3]["adaptive"] * factor for factor in (0.5, 1, 2)] for row in rows])
    n = len(rows)
    return xr.Dataset(
        {
            "diverged": ("lane", np.zeros(n, bool)),
            "target_loss": ("lane", np.full(n, np.nan)),
            "reached_target": ("lane", np.zeros(n, bool)),
            "chosen": ("lane", np.ones(n, bool)),
            "lambda_max": column("lambda_max"),
            "lambda_min": column("lambda_min"),
            "lambda_min_residual": column("residual"),
            "eigenvalue": (("lane", "rank"), top),
            "adaptive_sharpness": (("lane", "adaptive_radius"), rise),
            "parameter_norm": column("norm"),
            "output_margin": column("margin"),
            "certified_radius": column("radius"),
            "train_error": ("lane", np.zeros(n)),
            "test_error": ("lane", wrong("error").mean(1)),
            "clean_accuracy": ("lane", 1 - wrong("error").mean(1)),
            "test_wrong": (("lane", "test_example"), wrong("error")),
            "fgsm_wrong": (("lane", "attacked_example"), wrong("fgsm")),
            "pgd_wrong": (("lane", "attacked_example"), wrong("fgsm")),
        },
        {
            "arm": ("lane", np.array([row[0] for row in rows], object)),
            "stage": ("lane", np.array(["arms"] * n, object)),
            "batch_size": ("lane", np.array([row[1] for row in rows])),
            "seed": ("lane", np.array([row[2] for row in rows])),
            "strength": column("strength"),
            "step_size": ("lane", np.full(n, 0.1)),
            "momentum": ("lane", np.full(n, 0.9)),
        },
        {"settings": json.dumps({"models": [json.dumps({"outputs": outputs})]})},
    )


def found(result: xr.Dataset, name: str) -> Finding:
    """The verdict on one claim, by itself."""
    (finding,) = evaluate([claim for claim in CLAIMS if claim.id == name], result)
    return finding


PENALTY = "johannsen.ext.curv-penalty"
SMALL_LARGE = {("sgd", 32): {"error": 4.0, "lambda_max": 5.0}, ("sgd", 512): {"error": 8.0}}


@pytest.mark.parametrize(
    ("penalised", "verdict"),
    [
        ({"error": 3.0, "lambda_max": 4.0}, "supported"),
        ({"error": 8.0, "lambda_max": 10.0}, "refuted"),
        # Flatter, and no better: what the study is about.
        ({"error": 8.0, "lambda_max": 4.0}, "conditional"),
    ],
)
def test_a_penalty_must_flatten_and_generalise(penalised: dict[str, float], verdict: str) -> None:
    # Breaks if a flat minimum alone, or the comparison with one of the two batch sizes alone, is enough.
    result = planted({**SMALL_LARGE, ("sam", 512): penalised})
    finding = found(result, PENALTY)
    assert finding.verdict == verdict
    assert finding.effect == pytest.approx(10 / penalised["lambda_max"], rel=0.02)
    gap = finding.details["large B without penalty, test error above small B (points)"][0]
    assert gap == pytest.approx(4.0)


def test_a_penalty_needs_an_arm() -> None:
    # Breaks if a run without penalties is an error, or a verdict.
    assert found(planted(SMALL_LARGE), PENALTY).verdict == "not-decided"


@pytest.mark.parametrize(
    ("large_rho", "noisy", "verdict"),
    [(9.0, 3.0, "supported"), (3.0, 3.0, "refuted"), (8.0, 3.0, "inconclusive")],
)
def test_one_task_on_which_sam_is_worse_is_enough(
    large_rho: float, noisy: float, verdict: str
) -> None:
    # Breaks if the tasks are averaged, or a tie counts as one side's.
    result = planted(
        {
            ("sgd", 512): {"error": 8.0}, ("sam-large-rho", 512): {"error": large_rho},
            ("sgd-noisy", 512): {"error": 8.0}, ("sam-noisy", 512): {"error": noisy},
        }
    )  # fmt: skip
    finding = found(result, "ch11.A.19")
    assert finding.verdict == verdict
    assert finding.details["SAM − SGD (points)"]["noisy labels"][0] == pytest.approx(noisy - 8)


AS_PUBLISHED = {"lambda_max": 50.0, "lambda_min": 0.01}, {"lambda_max": 10.0, "lambda_min": 0.01}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        (({}, {}), "supported"),
        # Ten times smaller than printed, in the other order, with a negative end.
        (({"lambda_max": 1.0, "lambda_min": -0.01}, {"lambda_max": 4.0, "lambda_min": -0.01}), "refuted"),
        (({"lambda_min": -0.01}, {"lambda_min": -0.01}), "conditional"),
        # Lanczos left open whether the smallest is negative.
        (({"residual": 0.1}, {"residual": 0.1}), "inconclusive"),
    ],
)  # fmt: skip
def test_spectra_are_judged_by_order_size_and_sign(changes: tuple, verdict: str) -> None:
    # Breaks if one of the three does not count, or a residual is taken for an eigenvalue.
    first, second = ({**given, **own} for given, own in zip(AS_PUBLISHED, changes, strict=True))
    result = planted({("momentum", 32): first, ("adam", 32): second})
    finding = found(result, "ch11.W.4")
    assert finding.verdict == verdict
    assert finding.details["edge of stability of heavy ball, 2(1 + β)/η"] == pytest.approx(38)
    assert finding.details["A: λ1/λk of the k listed"] == pytest.approx(4)


PUBLISHED = {"error": 2.0, "fgsm": 28.0, "lambda_max": 3.0}


@pytest.mark.parametrize(
    ("large", "verdict"),
    [
        ({"error": 4.0, "fgsm": 30.0, "lambda_max": 12.0}, "supported"),
        # Robustness 0.50 against 0.73.
        ({"error": 4.0, "fgsm": 52.0, "lambda_max": 12.0}, "conditional"),
        ({"error": 2.0, "fgsm": 4.0, "lambda_max": 3.0}, "refuted"),
    ],
)
def test_two_classes_under_attack(large: dict[str, float], verdict: str) -> None:
    # Breaks if clean and attacked records are exchanged, or the ratio is of errors.
    result = planted({("fixed", 32): PUBLISHED, ("fixed", 512): large}, outputs=2)
    finding = found(result, "ch11.C.19")
    assert finding.verdict == verdict
    level = finding.details["fixed, small B"]
    assert level["robustness"] == pytest.approx(0.72 / 0.98, abs=2e-3)
    assert found(planted({("fixed", 32): PUBLISHED}), "ch11.C.19").verdict == "not-decided"


def margins(margin: float, radius: float, decayed: dict[str, float]) -> xr.Dataset:
    """Three arms, whose margin and radius grow by factors while the norm doubles; and weight decay."""
    arms = {
        (name, 32): {"norm": 5.0 * 2**k, "margin": margin**k, "radius": 0.3 * radius**k}
        for k, name in enumerate(("adam", "sgd", "momentum"))
    }
    return planted({**arms, ("decay", 32): {"norm": 5.0, "strength": 0.01, **decayed}})


@pytest.mark.parametrize(
    ("margin", "radius", "decayed", "verdict"),
    [
        (0.5, 0.5, {"margin": 1.0, "radius": 0.4}, "supported"),
        (2.0, 2.0, {"margin": 0.5, "radius": 0.2}, "refuted"),
        (2.0, 0.5, {"margin": 0.5, "radius": 0.4}, "conditional"),
    ],
)
def test_margins_and_radii_are_told_apart(
    margin: float, radius: float, decayed: dict[str, float], verdict: str
) -> None:
    # Breaks if only the radius, or only the margin in the outputs, is looked at.
    finding = found(margins(margin, radius, decayed), "ch11.conn.cert")
    assert finding.verdict == verdict
    assert finding.details["‖θ‖, weight decay / none"][0] == pytest.approx(0.5, rel=0.02)


def constructed(
    poisoned: tuple[float, float, float], guessed: tuple[float, float], reached: float = 1.0
) -> xr.Dataset:
    """Minima whose λmax, adaptive sharpness (ratios) and errors (points) differ from descent's."""
    rng = np.random.default_rng(1)
    n = 3 * SEEDS
    stage = np.repeat(["arms", "poisoned", "random-search"], SEEDS).astype(object)
    ratio, adaptive, gap = poisoned
    noise = np.exp(0.01 * rng.normal(size=(n, 2)))
    values = {
        "minimum_lambda_max": np.array([1.0, ratio]) * noise,
        "minimum_loss": np.full((n, 2), 0.1),
        "minimum_reached": np.tile([1.0, reached], (n, 1)),
        "minimum_extra_error": np.tile([0.9, 0.1], (n, 1)),
    }
    lanes = xr.Dataset({name: (("lane", "minimum"), table) for name, table in values.items()})
    lanes["minimum_adaptive_sharpness"] = (
        ("lane", "minimum", "adaptive_radius"),
        np.array([1.0, adaptive])[None, :, None] * noise[:, :, None] * np.ones(3),
    )
    counts = np.array([50, 50 + 10 * gap])[None, :] + np.arange(n)[:, None] % 2
    lanes["minimum_wrong"] = (
        ("lane", "minimum", "test_example"),
        (np.arange(TESTED) < counts[:, :, None]).astype(float),
    )
    lanes["search_lambda_max"] = (
        ("lane", "found_by", "network"),
        np.array([1.0, guessed[0]])[None, :, None] * np.exp(0.01 * rng.normal(size=(n, 2, 3))),
    )
    error = np.array([5.0, 5.0 + guessed[1]])[None, :, None] + 0.01 * rng.normal(size=(n, 2, 3))
    lanes["search_test_error"] = (("lane", "found_by", "network"), error / 100)
    lanes["search_fitting"] = ("lane", np.full(n, 0.01))
    lanes = lanes.assign_coords(
        stage=("lane", stage), arm=("lane", stage), minimum=["plain", "poisoned"],
        seed=("lane", np.tile(np.arange(SEEDS), 3)), found_by=["gradient descent", "random search"],
    )  # fmt: skip
    return lanes.assign(diverged=("lane", np.zeros(n, bool)))


@pytest.mark.parametrize(
    ("poisoned", "guessed", "verdict"),
    [
        ((2.0, 3.0, 10.0), (2.0, 3.0), "supported"),
        ((1.0, 1.0, 0.0), (1.0, 0.0), "refuted"),
        ((2.0, 3.0, 10.0), (2.0, -3.0), "conditional"),
    ],
)
def test_minima_that_training_does_not_find(
    poisoned: tuple[float, float, float], guessed: tuple[float, float], verdict: str
) -> None:
    # Breaks if the two ways are mixed, or ratios are taken the wrong way round.
    finding = found(constructed(poisoned, guessed), "dhand.obs-6.3")
    assert finding.verdict == verdict
    arms = finding.details["arms"]
    assert arms["λmax, poisoned / descent"]["effect"] == pytest.approx(poisoned[0], rel=0.02)
    assert arms["test error, poisoned − descent"]["effect"] == pytest.approx(poisoned[2])
    assert arms["λmax, random search / descent"]["effect"] == pytest.approx(guessed[0], rel=0.02)


def test_minima_at_different_losses_are_not_compared() -> None:
    # Breaks if a minimum that missed the target loss enters.
    finding = found(constructed((2.0, 3.0, 10.0), (2.0, 3.0), reached=0.0), "dhand.obs-6.3")
    assert finding.verdict == "inconclusive"
    assert finding.details["arms"]["λmax, poisoned / descent"]["n"] == 0


@pytest.mark.parametrize(("moved", "verdict"), [(0.0, "supported"), (0.01, "refuted")])
def test_the_script_is_held_against_what_is_printed(moved: float, verdict: str) -> None:
    # Breaks if the tolerance is larger than what the digits printed allow.
    tables = np.stack([PRINTED + moved, PRINTED])
    dims = ("lane", "script_radius", "script_model")
    result = xr.Dataset(
        {"script_mock_accuracy": (dims, tables), "script_fgsm_accuracy": (dims, tables)},
        {"stage": ("lane", np.array(["mock-attack"] * 2, object)), "seed": ("lane", [0, 1])},
    )
    finding = found(result, "ch11.S.15")
    assert finding.verdict == verdict
    assert finding.effect == pytest.approx(moved)
    assert found(result.isel(lane=[1]), "ch11.S.15").verdict == "not-decided"


def test_the_size_of_a_difference_covers_both_signs() -> None:
    # Breaks if an interval that spans zero does not begin there.
    spans = folded(mean_interval([-1.0, 0.5, -0.3]))
    plain = mean_interval([-1.0, 0.5, -0.3])
    assert (spans.low, spans.high) == (0.0, max(-plain.low, plain.high))
    below = folded(mean_interval([-1.0, -1.1, -0.9]))
    assert below.value == pytest.approx(1.0)
    assert 0 < below.low < 1 < below.high


def test_every_claim_says_what_it_needs_of_an_empty_run() -> None:
    # Breaks if a rule fails where its arms were left out.
    lanes: Any = planted({("sgd", 32): {}, ("sgd", 512): {}})
    undecided = {
        finding.id for finding in evaluate(CLAIMS, lanes) if finding.verdict == "not-decided"
    }
    assert undecided >= {
        PENALTY,
        "dhand.obs-6.3",
        "ch11.W.4",
        "ch11.A.19",
        "ch11.C.19",
        "ch11.S.15",
    }


def joined(*parts: xr.Dataset, **columns: list[Any]) -> xr.Dataset:
    """Parts in a row, with a coordinate more of which each part has one value."""
    own = [
        part.assign_coords(
            {name: ("lane", [values[place]] * part.sizes["lane"]) for name, values in columns.items()}
        )
        for place, part in enumerate(parts)
    ]  # fmt: skip
    return xr.concat(own, "lane", combine_attrs="override")


def test_strengths_are_drawn_where_they_were_planted() -> None:
    # Breaks if errors are fractions, the plain run's line is another batch size's, or a penalty's curve is
    # drawn from lanes of another penalty or step size.
    plain = planted(SMALL_LARGE)
    weak = planted({
        ("sam", 512): {"error": 7.0, "lambda_max": 9.0, "strength": 0.1},
        ("trace-penalty", 512): {"error": 7.5, "lambda_max": 8.0, "strength": 0.01},
    })  # fmt: skip
    strong = planted({
        ("sam", 512): {"error": 5.0, "lambda_max": 6.0, "strength": 1.0},
        ("trace-penalty", 512): {"error": 6.5, "lambda_max": 7.0, "strength": 0.1},
    })  # fmt: skip
    halved = planted({
        ("sam", 512): {"error": 6.0, "lambda_max": 8.0, "strength": 0.1},
        ("trace-penalty", 512): {"error": 6.8, "lambda_max": 7.5, "strength": 0.01},
    })  # fmt: skip
    factors = [1.0, 1.0, 1.0, 0.5]
    figure = draw_strength(joined(plain, weak, strong, halved, step_factor=factors))
    assert_readable(figure, ())

    def lies(panel: str, label: str, x: Any, y: Any) -> None:
        points = curve(figure, label, panel)
        # Seeds differ by a per cent; of errors every other seed has one mistake in a thousand more.
        np.testing.assert_allclose(points, np.column_stack([x, y]), rtol=0.015, err_msg=panel)

    lies("sam: λmax", "penalty, step size × 1", [0.1, 1.0], [9.0, 6.0])
    lies("sam: test error", "penalty, step size × 1", [0.1, 1.0], [7.05, 5.05])
    lies("sam: test error", "penalty, step size × 0.5", [0.1], [6.05])
    lies("trace-penalty: λmax", "penalty, step size × 0.5", [0.01], [7.5])
    lies("trace-penalty: test error", "penalty, step size × 1", [0.01, 0.1], [7.55, 6.55])
    for panel, small, large in (("sam: λmax", 5.0, 10.0), ("sam: test error", 4.05, 8.05)):
        lies(panel, "SGD, B = 32", [0, 1], [small, small])
        lies(panel, "SGD, B = 512", [0, 1], [large, large])
    names = {ax.get_title(loc="left"): ax.get_xlabel() for ax in figure.axes}
    assert names["sam: λmax"] == "ρ (parameters)"
    assert names["trace-penalty: test error"] == "factor of the penalty (parameter²)"
    nothing = draw_strength(plain.assign_coords(step_factor=("lane", np.ones(plain.sizes["lane"]))))
    assert nothing.axes[0].texts[0].get_text() == "no arm with a penalty was run"


def test_spectra_are_drawn_where_they_were_planted() -> None:
    # Breaks if lengths of training are mixed, protocols are, or the printed value is the other's.
    short = planted({("momentum", 32): {"lambda_max": 4.0}, ("adam", 32): {"lambda_max": 2.0}})
    long = planted({("momentum", 32): {"lambda_max": 40.0}, ("adam", 32): {"lambda_max": 8.0}})
    figure = draw_spectra(joined(short, long, updates_budget=[100, 1000], epochs=[5.0, 50.0]))
    assert_readable(figure, ("rank of the eigenvalue (1: first)",))
    for panel, epochs, largest in (
        ("momentum", "5", 4.0), ("momentum", "50", 40.0), ("adam", "5", 2.0), ("adam", "50", 8.0),
    ):  # fmt: skip
        points = curve(figure, epochs, panel)
        np.testing.assert_allclose(points, [[1, largest], [2, largest / 4]], rtol=0.015)
    for panel, printed in (("momentum", 50), ("adam", 10)):
        assert set(curve(figure, "published largest eigenvalue", panel)[:, 1]) == {printed}
    assert draw_spectra(planted(SMALL_LARGE)).axes[0].texts[0].get_text().endswith("were not run")
