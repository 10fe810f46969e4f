"""When a lane stops: bad values are refused at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.training import Budget, Until


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"updates": 0}, "updates is 0; choose at least 1"),
        ({"updates": -1}, "updates is -1; choose at least 1"),
        # The host loop would never reach half an update.
        ({"updates": 2.5}, "updates is 2.5; give a whole number"),
        ({"updates": True}, "updates is True; give a whole number"),
        ({"updates": math.inf}, "updates is inf; give a whole number"),
        ({"updates": None}, "updates is None; give a whole number"),
        ({"target_loss": 0.1}, "target_loss and evaluate_every come together; give both or"),
        ({"evaluate_every": 5}, "target_loss and evaluate_every come together"),
        ({"target_loss": 0.0, "evaluate_every": 5}, "target_loss is 0.0; choose a finite number"),
        ({"target_loss": -1, "evaluate_every": 5}, "target_loss is -1; choose a finite number > 0"),
        ({"target_loss": math.nan, "evaluate_every": 5}, "target_loss is nan"),
        ({"target_loss": math.inf, "evaluate_every": 5}, "target_loss is inf"),
        ({"target_loss": "low", "evaluate_every": 5}, "target_loss is 'low'"),
        ({"target_loss": 0.1, "evaluate_every": 0}, "evaluate_every is 0; choose at least 1"),
        ({"target_loss": 0.1, "evaluate_every": 1.5}, "evaluate_every is 1.5; give a whole"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_a_budget_refuses_bad_values(fields, told):
    # Breaks if a lane could never stop, or its target is none.
    with pytest.raises(UserError, match=told):
        Budget(**{"updates": 10, **fields})


def test_a_reason_to_stop_is_met_on_its_side_and_by_numbers_alone():
    # Breaks if a quantity stops a lane from the wrong side, beyond its level only, or as it diverges.
    values = np.array([0.4, 0.5, 0.6, np.nan])
    assert Until("train_error", 0.5).met(values).tolist() == [True, True, False, False]
    rising = Until("sharpness", 0.5, at_least=True)
    assert rising.met(values).tolist() == [False, True, True, False]
    with pytest.raises(UserError, match="should stop at sharpness = nan; give a number"):
        Until("sharpness", math.nan)


def test_only_a_budget_with_a_reason_to_stop_may_end_early():
    # Breaks if the time that a plan gives is called a bound where it is none, or an estimate where it is one.
    assert not Budget(10).may_end_early
    assert Budget(10, target_loss=0.1, evaluate_every=5).may_end_early
    assert Budget(10, until=(Until("train_error", 0.0),)).may_end_early
