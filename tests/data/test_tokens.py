"""Sequences of tokens against their laws."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from implicit_bias.data import Dataset, load, markov_chain, modular_arithmetic, split_indices, text
from implicit_bias.data import tokens as module
from implicit_bias.data.tokens import conditional_entropies, stationary_law
from implicit_bias.errors import UserError

RNG = np.random.default_rng(0)


def test_entropies_are_sums_over_all_words():
    # Against enumeration of all words of three tokens. Broken by contexts whose digits are turned round.
    transitions = RNG.dirichlet(np.ones(3), size=9)
    law = stationary_law(transitions)
    words = {
        (a, b, c): law[3 * a + b] * transitions[3 * a + b, c]
        for a, b, c in itertools.product(range(3), repeat=3)
    }
    after = np.zeros((3, 3))
    for (_, b, c), p in words.items():
        after[b, c] += p
    np.testing.assert_allclose(after.ravel(), law, atol=1e-14)  # stationary

    def entropy(seen: int) -> float:
        total = 0.0
        for word, p in words.items():
            same = [q for other, q in words.items() if other[2 - seen : 2] == word[2 - seen : 2]]
            alike = [q for other, q in words.items() if other[2 - seen :] == word[2 - seen :]]
            total -= p * np.log(sum(alike) / sum(same))
        return total

    np.testing.assert_allclose(
        conditional_entropies(transitions, law), [entropy(s) for s in range(3)]
    )


def test_chains_have_their_law_and_their_bayes_loss():
    # Broken by a walk that begins elsewhere, targets that are not shifted, or a loss in bits.
    d = markov_chain(4000, 10, 6, 3, order=2, seed=1, dtype="float64")
    assert (d.task, d.n_outputs, d.predictions, d.input_shape) == ("classification", 3, 6, (6,))
    np.testing.assert_array_equal(d.x_train[:, 1:], d.y_train[:, :-1])
    whole = np.concatenate([d.x_train[:, :1], d.y_train], axis=1).astype(int)
    assert set(np.unique(whole)) <= {0, 1, 2}
    # What a predictor loses that counts: at each place, the frequencies of what follows all that counts.
    counted = []
    for place in range(6):
        seen = min(place + 1, 2)
        words = whole[:, place + 1 - seen : place + 2] @ 3 ** np.arange(seen + 1)[::-1]
        joint = np.bincount(words, minlength=3 ** (seen + 1)).reshape(-1, 3) / len(whole)
        given = joint.sum(1, keepdims=True)
        counted.append(
            -np.sum(joint[joint > 0] * np.log((joint / np.maximum(given, 1e-300))[joint > 0]))
        )
    assert np.mean(counted) == pytest.approx(d.provenance["bayes_loss"], abs=0.02)
    assert np.mean(counted[1:]) == pytest.approx(d.provenance["entropy_rate"], abs=0.02)
    assert counted[0] > np.mean(counted[1:]) + 0.05


def test_independent_tokens_have_their_entropy():
    # Order 0: nothing before a token helps.
    d = markov_chain(3000, 5, 4, 4, order=0, concentration=1.0, seed=2)
    p = np.bincount(d.y_train.ravel(), minlength=4) / d.y_train.size
    assert -np.sum(p * np.log(p)) == pytest.approx(d.provenance["bayes_loss"], abs=0.03)


@pytest.mark.parametrize("name", sorted(module.GENERATORS))
def test_same_seed_same_data(name: str):
    # Broken by randomness that is not the seed's, and by a test set that depends on the training size.
    make = module.GENERATORS[name]
    assert make(seed=1) == make(seed=1)
    assert make(seed=1).checksum != make(seed=2).checksum
    assert make(seed=1, dtype="float64").dtype == np.float64
    assert load(name, n_train=7, n_test=3, seed=4) == make(n_train=7, n_test=3, seed=4)
    small, large = (markov_chain(n_train=n, n_test=9) for n in (5, 50))
    np.testing.assert_array_equal(small.x_test, large.x_test)
    np.testing.assert_array_equal(small.x_train, large.x_train[:5])


@pytest.mark.parametrize("operation", ["+", "-", "*", "/"])
def test_equations_hold(operation: str):
    # Broken by a wrong inverse, or by an equation that is in both sets.
    d = modular_arithmetic(modulus=7, operation=operation)  # type: ignore[arg-type]
    assert (d.n_outputs, d.predictions, d.provenance["vocabulary"]) == (7, 1, 9)
    seen = set()
    for x, c in zip(
        np.concatenate([d.x_train, d.x_test]), np.concatenate([d.y_train, d.y_test]), strict=True
    ):
        a, sign, b, equals = x.astype(int)
        assert (sign, equals) == (7, 8)
        found = {"+": a + b, "-": a - b, "*": a * b, "/": c * b}[operation] % 7
        assert found == (a if operation == "/" else c)
        seen.add((a, b))
    assert len(seen) == d.n_train + d.n_test == (42 if operation == "/" else 49)


def test_text_is_cut_by_place(tmp_path: Path):
    # Broken by sequences that overlap, an alphabet out of order, or test characters in training.
    file = tmp_path / "poem.txt"
    file.write_text("abcabdéabcab" * 3, encoding="utf-8")
    d = load(str(file), length=4, test_fraction=0.25)
    assert d == load(f"text:{file}", length=4, test_fraction=0.25)
    assert d.provenance["alphabet"] == "abcdé"
    assert (d.n_outputs, d.predictions, d.n_train, d.n_test) == (5, 4, 6, 2)
    read = "".join("abcdé"[int(i)] for i in d.x_train.ravel())
    assert read == ("abcabdéabcab" * 3)[:24]
    assert "".join("abcdé"[i] for i in d.y_train.ravel()) == ("abcabdéabcab" * 3)[1:25]
    assert "".join("abcdé"[int(i)] for i in d.x_test.ravel()) == ("abcabdéabcab" * 3)[27:35]
    assert text(file, 4, test_fraction=0.25, n_train=2, n_test=1).n_train == 2


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (None, {}, "there is no text file"),
        (b"", {}, "is empty"),
        (b"\xff\xfe\x00", {}, "is not UTF-8"),
        (b"ab\x00cd", {}, "zero bytes"),
        (b"aaaa", {}, "one character only"),
        (b"abcabc", {}, "0 sequences of length 64"),
        (
            b"ab" * 300,
            {"n_train": 99},
            "n_train asks for 99; give a longer text, a smaller n_train",
        ),
        (b"ab" * 300, {"test_fraction": 1.0}, "test_fraction is 1.0"),
        (b"ab" * 300, {"length": 0}, "length is 0"),
        (b"ab" * 900, {"standardise": "pixel"}, "which have no scale"),
        (b"ab" * 300, {"lenght": 3}, "unexpected keyword argument"),
    ],
)
def test_texts_that_cannot_be_used_are_refused(tmp_path: Path, content, options, says):
    file = tmp_path / "x.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        load(str(file), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (
            modular_arithmetic,
            {"n_test": 500},
            "n_test is 500, .* 264 are for training; choose at most 265",
        ),
        (markov_chain, {"vocabulary": 1}, "vocabulary is 1"),
        (markov_chain, {"vocabulary": 70, "order": 2}, "4900 contexts"),
        (markov_chain, {"concentration": 0.0}, "concentration is 0.0"),
        (markov_chain, {"length": 1}, "length is 1, but order is 2"),
        (markov_chain, {"seed": -1}, "seed is -1"),
        (modular_arithmetic, {"operation": "**"}, "unknown operation"),
        (modular_arithmetic, {"modulus": 9, "operation": "/"}, "choose a prime"),
        (modular_arithmetic, {"n_train": 600}, "there are 529 equations"),
    ],
)
def test_numbers_out_of_range_are_refused(make, options, says):
    with pytest.raises(UserError, match=says):
        make(**options)


def test_splits_of_many_predictions_are_plain():
    # Broken by an attempt to stratify by labels that an example has many of.
    import jax

    d: Dataset = markov_chain(20, 5, 4, 3)
    first, second = split_indices(jax.random.key(0), d, (12, 5))
    assert len({*map(int, first), *map(int, second)}) == 17
    with pytest.raises(UserError, match="of many predictions"):
        load("markov-chain", classes=(0, 1))
