"""Claims: verdicts on the document's position, judged together, and valid JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from implicit_bias.results import claims, statistics
from implicit_bias.results.claims import Claim, Evidence, Finding, NotDecidable, Verdict
from implicit_bias.results.statistics import Comparison, Estimate

DATA = xr.Dataset({"x": ("lane", [1.0, 2.0, 3.0])})


def interval(low: float, high: float, **more: Any) -> Estimate:
    return Estimate((low + high) / 2, low, high, 3, 0.95, "t", **more)


def claim(rule: Any, name: str = "paper.claim", **more: Any) -> Claim:
    given = {
        "id": name,
        "kind": "statistical",
        "source": "Paper, section 1",
        "sentence": "The first arm is larger.",
        "published": 2.0,
        "criterion": "difference above 0.5",
        "rule": rule,
    }
    return Claim(**(given | more))


def comparison(low: float, high: float, smallest: float = 0.5, **more: Any) -> Comparison:
    """A comparison whose interval is the same at every level."""
    return Comparison(lambda level: interval(low, high), smallest, more.pop("direction", 1), **more)


@pytest.mark.parametrize(
    ("low", "high", "up", "down"),
    [
        (1.1, 2.0, "supported", "refuted"),
        (-2.0, -1.1, "refuted", "supported"),
        (-0.5, 0.5, "refuted", "refuted"),
        (0.5, 1.5, "inconclusive", "refuted"),
        (1.0, 2.0, "inconclusive", "refuted"),  # touches the boundary
        (0.0, 1.0, "inconclusive", "refuted"),
        (1.0, 1.0, "inconclusive", "refuted"),
        (-math.inf, math.inf, "inconclusive", "inconclusive"),
        (-math.inf, 0.0, "refuted", "inconclusive"),
    ],
)
def test_judge(low: float, high: float, up: str, down: str) -> None:
    # Breaks if "short of the effect" is mixed up with "the other way round", or a touch decides.
    assert claims.judge(interval(low, high), 1.0, +1) == up
    assert claims.judge(interval(low, high), 1.0, -1) == down


def test_judge_open_ends_and_ratios() -> None:
    # Breaks if an interval that ends before the boundary counts as touching it, or if ratios are
    # judged around 0.
    assert claims.judge(interval(1.0, 2.0, low_open=True), 1.0) == "supported"
    assert claims.judge(interval(0.0, 1.0, high_open=True), 1.0) == "refuted"
    assert claims.judge(interval(1.0, 2.0, low_open=True), 0.9) == "supported"
    assert claims.judge(interval(1.0, 2.0, low_open=True), 1.1) == "inconclusive"
    assert claims.judge(interval(0.6, 0.8), 0.1, -1, origin=1.0) == "supported"
    assert claims.judge(interval(0.6, 0.95), 0.1, -1, origin=1.0) == "inconclusive"


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(0, 3), st.sampled_from([1, -1]))
def test_judge_is_symmetric(low: float, width: float, smallest: float, direction: int) -> None:
    # Breaks if the two directions follow different rules.
    there = claims.judge(interval(low, low + width), smallest, direction)
    assert there == claims.judge(interval(-low - width, -low), smallest, -direction)


VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@given(st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=5))
def test_combine_arms_follows_its_table(given_verdicts: list[Verdict]) -> None:
    # Breaks if a row of the documented table does. Written as the table is, row by row.
    verdicts = {f"arm{k}": v for k, v in enumerate(given_verdicts)}
    verdict, text = claims.combine_arms(verdicts)
    said = set(given_verdicts)
    if said == {"supported"} or said == {"refuted"} or said == {"not-decided"}:
        expected = given_verdicts[0]
    elif ("supported" in said and "refuted" in said) or "conditional" in said:
        expected = "conditional"
    else:
        expected = "inconclusive"
    assert verdict == expected
    if verdict == "conditional" or len(said) > 1:
        assert all(arm in text for arm in verdicts)


def test_combine_arms_says_where() -> None:
    # Breaks if the condition does not name the arms on each side, or parts them by what names have.
    verdict, text = claims.combine_arms(
        {
            "fixed step": "supported",
            "tuned, at equal loss": "refuted",
            "matched loss": "not-decided",
            "B": "refuted",
        }
    )
    assert verdict == "conditional"
    assert (
        text == "supported: fixed step. Refuted: tuned, at equal loss; B. Not decided: matched loss"
    )
    with pytest.raises(ValueError, match="no arms"):
        claims.combine_arms({})


def test_identity() -> None:
    # Breaks if only the mean or the signed maximum of the errors counts, or equality fails.
    assert claims.identity(1e-3, 1e-3).verdict == "supported"
    made = claims.identity([1e-4, -3e-3], 1e-3, n_seeds=4, method="power")
    assert (made.verdict, made.effect, made.interval) == ("refuted", -3e-3, (-1e-3, 1e-3))
    assert (made.n_seeds, made.details) == (4, {"method": "power"})
    for nothing in ([], np.nan, [0.0, np.nan]):
        with pytest.raises(NotDecidable, match="could not be measured"):
            claims.identity(nothing, 1e-3)
    assert claims.identity(np.inf, 1.0).verdict == "refuted"
    for tolerance in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="greater than 0"):
            claims.identity(0.0, tolerance)


def test_evaluate_fills_in_what_the_claim_says() -> None:
    # Breaks if a finding can go under another claim's name, or order is lost.
    made = claims.evaluate(
        [
            claim(
                lambda d: claims.identity(d["x"].values - d["x"].values, 1.0), "b", kind="identity"
            ),
            claim(lambda d: Evidence({"all": comparison(1, 2)}), "a", smallest_effect=0.5),
        ],
        DATA,
    )
    assert [(f.id, f.kind, f.verdict) for f in made] == [
        ("b", "identity", "supported"),
        ("a", "statistical", "supported"),
    ]
    assert made[1].criterion == "difference above 0.5"
    assert (made[1].effect, made[1].n_seeds) == (1.5, 3)


def test_not_decided_only_for_its_own_exception() -> None:
    # Breaks if a mistake in a rule is reported as a property of the data.
    def lacks(dataset: xr.Dataset) -> Finding:
        raise NotDecidable("the tuned arm was not run")

    (made,) = claims.evaluate([claim(lacks)], DATA)
    assert (made.verdict, made.reason) == ("not-decided", "the tuned arm was not run")
    assert (made.effect, made.interval, made.n_seeds) == (None, None, 0)
    with pytest.raises(KeyError):
        claims.evaluate([claim(lambda d: d["no such variable"])], DATA)


def test_arms_that_disagree_make_a_condition() -> None:
    # Breaks if the headline arm's verdict stands for all.
    evidence = Evidence(
        {"fixed": comparison(1, 2), "tuned": comparison(-1, 0)},
        headline="tuned",
        n_seeds=7,
        reason="seeds redraw the training set",
        details={"cap": 16},
    )
    (made,) = claims.evaluate([claim(lambda d: evidence)], DATA)
    assert made.verdict == "conditional"
    assert made.condition == "supported: fixed. Refuted: tuned"
    assert (made.effect, made.n_seeds) == (-0.5, 7)
    assert made.interval == (-1.0, 0.5)  # refuted: up to the smallest effect, by the theorem
    assert made.reason == "seeds redraw the training set"
    assert made.details["cap"] == 16
    assert made.details["arms"]["tuned"]["interval_alone"] == (-1, 0)
    assert made.details["arms"]["fixed"]["verdict"] == "supported"


def test_ratios_are_judged_around_one() -> None:
    # Breaks if evaluating forgets the value that means no effect.
    ratio = comparison(0.7, 0.85, 0.1, direction=-1, origin=1.0)
    (made,) = claims.evaluate([claim(lambda d: Evidence({"all": ratio}))], DATA)
    assert made.verdict == "supported"
    assert made.details["arms"]["all"]["boundary"] == 0.9


def test_claims_share_one_alpha() -> None:
    # Breaks if each claim is judged at 95 % on its own: this one passes alone and not among twenty.
    values = np.array([0.2, 0.5, 0.9, 1.1, 1.3])

    def rule(dataset: xr.Dataset) -> Evidence:
        estimate = lambda level: statistics.mean_interval(values, level)  # noqa: E731
        return Evidence({"all": Comparison(estimate, 0.0, 1)})

    dull = [claim(lambda d: Evidence({"all": comparison(-9, 9)}), f"dull{k}") for k in range(19)]
    (alone,) = claims.evaluate([claim(rule)], DATA)
    among = claims.evaluate([claim(rule), *dull], DATA)[0]
    assert alone.verdict == "supported"
    assert among.verdict == "inconclusive"
    assert among.interval[0] < 0 < alone.interval[0]  # type: ignore[index]
    assert among.interval == pytest.approx(  # what Bonferroni gives, as nothing is rejected
        (lambda e: (e.low, e.high))(statistics.mean_interval(values, 1 - 0.05 / 20))
    )


def test_the_smallest_effect_is_the_claims() -> None:
    # Breaks if a rule can use another threshold than the one fixed before the run.
    rule = claim(lambda d: Evidence({"a": comparison(1, 2, 0.1)}), smallest_effect=0.5)
    with pytest.raises(ValueError, match=r"compares with 0\.1, but.* is 0\.5"):
        claims.evaluate([rule], DATA)


def test_notes_reach_the_reader() -> None:
    # Breaks if a single seed's infinite interval goes unexplained.
    estimate = lambda level: statistics.mean_interval([1.0], level)  # noqa: E731
    (made,) = claims.evaluate(
        [claim(lambda d: Evidence({"a": Comparison(estimate, 0.0, 1)}))], DATA
    )
    assert made.verdict == "inconclusive"
    assert "one value: no spread" in made.reason


def test_mistakes_in_claims_are_refused() -> None:
    # Breaks if a typing mistake in a study shows only in its report.
    with pytest.raises(ValueError, match="two claims have the id"):
        claims.evaluate([claim(None), claim(None)], DATA)
    with pytest.raises(ValueError, match="kind is 'opinion'"):
        claim(None, kind="opinion")
    with pytest.raises(ValueError, match="needs an id"):
        claim(None, criterion="")
    with pytest.raises(ValueError, match="verdict is 'yes'"):
        Finding(verdict="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must say its condition"):
        Finding(verdict="conditional")
    with pytest.raises(ValueError, match="must say why"):
        Finding(verdict="not-decided")
    with pytest.raises(ValueError, match="at least one comparison"):
        Evidence({})
    with pytest.raises(ValueError, match="is none of"):
        Evidence({"a": comparison(0, 1)}, headline="b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Finding(verdict="supported").verdict = "refuted"  # type: ignore[misc]


def test_json_is_valid_and_complete(tmp_path: Path) -> None:
    # Breaks if NaN or Infinity, which are no JSON, or NumPy values get out, or a promised key
    # lacks.
    findings = [
        Finding(
            verdict="inconclusive",
            effect=np.float64(np.nan),
            interval=(-math.inf, np.float64(2.0)),
            n_seeds=np.int64(3),
            details={
                "curve": np.array([1.0, np.inf]),
                "flag": np.bool_(True),
                "t": (1, {"x": np.nan}),
            },
            id="paper.claim",
            criterion="c",
        ),
        Finding(verdict="not-decided", reason="λ", id="other"),
    ]
    path = tmp_path / "claims.json"
    claims.write_claims(path, findings, [claim(None, smallest_effect=0.5)])

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    first, second = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert first["effect"] is None
    assert first["interval"] == [None, 2.0]
    assert first["n_seeds"] == 3
    assert first["details"] == {"curve": [1.0, None], "flag": True, "t": [1, {"x": None}]}
    assert (first["published"], first["smallest_effect"], first["unit"]) == (2.0, 0.5, "1")
    assert second["interval"] is None
    assert second["reason"] == "λ"
    promised = {"id", "kind", "verdict", "effect", "interval", "n_seeds", "criterion"}
    for entry in claims.to_json(findings):
        assert promised | {"condition", "reason", "details"} == set(entry)
    assert path.read_text(encoding="utf-8").endswith("]\n")
