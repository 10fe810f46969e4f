"""Finished lanes on the disk: found wherever they are, and never taken for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.results import checkpoint
from implicit_bias.results.lane_store import LaneStore, flatten_tree, leaves_of, load_params

IDENTITIES = [f"{n:016x}" for n in range(6)]


def arrays(*lanes: int) -> dict[str, np.ndarray]:
    """Arrays that are functions of the lane's number."""
    number = np.array(lanes)
    return {
        "loss": number / 7,
        "steps": number[:, None] * np.arange(3)[None, :],
        "diverged": number == 2,
        "none": np.zeros((len(lanes), 0), np.float32),
    }


def add(store: LaneStore, kind: str, *lanes: int) -> None:
    store.add(kind, [IDENTITIES[n] for n in lanes], arrays(*lanes))


def assert_lane(row: dict[str, np.ndarray], lane: int) -> None:
    expected = {name: values[0] for name, values in arrays(lane).items()}
    assert set(row) == set(expected)
    for name, value in expected.items():
        assert row[name].dtype == value.dtype
        assert row[name].shape == value.shape
        assert np.array_equal(row[name], value)


@pytest.fixture
def store(tmp_path: Path) -> LaneStore:
    return LaneStore(tmp_path / "run" / "lanes")


def test_rows_are_found_across_files_and_runs(store: LaneStore) -> None:
    # Breaks if a resumed or extended sweep does not find what an earlier one finished, or finds the
    # row of a neighbour.
    add(store, "trained", 0, 1, 2)
    add(store, "trained", 5)
    again = LaneStore(store.folder)  # another process, another stage
    add(again, "trained", 4, 3)
    found = again.rows("trained", IDENTITIES)
    assert set(found) == set(IDENTITIES)
    for number, identity in enumerate(IDENTITIES):
        assert_lane(found[identity], number)


def test_only_what_is_wanted_and_there_is_returned(store: LaneStore) -> None:
    # Breaks if a lane that was never run passes for a finished one.
    assert store.rows("trained", IDENTITIES) == {}
    assert not store.folder.exists()
    add(store, "trained", 0, 1)
    found = store.rows("trained", [IDENTITIES[1], IDENTITIES[3]])
    assert list(found) == [IDENTITIES[1]]
    assert store.rows("trained", []) == {}


def test_kinds_are_kept_apart(store: LaneStore) -> None:
    # Breaks if another measurement's rows are taken for this one's, or dropping one drops the other.
    add(store, "params", 0)
    add(store, "measured-12345678", 1)
    assert store.rows("trained", IDENTITIES) == {}
    assert list(store.rows("params", IDENTITIES)) == [IDENTITIES[0]]
    store.drop("params")
    assert store.rows("params", IDENTITIES) == {}
    assert list(store.rows("measured-12345678", IDENTITIES)) == [IDENTITIES[1]]


def test_the_same_lanes_again_are_one_file(store: LaneStore) -> None:
    # Breaks if a chunk that was run again after a crash piles up, or mixes with another order's rows.
    add(store, "trained", 0, 1)
    add(store, "trained", 0, 1)
    assert len(list(store.folder.iterdir())) == 1
    add(store, "trained", 1, 0)
    assert_lane(store.rows("trained", IDENTITIES)[IDENTITIES[1]], 1)


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_a_damaged_file_is_refused_by_name(store: LaneStore, damage: str) -> None:
    # Breaks if half a file becomes a result, or the user is not told which one to delete.
    add(store, "trained", 0, 1)
    (path,) = store.folder.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"truncated": content[:-40], "altered": content, "empty": b""}[damage])
    with pytest.raises(UserError) as caught:
        store.rows("trained", IDENTITIES)
    assert str(path) in str(caught.value)
    assert "delete it" in str(caught.value)
    # What the advice promises: the rest is found, and the missing lanes can be added anew.
    path.unlink()
    assert store.rows("trained", IDENTITIES) == {}
    add(store, "trained", 0, 1)
    assert len(store.rows("trained", IDENTITIES)) == 2


def test_a_file_that_is_being_written_is_no_file(store: LaneStore) -> None:
    # Breaks if what a killed process left half-written is read.
    add(store, "trained", 0)
    (path,) = store.folder.iterdir()
    path.with_name(f".{path.name}.0123abcd.partial").write_bytes(b"half")
    assert list(store.rows("trained", IDENTITIES)) == [IDENTITIES[0]]


def test_the_running_chunk_is_kept_once_and_found_by_name(store: LaneStore) -> None:
    # Breaks if a checkpoint of other lanes is resumed, an old one survives, or it is lost with a drop
    # of finished lanes.
    assert store.load_running("chunk") is None
    store.save_running("chunk", {"state/0000": np.zeros(2)}, {"step": 3})
    store.save_running("chunk", {"state/0000": np.arange(2.0)}, {"step": 7})
    assert len(list(store.folder.iterdir())) == 1
    assert store.load_running("other") is None
    store.drop("trained")
    loaded = store.load_running("chunk")
    assert loaded is not None
    assert loaded[0]["state/0000"].tolist() == [0, 1]
    assert loaded[1] == {"step": 7}
    assert store.rows("running", IDENTITIES[:0]) == {}
    add(store, "trained", 0)
    store.drop_running()
    assert store.load_running("chunk") is None
    assert list(store.rows("trained", IDENTITIES)) == [IDENTITIES[0]]


def test_a_damaged_running_checkpoint_is_refused_by_name(store: LaneStore) -> None:
    # Breaks if a run resumes from half a state.
    store.save_running("chunk", {"state/0000": np.arange(9.0)}, {"step": 3})
    path = store.folder / "running-chunk.ckpt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"running-chunk\.ckpt is truncated"):
        store.load_running("chunk")


# Trees

MODEL = models.Dense((3,) * 11, 2, "relu")  # twelve layers: layer_10 sorts before layer_2 as text


def tree(model: models.Model) -> Any:
    return jax.jit(model.init)(jax.random.key(0), jax.numpy.zeros(4, "float32"))[0]


def test_a_tree_comes_back_leaf_by_leaf() -> None:
    # Breaks if leaves are put back in the order of their names, and layers change places.
    params = jax.tree.map(np.asarray, tree(MODEL))
    flat = flatten_tree("params", params) | flatten_tree("model_state", {"mean": np.ones(2)})
    backwards = dict(reversed(flat.items()))
    leaves = leaves_of("params", backwards)
    expected = jax.tree.leaves(params)
    assert len(leaves) == len(expected) == 24
    for got, leaf in zip(leaves, expected, strict=True):
        assert np.array_equal(got, leaf)
    assert [leaf.tolist() for leaf in leaves_of("model_state", flat)] == [[1, 1]]
    assert leaves_of("state", flat) == []


def test_more_than_a_thousand_leaves_keep_their_order() -> None:
    # Breaks if leaves are sorted by the text of their numbers, whose width then differs.
    flat = flatten_tree("params", [np.array(n) for n in range(1101)])
    assert [int(leaf) for leaf in leaves_of("params", flat)] == list(range(1101))


def test_names_tell_where_a_leaf_belongs() -> None:
    # Breaks if the files cannot be read without this package.
    flat = flatten_tree("p", {"b": (np.zeros(1), {"w": np.zeros(2)}), "a": np.zeros(3)})
    assert {name: value.shape for name, value in flat.items()} == {
        "p/000/a": (3,),
        "p/001/b/0": (1,),
        "p/002/b/1/w": (2,),
    }


def test_final_parameters_load_in_one_line(store: LaneStore) -> None:
    # Breaks if what is loaded is not what apply takes, or is another lane's.
    params = jax.tree.map(np.asarray, tree(MODEL))
    stacked = jax.tree.map(lambda leaf: np.stack([leaf + n for n in range(3)]), params)
    flat = flatten_tree("params", stacked) | flatten_tree("model_state", {"m": np.zeros((3, 2))})
    store.add("params", IDENTITIES[:3], flat)

    loaded = load_params(store.folder.parent, f"{IDENTITIES[1]}:arms:large batch")

    expected = jax.tree.map(lambda leaf: leaf + 1, params)
    assert jax.tree.structure(loaded) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, loaded, expected)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    outputs, _ = MODEL.apply(loaded, {}, jax.numpy.asarray(x), train=False)
    h = x.astype(np.float64)
    for layer in range(12):
        w, b = (expected[f"layer_{layer}"][name].astype(np.float64) for name in ("weight", "bias"))
        h = h @ w.T + b
        h = np.maximum(h, 0) if layer < 11 else h
    np.testing.assert_allclose(outputs, h, rtol=1e-4)
    # The stage and arm of a lane_id do not matter, nor does text for the folder.
    again = load_params(str(store.folder.parent), IDENTITIES[1])
    jax.tree.map(np.testing.assert_array_equal, again, loaded)


def test_parameters_that_were_not_kept_are_refused_with_the_remedy(store: LaneStore) -> None:
    # Breaks if the user is not told how to get them.
    run = store.folder.parent
    for identity in ("ffff:arms:a", "no such lane"):
        with pytest.raises(UserError, match=r"keeps no parameters of lane .*keep_params=true"):
            load_params(run, identity)


def test_what_cannot_be_written_is_said(store: LaneStore) -> None:
    # Breaks if a result that is not on the disk counts as finished.
    store.folder.parent.mkdir()
    store.folder.touch()  # a file where the folder should be
    with pytest.raises((UserError, OSError)):
        add(store, "trained", 0)
    assert checkpoint.remove_partial(store.folder.parent) == 0
