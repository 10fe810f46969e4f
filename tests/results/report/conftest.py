"""One report with everything in it, for all tests of this folder."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implicit_bias.results import figures, report
from implicit_bias.results.claims import Claim, Evidence, Finding, evaluate, to_json
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.results.table import make_table
from tests.results.report.pages import EVIL, Page


@pytest.fixture(scope="module")
def png() -> bytes:
    figure, ax = figures.axes(3.0, 2.0)
    curve = figures.Curve.from_values([16, 64], [[1.0, 2.0], [2.0, 4.0]])
    figures.curve_by_group(
        ax, {"a": curve}, xlabel="batch size (examples)", ylabel="test error (%)"
    )
    return figures.image_bytes(figure)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Inner:
    widths: tuple[int, ...]
    rate: np.float32


@pytest.fixture(scope="module")
def arguments(png: bytes) -> dict[str, Any]:
    def arm(low: float) -> Comparison:
        values = low + np.arange(5.0)
        return Comparison(lambda level: mean_interval(values, level), 0.5, 1)

    claims = [
        Claim(
            "paper.error",
            "statistical",
            "arXiv 0000.00000, abstract",
            "Smaller batches & lower error.",
            1.61,
            "difference ≥ 0.5 points",
            lambda data: Evidence({"equal epochs": arm(9.0), "equal updates": arm(-9.0)}),
            smallest_effect=0.5,
            unit="points",
        ),
        Claim(
            "paper.vague",
            "ill-posed",
            "section 3",
            "Flat minima are better.",
            None,
            "cannot be judged as stated",
            lambda data: Finding("not-decided", reason=EVIL),
        ),
        Claim(
            "paper.method",
            "required-control",
            "section 4",
            "Two methods agree.",
            None,
            "within 2 %",
            lambda data: Finding("supported", 0.003, (-0.02, 0.02), 5),
        ),
    ]
    findings = evaluate(claims, None)  # type: ignore[arg-type]
    return {
        "title": f"Batch size {EVIL}",
        "summary": ["Three claims.", EVIL],
        "verdicts": to_json(findings, claims),
        "tables": [
            make_table([EVIL, "n"], [[EVIL, 3]], caption=EVIL),
            make_table(["arm", "λmax"], [["equal epochs", mean_interval([1.0, 2.0, 3.0])]]),
        ],
        "figures": [
            report.Figure("test_error", "Test error; bands: 95 %.", png, alt='rises "fast"'),
            report.Figure(EVIL, EVIL, png),
        ],
        "settings": {
            "model": Inner((100, 50), np.float32(0.5)),
            "batch_sizes": np.array([16, 64]),
            "colour": Colour.RED,
            "path": Path("a/b"),
            EVIL: EVIL,
        },
        "provenance": {"versions": {"jax": "0.10.2"}, "wall_s": 12.5, "evil": EVIL},
        "notes": ["Every lane is one training run.", EVIL],
    }


@pytest.fixture(scope="module")
def page(arguments: dict[str, Any]) -> Page:
    return Page(report.render_report(**arguments))
