"""Compilation in a hurry: these programs run for milliseconds and compile for seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.haste import hasty


@pytest.fixture(scope="module", autouse=True)
def in_a_hurry() -> Iterator[None]:
    """Compile in a hurry."""
    with hasty():
        yield
