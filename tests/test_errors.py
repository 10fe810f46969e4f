"""The exception a user meets: one line, with the nearest name there is."""

from __future__ import annotations

import pickle

import pytest

from implicit_bias.errors import UserError, unknown


def test_a_message_is_one_line():
    # Breaks if an error made from a multi-line text spills over the command's one line.
    error = UserError("a is 1,\n   but\tb has 2;  choose\r\n1 to 2\n")
    assert str(error) == "a is 1, but b has 2; choose 1 to 2"
    assert error.args == (str(error),)


def test_it_can_be_caught_as_a_value_error():
    # Breaks if library callers have to know this package's class.
    with pytest.raises(ValueError, match="no such thing"):
        raise UserError("no such thing")


def test_it_survives_another_process():
    # Breaks if a worker's error reaches the main process as something else.
    error = pickle.loads(pickle.dumps(UserError("batch_size is 0; choose at least 1")))
    assert type(error) is UserError
    assert str(error) == "batch_size is 0; choose at least 1"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("adma", "unknown optimiser 'adma'; did you mean 'adam'? (known: adam, rmsprop, sgd)"),
        ("rms", "unknown optimiser 'rms'; did you mean 'rmsprop'? (known: adam, rmsprop, sgd)"),
        # Nothing near: no suggestion is better than a wild one.
        ("shampoo", "unknown optimiser 'shampoo' (known: adam, rmsprop, sgd)"),
        ("", "unknown optimiser '' (known: adam, rmsprop, sgd)"),
        (3, "unknown optimiser 3 (known: adam, rmsprop, sgd)"),
        (None, "unknown optimiser None (known: adam, rmsprop, sgd)"),
        ("two\nlines", "unknown optimiser 'two\\nlines' (known: adam, rmsprop, sgd)"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(given, told):
    # Breaks if the nearest name is not offered, a far one is, or the list is not sorted.
    error = unknown("optimiser", given, iter(["sgd", "rmsprop", "adam"]))
    assert isinstance(error, UserError)
    assert str(error) == told


def test_it_says_that_ones_own_may_be_given():
    # Breaks if whoever names a thing of their own without its file is shown ours alone.
    error = unknown("loss", "own", ["hinge"], own="file.py:NAME")
    assert str(error) == "unknown loss 'own' (known: hinge; of your own: file.py:NAME)"


def test_only_one_name_is_suggested():
    # Breaks if a line offers a choice of guesses.
    text = str(unknown("arm", "epoch", ["epochs", "epoch_2", "epoc"]))
    assert text.count("did you mean") == 1
    assert text.count("?") == 1
