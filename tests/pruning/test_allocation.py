"""Counts: exact in sum, shared out as asked, and never nothing for a layer."""

from __future__ import annotations

import re

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from implicit_bias import pruning
from implicit_bias.errors import UserError
from implicit_bias.pruning.allocation import counts_of

LENET = {"layer_0": 784 * 300, "layer_1": 300 * 100, "layer_2": 100 * 10}


def mask_of(**kept: tuple[int, int]):
    """A mask with so many of so many weights in each layer."""
    return {
        name: {"weight": (np.arange(size) < number).astype(np.uint8)[None, :]}
        for name, (number, size) in kept.items()
    }


@hypothesis.given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    level=st.floats(0.01, 1),
    rates=st.lists(st.just(0.0) | st.floats(0.01, 2), min_size=5, max_size=5),
    scope=st.sampled_from(["global", "layer"]),
)
@hypothesis.settings(max_examples=200, deadline=None)
def test_the_level_is_met_within_a_weight(sizes, level, rates, scope) -> None:
    # Breaks if rounding by layer adds up to another level, a layer gets more than it has, or nothing.
    whole = {f"layer_{i}": size for i, size in enumerate(sizes)}
    given = dict(zip(whole, rates, strict=False)) if scope == "layer" else {}
    try:
        counts = counts_of(whole, whole, level, scope, given)
    except UserError as error:
        # What the message says must be enough.
        told = re.search(r"choose at least ([0-9.e-]+)", str(error))
        counts = counts_of(whole, whole, (level := float(told[1])), scope, given)
    total = counts if isinstance(counts, int) else sum(counts.values())
    assert abs(total - level * sum(sizes)) <= 0.5 + 1e-9
    if isinstance(counts, dict):
        assert all(1 <= counts[layer] <= size for layer, size in whole.items())


def test_layers_lose_the_same_part_and_the_output_half_of_it() -> None:
    # Breaks if a rate multiplies what is kept instead of what is lost: 20 % and 10 % a round are
    # the published rates of LeNet-300-100, of which 0.8, 0.8 and 0.9 are left, 80.04 % in all.
    level = (0.8 * (LENET["layer_0"] + LENET["layer_1"]) + 0.9 * 1000) / sum(LENET.values())
    counts = counts_of(LENET, LENET, level, "layer", {"layer_2": 0.5})
    assert counts == {"layer_0": 188160, "layer_1": 24000, "layer_2": 900}
    # A later round loses parts of what is left, not of the whole.
    later = counts_of(LENET, counts, 0.8 * level, "layer")
    assert later == {"layer_0": 150528, "layer_1": 19200, "layer_2": 720}


def test_a_layer_left_alone_takes_no_part() -> None:
    # Breaks if the level does not count it, or it competes.
    mask = mask_of(first=(10, 10), second=(20, 20), third=(10, 10))
    counts = pruning.keep_counts(mask, 0.5, layer_rates={"third": 0})
    assert counts == {("first", "second"): 10}
    scores = {
        name: {"weight": np.full((1, size), value)}
        for name, size, value in (("first", 10, 1.0), ("second", 20, 2.0), ("third", 10, 0.0))
    }
    with pytest.raises(UserError, match="layer 'first' would be emptied"):
        pruning.prune(mask, scores, counts)
    scores["first"]["weight"] = np.linspace(0, 2.9, 10)[None, :]
    kept = pruning.masks.layer_count(pruning.prune(mask, scores, counts))
    assert kept == {"first": 3, "second": 7, "third": 10}


def test_nothing_is_pruned_at_the_present_level() -> None:
    # Breaks if a round that takes nothing fails or counts in another form than others do, or an emptied layer
    # is in its way.
    mask = mask_of(first=(4, 10), second=(0, 10))
    assert pruning.keep_counts(mask, 0.2) == {("first",): 4}
    assert pruning.keep_counts(mask, 0.1) == {("first",): 2}
    full = mask_of(first=(4, 4), second=(6, 6))
    assert pruning.keep_counts(full, 1.0) == 10
    assert pruning.keep_counts(full, 1.0, layer_rates={"first": 0}) == {("second",): 6}
    assert pruning.keep_counts(mask, 0.2, scope="layer") == {"first": 4, "second": 0}
    assert pruning.keep_counts(mask, 0.1, scope="layer") == {"first": 2, "second": 0}


MASK = mask_of(first=(8, 10), second=(100, 100))


@pytest.mark.parametrize(
    ("level", "more", "told"),
    [
        (0, {}, "remaining is 0; choose a finite number > 0 and <= 1"),
        (1.5, {}, "remaining is 1.5; choose a finite number > 0 and <= 1"),
        (float("nan"), {}, "choose a finite number"),
        (0.99, {}, "the mask keeps only 0.981818 of the weights; choose at most 0.981818"),
        (0.01, {}, "with 1 of 110 weights for 2 layers one would be emptied.* at least 0.0182"),
        (0.05, {"scope": "layer"}, "layer 'first' would be emptied; choose at least"),
        (0.05, {"scope": "layers"}, "unknown scope 'layers'; did you mean 'layer'"),
        (0.5, {"layer_rates": {"frist": 0}}, "unknown layer 'frist'; did you mean 'first'"),
        (0.5, {"layer_rates": {"first": 0.5}}, "all layers compete; choose 0 to leave it alone"),
        (
            0.5,
            {"layer_rates": {"first": -1}},
            "rate of layer 'first' is -1; choose a finite number",
        ),
        (0.5, {"layer_rates": {"second": 0}}, "left alone hold 0.909091 and every layer needs"),
        (0.5, {"layer_rates": {"first": 0, "second": 0}}, "left alone hold 0.98"),
    ],
)
def test_an_impossible_level_says_what_is_allowed(level, more, told: str) -> None:
    # Breaks if a level that cannot be met is met approximately, or fails without saying what can be.
    with pytest.raises(UserError, match=told) as raised:
        pruning.keep_counts(MASK, level, **more)
    assert "\n" not in str(raised.value)
