"""A plane as a surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.results import figures
from tests.results.figures.planes import (
    A,
    B,
    assert_on_page,
    bowl,
)

NAMES = {"xlabel": "direction 1 (relative)", "ylabel": "direction 2 (relative)"}


def facets(figure: Any) -> np.ndarray:
    (collection,) = figure.axes[0].collections
    if hasattr(collection, "_faces"):  # newer matplotlib
        return np.asarray(collection._faces)
    return np.asarray(collection._vec)[:3].T.reshape(-1, 4, 3)


def test_surface_has_the_losses_heights() -> None:
    # Breaks if the plane is transposed, the logarithm is of another base, or cells are lost.
    figure = figures.surface(A, B, bowl(0.2, -0.3), zlabel="loss (nats)", **NAMES)
    corners = facets(figure)
    assert len(corners) == 40 * 30
    x, y, z = corners.reshape(-1, 3).T
    np.testing.assert_allclose(10**z, 0.1 + (x - 0.2) ** 2 + 4 * (y + 0.3) ** 2, rtol=1e-6)
    ax: Any = figure.axes[0]
    assert ax.get_xlabel() == NAMES["xlabel"]
    assert ax.get_ylabel() == NAMES["ylabel"]
    assert ax.get_zlabel() == "loss (nats)"
    # Ticks say the loss, not its logarithm.
    for place, text in zip(ax.get_zticks(), ax.get_zticklabels(), strict=True):
        assert float(text.get_text()) == pytest.approx(10**place, rel=1e-6)
    assert_on_page(figure)


def test_surface_with_holes_and_a_lid() -> None:
    # Breaks if a hole is drawn as zero, or values above the lid vanish uncounted.
    loss = bowl()
    loss[10, 20] = np.nan
    figure = figures.surface(
        A, B, loss, zlabel="loss (nats)", scale="linear", top=5.0, width=3.4, height=3.0, **NAMES
    )
    corners = facets(figure)
    assert len(corners) == 40 * 30 - 4
    assert corners[..., 2].max() == 5.0
    text = " ".join(one.get_text() for one in figure.artists).replace("\n", " ")
    assert "1 of them not finite" in text
    assert f"{int((bowl() > 5).sum())} above 5" in text
    assert_on_page(figure)
    figures.surface(A, B, np.full_like(loss, np.nan), zlabel="loss (nats)", **NAMES)
    figures.surface(A, B, np.ones_like(loss), zlabel="loss (nats)", **NAMES)


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (bowl().T, {}, "shape"),
        (bowl(), {"scale": "symlog"}, "unknown scale"),
        (bowl(), {"top": 0.05}, "choose a higher top"),
    ],
)
def test_bad_surfaces_are_refused(loss: Any, options: Any, message: str) -> None:
    # Breaks if a lid below everything draws a flat plate.
    with pytest.raises(UserError, match=message):
        figures.surface(A, B, loss, zlabel="loss (nats)", **NAMES, **options)


def test_one_minimum_does_not_take_the_height() -> None:
    # Breaks if a single point near zero stretches a logarithmic axis over ten decades, or is cut
    # without a word.
    loss = bowl()
    loss[20, 15] = 1e-12
    figure = figures.surface(A, B, loss, zlabel="loss (nats)", **NAMES)
    assert facets(figure)[..., 2].min() > -3
    text = " ".join(one.get_text() for one in figure.artists)
    assert "1 below 0.01" in text
    whole = figures.surface(A, B, loss, zlabel="loss (nats)", bottom=0.0, **NAMES)
    assert facets(whole)[..., 2].min() == pytest.approx(-12)
