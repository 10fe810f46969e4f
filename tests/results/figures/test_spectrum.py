"""Eigenvalues by rank, and spectral densities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from matplotlib.collections import LineCollection, PolyCollection

from implicit_bias.results import figures

UNIT = "eigenvalue of the Hessian (nats)"


def falling(seeds: int, k: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seeds + k)
    rows = np.exp(rng.normal(0, 0.2, (seeds, 1)) + rng.normal(0, 0.05, (seeds, k)))
    return -np.sort(-(rows * 20.0 * np.arange(1, k + 1) ** -1.2 - shift), axis=1)


def entries(ax: Any) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def line(ax: Any, label: str) -> Any:
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def ticks(figure: Any, axis: Any) -> dict[float, str]:
    figure.canvas.draw()
    return dict(
        zip(axis.get_ticklocs(), [one.get_text() for one in axis.get_ticklabels()], strict=True)
    )


def test_eigenvalues_by_rank_with_scipys_intervals() -> None:
    # Breaks if ranks start at 0, seeds and ranks are swapped, or the interval is another.
    values = falling(5, 8)
    figure, ax = figures.axes()
    text = figures.spectrum(ax, {"SGD": values, "SAM": values[:, :3] / 4}, ylabel=UNIT)
    figures.legend(figure)
    drawn = line(ax, "SGD")
    assert drawn.get_xdata().tolist() == list(range(1, 9))
    np.testing.assert_allclose(drawn.get_ydata(), values.mean(0))
    assert line(ax, "SAM").get_xdata().tolist() == [1, 2, 3]
    band = next(one for one in ax.collections if isinstance(one, PolyCollection))
    (path,) = band.get_paths()
    low, high = scipy.stats.t.interval(0.95, 4, values[:, 2].mean(), scipy.stats.sem(values[:, 2]))
    heights = path.vertices[path.vertices[:, 0] == 3, 1]
    np.testing.assert_allclose([heights.min(), heights.max()], [low, high])
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == UNIT
    assert "rank" in ax.get_xlabel()
    assert "n = 5 seeds" in text
    assert "not positive" not in text


def test_negative_eigenvalues_are_drawn_and_said() -> None:
    # Breaks if the logarithm hides negative values, or the linear part of the axis is not marked.
    values = falling(4, 10, shift=3.0)
    assert values.min() < 0
    figure, ax = figures.axes()
    text = figures.spectrum(ax, {"a": values}, ylabel=UNIT)
    np.testing.assert_allclose(line(ax, "a").get_ydata(), values.mean(0))
    assert ax.get_yscale() == "symlog"
    low, high = ax.get_ylim()
    assert low < values.mean(0).min() < 0 < values.mean(0).max() < high
    near = ax.yaxis.get_transform().linthresh
    assert f"{int((values <= 0).sum())} of 40 eigenvalues are not positive" in text
    assert f"between −{near:.2g} and {near:.2g} (shaded)" in text
    assert "y axis linear here" in entries(ax)
    shaded = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    np.testing.assert_allclose([shaded.y0, shaded.y1], [-near, near], rtol=1e-6)
    written = ticks(figure, ax.yaxis)
    assert written[0.0] == "0"
    assert any(text.startswith("−") for text in written.values())
    places = [ax.transData.transform((1, tick))[1] for tick in written if low <= tick <= high]
    assert min(np.diff(sorted(places))) > 10  # pixels: labels do not run into one another


@pytest.mark.parametrize(
    "values",
    [
        np.array([3.0, 1.0, 0.5]),  # one seed
        np.array([[3.0, 1.0, 0.0]]),  # rank-deficient
        np.array([[3.0, np.nan, 0.5], [2.0, 1.0, np.nan]]),
        np.full((2, 3), np.nan),
        np.zeros((2, 3)),
        np.array([[-5.0, 3.0, -1.0]]),  # by magnitude
        np.array([[-1e-9, -1.0, -1e6]]),
        10.0 ** -np.arange(0, 14, 2.0),
    ],
)
def test_spectra_at_the_edge_of_what_can_be_drawn(values: Any) -> None:
    # Breaks if matplotlib fails or warns (warnings are errors here), or a finite value is dropped.
    figure, ax = figures.axes(3.4, 2.6)
    text = figures.spectrum(ax, {"a": values}, ylabel=UNIT)
    figures.legend(figure)
    figures.note(figure, text)
    figure.canvas.draw()
    drawn = np.isfinite(np.asarray(line(ax, "a").get_ydata(), float))
    assert drawn.tolist() == np.isfinite(np.atleast_2d(values)).any(0).tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1.0, 2.0, 3.0]), "order of their rank"),
        (np.ones((2, 3, 4)), r"shape \(seeds, k\)"),
        (np.ones((0, 3)), r"shape \(seeds, k\)"),
    ],
)
def test_bad_spectra_are_refused(values: Any, message: str) -> None:
    # Breaks if eigenvalues that rise, as NumPy returns them, are given the ranks 1, 2, 3.
    _, ax = figures.axes()
    with pytest.raises(ValueError, match=message):
        figures.spectrum(ax, {"a": values}, ylabel=UNIT)


GRID = np.linspace(-1, 4, 201)


def bulk(width: float = 0.2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    centre = 0.99 * scipy.stats.norm.pdf(GRID, 0, width) + 1e-4
    return GRID, centre, 0.1 * centre


def stems(ax: Any) -> np.ndarray:
    """Where the stems are and between which heights, shape (k, 3)."""
    found = [
        (segment[0, 0], segment[0, 1], segment[1, 1])
        for one in ax.collections
        if isinstance(one, LineCollection)
        for segment in one.get_segments()
    ]
    return np.array(found)


def test_density_band_is_the_t_interval_over_probes() -> None:
    # Breaks if the band is one standard error, or Gaussian for ten probes.
    _, ax = figures.axes()
    grid, centre, error = bulk()
    text = figures.density(ax, {"SGD": (grid, centre, error)}, n_probes=10, xlabel=UNIT)
    np.testing.assert_allclose(line(ax, "SGD").get_ydata(), centre)
    (path,) = next(one for one in ax.collections if isinstance(one, PolyCollection)).get_paths()
    heights = path.vertices[np.isclose(path.vertices[:, 0], 0.0, atol=1e-9), 1]
    times = scipy.stats.t.ppf(0.975, 9)
    at = int(np.argmin(np.abs(grid)))
    expected = centre[at] + np.array([-1, 1]) * times * error[at]
    np.testing.assert_allclose([heights.min(), heights.max()], expected)
    assert (ax.get_xlabel(), ax.get_yscale()) == (UNIT, "log")
    assert "per unit" in ax.get_ylabel()
    assert "95 % t-intervals over 10 probes" in text
    # Tails of smoothing do not stretch the axis: six decades below the peak.
    low, high = ax.get_ylim()
    assert low == pytest.approx(1e-6 * centre.max())
    assert high > centre.max()


def test_spikes_stand_at_their_values() -> None:
    # Breaks if a spike outside of the grid is cut off, or two values are written over one another.
    spikes = np.array([3.5, 9.0, 9.01, 25.0, -1.5, np.nan])
    figure, ax = figures.axes()
    text = figures.density(ax, {"a": bulk()}, n_probes=5, xlabel=UNIT, spikes={"a": spikes})
    figures.legend(figure)
    figures.note(figure, text)
    figure.canvas.draw()
    kept = spikes[np.isfinite(spikes)]
    assert sorted(stems(ax)[:, 0]) == sorted(kept)
    np.testing.assert_array_equal(line(ax, "exact eigenvalues").get_xdata(), kept)
    low, high = ax.get_xlim()
    assert low < -1.5
    assert high > 25
    written = {text.get_text() for text in ax.texts}
    assert {"25", "3.5", "−1.5"} < written
    assert len(written & {"9", "9.01"}) == 1
    boxes = [one.get_window_extent() for one in ax.texts]
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])
    assert "5 exact eigenvalues (1 more are not finite), height without meaning" in text
    assert "written on 4 of them" in text


def test_spikes_of_a_given_share_are_as_high() -> None:
    # Breaks if the height that is said to mean a density is one of the axes.
    _, ax = figures.axes()
    densities = {"a": bulk(), "b": bulk(0.1)}
    text = figures.density(
        ax, densities, n_probes=5, xlabel=UNIT, spikes={"b": [3.0]}, share=2e-3, floor=1e-4
    )
    np.testing.assert_allclose(stems(ax), [[3.0, 1e-4, 2e-3]])
    top = line(ax, "b: exact eigenvalues")
    np.testing.assert_allclose(
        top.get_transform().transform(top.get_xydata()), ax.transData.transform([[3.0, 2e-3]])
    )
    assert "b: exact eigenvalues" in entries(ax)
    assert "as high as one eigenvalue smoothed" in text


def test_symlog_axis_is_linear_over_the_bulk() -> None:
    # Breaks if the bulk is stretched into a plateau, or the axis does not say where it is linear.
    # Nine tenths of a normal distribution lie within 1.645 standard deviations.
    figure, ax = figures.axes()
    text = figures.density(
        ax, {"a": bulk(0.2)}, n_probes=5, xlabel=UNIT, spikes={"a": [500.0]}, xscale="symlog"
    )
    near = ax.xaxis.get_transform().linthresh
    assert near == pytest.approx(1.645 * 0.2, abs=0.02 + (GRID[1] - GRID[0]))
    assert f"between −{near:.2g} and {near:.2g} (shaded)" in text
    written = ticks(figure, ax.xaxis)
    low, high = ax.get_xlim()
    assert low < 0 < 500 < high
    places = [ax.transData.transform((tick, 1))[0] for tick in written if low <= tick <= high]
    assert min(np.diff(sorted(places))) > 20


def test_densities_at_the_edge_of_what_can_be_drawn() -> None:
    # Breaks if one probe gets a band, an underflown tail a warning, or a lost lane an exception.
    grid, centre, error = bulk()
    cases = {
        "one probe": (1, (grid, centre, np.full_like(centre, np.nan))),
        "underflow": (5, (grid, scipy.stats.norm.pdf(grid, 0, 0.02), 0 * error)),
        "not finite": (5, (grid, np.nan * centre, np.nan * error)),
        "zero": (5, (grid, 0 * centre, 0 * error)),
    }
    for name, (probes, parts) in cases.items():
        for scale in ("linear", "symlog"):
            figure, ax = figures.axes(3.4, 2.6)
            options: dict[str, Any] = {"spikes": {name: [2.0]}, "xscale": scale}
            text = figures.density(ax, {name: parts}, n_probes=probes, xlabel=UNIT, **options)
            figures.note(figure, text)
            figure.canvas.draw()
            assert ("one probe" in text) == (name == "one probe")
            assert ("201 densities are not finite" in text) == (name == "not finite")


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ((GRID, GRID[1:], GRID), {}, "shapes"),
        ((GRID[::-1], GRID, GRID), {}, "increase"),
        (bulk(), {"n_probes": 0}, "n_probes >= 1"),
        (bulk(), {"level": 95}, "level"),
        (bulk(), {"floor": 0.0}, "floor > 0"),
        (bulk(), {"share": -1.0}, "share > 0"),
        (bulk(), {"spikes": {"b": [1.0]}}, "no density"),
    ],
)
def test_bad_densities_are_refused(parts: Any, options: Any, message: str) -> None:
    # Breaks if spikes of a mistyped group vanish, or a shape error is matplotlib's.
    _, ax = figures.axes()
    with pytest.raises(ValueError, match=message):
        figures.density(ax, {"a": parts}, **{"n_probes": 5, "xlabel": UNIT, **options})
