"""Characters that an encoding lacks."""

from __future__ import annotations

from implicit_bias.results.table import plain


def test_plain_spells_out_what_an_encoding_lacks() -> None:
    # Breaks if a Windows console or LANG=C turns every sign into a question mark.
    assert plain("λmax · η ≥ 2 × 10⁻⁵", "ascii") == "lambdamax * eta >= 2 x 10^-5"
    assert plain("λmax", "utf-8") == "λmax"
    assert plain("図", "ascii") == "?"
