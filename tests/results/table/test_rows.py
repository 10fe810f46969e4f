"""Cells become text, and rows become a table."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results.table import format_cell, make_table


def test_cells_of_other_kinds() -> None:
    # Breaks if NumPy's or xarray's scalars, or a truth value, are written by their repr.
    assert format_cell(np.float32(0.5)) == "0.5000"
    assert format_cell(np.int64(16)) == "16"
    assert format_cell(xr.DataArray(0.25)) == "0.2500"
    assert format_cell(np.bool_(True)) == "yes"
    assert format_cell(False) == "no"
    assert format_cell(None) == "n/a"
    assert format_cell("\x1b[31mred\x07") == "[31mred"  # no text can drive the terminal


def test_row_of_wrong_length_is_refused() -> None:
    # Breaks if a missing cell shifts the others silently.
    with pytest.raises(UserError, match="row 1 of the table has 1 cells"):
        make_table(["a", "b"], [[1, 2], [3]])
