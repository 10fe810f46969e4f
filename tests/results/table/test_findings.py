"""Findings as text: verdict, effect, tolerance, published value."""

from __future__ import annotations

import dataclasses
import json

from implicit_bias.results.claims import Finding, identity, to_json
from implicit_bias.results.table import effect_text, published_text, verdict_table


def test_verdict_table() -> None:
    # Breaks if a finding's fields change their meaning, or the condition is left out.
    findings = [
        Finding("conditional", 1.6, (1.2, 2.0), 10, condition="at equal epochs", id="a.b"),
        Finding("not-decided", reason="arm not run", id="a.c", kind="ill-posed"),
        dataclasses.replace(identity(0.003, 0.02, n_seeds=5), id="a.d", kind="identity"),
    ]
    table = verdict_table(findings)
    assert table.rows[0][:4] == ("a.b", "conditional: at equal epochs", "1.60 [1.20, 2.00]", "10")
    assert table.rows[1][:3] == ("a.c", "not-decided: arm not run", "–")
    assert table.rows[2][2] == "error 0.0030 (allowed ±0.020)"
    # The JSON form, after a round trip, reads the same.
    assert verdict_table(json.loads(json.dumps(to_json(findings)))) == table
    assert "published" in verdict_table(findings, detailed=True).columns


def test_long_conditions_are_cut_and_said_to_be() -> None:
    # Breaks if a condition over twenty arms fills the screen, or is cut in silence.
    long = Finding("conditional", 1.0, (0.5, 1.5), 5, condition="supported: " + "arm, " * 60)
    table = verdict_table([long])
    assert len(table.rows[0][1]) <= 92
    assert table.rows[0][1].endswith("arm …")
    assert table.notes
    whole = verdict_table([long], longest=None)
    assert whole.rows[0][1].count("arm") == 60
    assert not whole.notes


def test_unbounded_interval_in_json_reads_as_infinite() -> None:
    # Breaks if null, JSON's only way to say infinity here, reads as "no interval".
    finding = {"kind": "statistical", "effect": 0.3, "interval": [-0.5, None]}
    assert effect_text(finding) == "0.30 [-0.50, ∞]"


def test_a_counterexample_shows_what_it_needs() -> None:
    # Breaks if a ratio that must be large is called an error, or the bound is not said.
    finding = {"kind": "identity", "effect": 31.0, "interval": [2.0, None], "unit": "factor"}
    assert effect_text(finding) == "31 factor (needed ≥ 2)"


def test_controls_show_their_tolerance_only_if_they_have_one() -> None:
    # Breaks if a control's tolerance is shown as an interval of its effect, or the other way round.
    by_error = {"kind": "required-control", "effect": 0.003, "interval": [-0.02, 0.02]}
    assert effect_text(by_error) == "error 0.0030 (allowed ±0.020)"
    compared = {**by_error, "details": {"arms": {"a": {}}}}
    assert effect_text(compared) == "0.003 [-0.020, 0.020]"
    assert effect_text({**compared, "kind": "definition"}) == "0.003 [-0.020, 0.020]"


def test_a_comparison_by_itself_keeps_its_boundary() -> None:
    # Breaks if a report's list of comparisons rounds an end past what the verdict hangs on.
    arm = {"effect": 39.0, "interval": [1.1, 278.0], "boundary": 1.1}
    assert effect_text(arm) == "39 [1.1, 278]"


def test_an_end_at_the_boundary_has_the_digits_of_the_others() -> None:
    # Breaks if one report writes an interval in two ways, with its boundary known and without.
    arm = {"effect": 2.05, "interval": [1.2, 2.84]}
    assert effect_text(arm) == effect_text({**arm, "boundary": 1.2}) == "2.05 [1.20, 2.84]"


def test_published_values() -> None:
    # Breaks if a published 11.8 reads 11.80, as if more digits had been published.
    assert published_text({"published": 11.8}) == "11.8"
    assert published_text({"published": "monotone"}) == "monotone"
    assert published_text({"published": None}) == "–"


def test_an_effect_says_of_what_it_is() -> None:
    # Breaks if one of several step sizes' effects stands for all of them.
    finding = {"effect": 1.019, "interval": [1.006, 1.031], "details": {"of": "η = 0.4"}}
    assert effect_text(finding) == "1.019 [1.006, 1.031] (η = 0.4)"
