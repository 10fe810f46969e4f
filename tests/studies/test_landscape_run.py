"""The landscape study, run once at tiny size in float64; what it stored against NumPy and dense matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax.flatten_util import ravel_pytree

from implicit_bias.keys import role_key
from implicit_bias.results import claims as claims_module
from implicit_bias.results.lane_store import load_params
from implicit_bias.studies import runner
from implicit_bias.studies.landscape import STUDY
from implicit_bias.studies.landscape.derived import end_points, trials
from implicit_bias.studies.landscape.settings import LandscapeSettings

SETTINGS = LandscapeSettings.model_validate(
    {
        "seeds": 2, "dtype": "float64", "keep_params": True, "epochs": 4,
        "data": {"name": "digits", "classes": [0, 1], "n_train": 40, "n_test": 30},
        "model": {"widths": [5]},
        "batches": {"small": 4, "large": 20, "step_size": 0.05, "scaled_step_size": 0.2,
                    "adam_step_size": 0.01},
        "planes": {"slices": 2, "grid": 5, "fine_grid": 5, "examples": 30},
        "paths": {"points": 5}, "nearby": {"radii": [1e-9, 0.5], "points": 3},
        "special": {"stations": [0.5, 2], "reach": 1e-3, "max_products": 40},
    }
)  # fmt: skip
DATA = SETTINGS.data.load()
SEED = 1


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One finished run."""
    return runner.run(STUDY, SETTINGS, tmp_path_factory.mktemp("run") / "out", scale="custom")


def stored(done: Any, arm: str) -> dict[str, dict[str, np.ndarray]]:
    """Final parameters of an arm, as they lie on the disk."""
    lane = end_points(done.result, arm).sel(seed=SEED)
    return load_params(done.out, str(lane["lane_id"].values).split(":")[0])


def examples() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The examples that the loss is averaged over, drawn as a lane draws them."""
    from implicit_bias.data.transforms import split_indices

    rows, _ = split_indices(role_key(SEED, "split"), DATA, (40, 0))
    rows = np.asarray(rows)[:30]
    return {"train": (DATA.x_train[rows], DATA.y_train[rows]), "test": (DATA.x_test, DATA.y_test)}


def loss(params: Any, split: str) -> tuple[float, float]:
    """Cross-entropy and error of a network with one hidden ReLU layer, in NumPy."""
    x, y = examples()[split]
    params = jax.tree.map(np.asarray, params)
    one, two = (params[f"layer_{n}"] for n in (0, 1))
    hidden = np.maximum(np.asarray(x, float) @ one["weight"].T + one["bias"], 0)
    outputs = hidden @ two["weight"].T + two["bias"]
    top = outputs.max(1, keepdims=True)
    log = outputs - top - np.log(np.exp(outputs - top).sum(1, keepdims=True))
    picked = log[np.arange(len(y)), y]
    return float(-picked.mean()), float((outputs.argmax(1) != y).mean())


def moved(params: Any, *terms: tuple[float, Any]) -> Any:
    """Parameters plus multiples of directions."""
    for factor, way in terms:
        params = jax.tree.map(lambda a, b, f=factor: np.asarray(a) + f * np.asarray(b), params, way)
    return params


def test_every_part_is_there(done: Any) -> None:
    # Breaks if the study's parts do not fit together.
    entries = claims_module.to_json(done.presented.findings, STUDY.claims)
    verdicts = {entry["id"]: entry["verdict"] for entry in entries}
    assert len(verdicts) == 8
    assert verdicts["ch11.S.13"] == verdicts["ch11.mot.geometry"] == "refuted"
    assert "not-decided" not in verdicts.values()
    for drawing in STUDY.drawings:
        assert (done.out / "figures" / f"{drawing.name}.png").is_file()
    assert [len(table.rows) for table in done.presented.tables[:6]] == [4, 8, 11, 2, 2, 2]


def test_planes_are_the_loss_at_displaced_weights(done: Any) -> None:
    # Breaks if directions are not orthonormal (raw) or as long as each unit's weights (filter), if a plane
    # is transposed, if the arms get other planes, or if training and test examples change places.
    lane = end_points(done.result, "large").sel(seed=SEED)
    params = stored(done, "large")
    key = jax.random.fold_in(role_key(SEED, "probe"), 1)
    draws = [_gaussian(own, params) for own in jax.random.split(key)]
    first, second = (ravel_pytree(draw)[0] for draw in draws)
    first = first / np.linalg.norm(first)
    second = second - first * (first @ second) / (first @ first)
    unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))[1]
    raw = [unravel(jnp.asarray(v / np.linalg.norm(v))) for v in (first, second)]
    filtered = [_by_filter(draw, params) for draw in draws]
    for kind, directions, (a, b) in (("raw", raw, ("a", "b")), ("filter", filtered, ("u", "v"))):
        plane = lane[f"plane_{kind}"].isel(slice=1)
        for i, j in ((0, 3), (4, 1), (2, 2)):
            places = float(plane[a][i]), float(plane[b][j])
            there = moved(params, *zip(places, directions, strict=True))
            for split in ("train", "test"):
                found = float(plane.sel(split=split).isel({a: i, b: j}))
                assert found == pytest.approx(loss(there, split)[0], rel=1e-9)
    assert list(lane["a"].values) == [-5, -2.5, 0, 2.5, 5]
    assert list(lane["u"].values) == [-1, -0.5, 0, 0.5, 1]
    ends = loss(params, "test")
    assert float(lane["test_loss"]) == pytest.approx(ends[0])
    assert float(lane["test_error"]) == pytest.approx(ends[1])


def _gaussian(key: jax.Array, params: Any) -> Any:
    flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))
    return unravel(jax.random.normal(key, flat.shape, flat.dtype))


def _by_filter(draw: Any, params: Any) -> Any:
    found = {}
    for name, layer in params.items():
        rows, own = np.asarray(draw[name]["weight"]), np.asarray(layer["weight"])
        size = np.linalg.norm(own, axis=1) / np.linalg.norm(rows, axis=1)
        found[name] = {"weight": rows * size[:, None], "bias": np.zeros_like(layer["bias"])}
    return found


def test_the_curvature_of_a_plane_is_that_of_the_dense_hessian(done: Any) -> None:
    # Breaks if the Hessian over the plane is in units of its side, or of the other examples.
    lane = end_points(done.result, "small").sel(seed=SEED)
    params = stored(done, "small")
    flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))
    x, y = examples()["test"]

    def dense_loss(theta: jax.Array) -> jax.Array:
        from implicit_bias.models import Dense

        outputs, _ = Dense((5,), 2).apply(unravel(theta), {}, jnp.asarray(x, theta.dtype))
        log = jax.nn.log_softmax(outputs)
        return -jnp.mean(jnp.sum(jax.nn.one_hot(y, 2, dtype=theta.dtype) * log, 1))

    hessian = np.asarray(jax.hessian(dense_loss)(flat))
    key = jax.random.fold_in(role_key(SEED, "probe"), 0)
    draws = [np.asarray(ravel_pytree(_gaussian(own, params))[0]) for own in jax.random.split(key)]
    basis, _ = np.linalg.qr(np.stack(draws, axis=1))
    expected = np.linalg.eigvalsh(basis.T @ hessian @ basis)[::-1]
    found = lane["plane_curvature_raw"].sel(split="test").isel(slice=0).values
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)
    # Half the trace times the mean square of a coordinate on the boundary of a 5 × 5 grid of half side 5.
    axis = np.linspace(-5, 5, 5)
    square = np.add.outer(axis**2, axis**2)
    edge = np.ones((5, 5), bool)
    edge[1:-1, 1:-1] = False
    predicted = float(lane["predicted_raw"].sel(split="test").isel(slice=0))
    assert predicted == pytest.approx(expected.sum() / 2 * square[edge].mean() / 2, rel=1e-6)


def test_filter_normalised_planes_do_not_see_rescaled_layers(done: Any) -> None:
    # Breaks if the control looks at another plane, or rescales what changes the function.
    for arm in ("small", "adam"):
        lanes = end_points(done.result, arm)
        own = {
            kind: lanes[f"rise_{kind}"].sel(split="test").isel(slice=0)
            for kind in ("raw", "filter")
        }
        again = lanes["rescaled_rise"]
        np.testing.assert_allclose(again.sel(kind="filter"), own["filter"], rtol=1e-9)
        assert (np.abs(np.log(again.sel(kind="raw") / own["raw"])) > 0.1).all()


def test_straight_lines_curves_and_points_nearby(done: Any) -> None:
    # Breaks if a pair's ends change places, a line stops at its ends, or radii are not relative to θ₀.
    lane = trials(done.result, "paths").swap_dims(lane="seed").sel(seed=SEED)
    small, adam = (stored(done, arm) for arm in ("small", "adam"))
    way = jax.tree.map(lambda a, b: b - a, small, adam)
    line = lane.sel(pair="optimisers")
    for alpha in (-1.0, 0.25, 2.0):
        for split in ("train", "test"):
            expected = loss(moved(small, (alpha, way)), split)
            at = {"split": split, "alpha": alpha}
            assert float(line["straight_loss"].sel(at)) == pytest.approx(expected[0], rel=1e-9)
            assert float(line["straight_error"].sel(at)) == pytest.approx(expected[1])
    apart = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(way)))
    assert float(line["apart"]) == pytest.approx(apart)
    for fraction, ends in ((0.0, small), (1.0, adam)):
        found = line["curve_loss"].sel(split="train", fraction=fraction)
        assert float(found) == pytest.approx(loss(ends, "train")[0], rel=1e-9)
    model = SETTINGS.model.build(2)
    begun, _ = jax.jit(model.init)(
        role_key(SEED, "initialisation"), jnp.asarray(DATA.x_train[0], "float64")
    )
    start = loss(begun, "train")[0]
    np.testing.assert_allclose(lane["nearby_loss"].isel(radius=0), start, rtol=1e-6)
    assert float(np.abs(lane["nearby_loss"].isel(radius=1) - start).min()) > 1e-4


def test_matching_finds_a_planted_permutation(done: Any) -> None:
    # Breaks if the permutation is applied the wrong way round, or matching makes networks less alike.
    rows = trials(done.result, "matching")
    assert (rows["planted_found"] == 1).all()
    matched = rows["planted_loss"].sel(planted="matched")
    np.testing.assert_allclose(matched - matched.isel(fraction=0), 0, atol=1e-12)
    ends = rows["planted_loss"].sel(planted="permuted").isel(fraction=[0, -1])
    np.testing.assert_allclose(ends.isel(fraction=0), ends.isel(fraction=1), rtol=1e-12)
    before = trials(done.result, "paths")["apart"].values
    assert (rows["matched_apart"].values <= before + 1e-9).all()
    assert (rows["matched_loss_barrier"] >= 0).all()


def test_two_initialisations_are_two(done: Any) -> None:
    # Breaks if the arm redrawn begins where small does; the others must.
    first, other = ravel_pytree(stored(done, "small"))[0], ravel_pytree(stored(done, "redrawn"))[0]
    size = np.linalg.norm(first)
    assert np.linalg.norm(first - other) > size
    apart = trials(done.result, "paths")["apart"]
    assert (apart.sel(pair="initialisations") > 2 * apart.sel(pair="batches")).all()


def test_planes_that_are_not_random(done: Any) -> None:
    # Breaks if eigenvectors are not the Hessian's, or the way is not that of the lane.
    lane = trials(done.result, "special").swap_dims(lane="seed").sel(seed=SEED)
    plane = lane["eigen_plane"].sel(split="train")
    step = float(plane["e1"][-1])
    # Second differences along each axis are the eigenvalues, to a step small beside the curvature.
    for n, axis in enumerate(("e1", "e2")):
        other = "e2" if axis == "e1" else "e1"
        line = plane.isel({other: 2}).values
        second = (line[-1] - 2 * line[2] + line[0]) / step**2
        assert second == pytest.approx(float(lane["eigenvalues"][n]), rel=0.02)
    assert float(lane["eigenvalues"][0]) >= float(lane["eigenvalues"][1]) > 0
    way = lane["way"].transpose("snapshot", "component").values
    assert way.shape == (4, 2)
    np.testing.assert_allclose(way[-1], 0, atol=1e-12)
    np.testing.assert_allclose(np.abs(way).max(0), 1)
    middle = lane["way_plane"].sel(split="train").isel(c1=2, c2=2)
    small = end_points(done.result, "small").sel(seed=SEED)
    assert float(middle) == pytest.approx(float(small["train_loss"]))


def test_rows_of_other_stages_stay_out(done: Any) -> None:
    # Breaks if experiments are counted as end points.
    result: xr.Dataset = done.result
    assert set(result["arm"].values) == {
        "small", "large", "scaled", "adam", "redrawn", "station", "paths", "special", "matching", "script",
    }  # fmt: skip
    assert result["rise_raw"].notnull().any(("split", "slice")).sum() == 8
    assert Path(done.out / "report.html").is_file()
