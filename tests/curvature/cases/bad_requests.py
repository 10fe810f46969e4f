"""Arguments that every operator over a dataset refuses in one line."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests.curvature.cases.problems import Build, plain

BAD_REQUESTS = [
    ({"chunk_size": 0}, "chunk_size is 0"),
    ({"data": (np.ones((0, 6)), np.ones((0,), np.int32))}, "0 examples"),
    ({"data": (np.ones((3, 6)), np.ones((2,), np.int32))}, "share one leading axis"),
    ({"weights": jnp.ones(3)}, "give shape (7,)"),
    ({"block": "layer_9"}, "unknown block 'layer_9'"),
    ({"block": ()}, "is empty"),
    ({"params": {"layer_0": {"weight": np.ones(3, np.int32)}}}, "floating-point"),
]
every_bad_request = pytest.mark.parametrize(("change", "message"), BAD_REQUESTS)


def request(build: Build, change: dict[str, Any]) -> None:
    """Build an operator with one argument changed."""
    problem, params, data = plain()
    arguments = {"params": params, "data": data} | change
    build(problem, arguments.pop("params"), arguments.pop("data"), **arguments)
