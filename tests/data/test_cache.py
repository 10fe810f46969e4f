"""Prepared datasets on disk: round trips, damage of every kind, and writes that fail."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from implicit_bias.data import cache
from implicit_bias.data.raw import RawData, from_arrays
from implicit_bias.errors import UserError


@pytest.fixture
def raw(arrays: dict[str, np.ndarray]) -> RawData:
    return from_arrays(
        "mine", arrays, place="here", source={"source": "test"}, classes=("a", "b", "c")
    )


def test_round_trip(raw: RawData, cache_dir: Path) -> None:
    # Broken by losing a field, a type or a bit.
    file = cache.save("mine", raw, given="/somewhere")
    assert file == cache_dir / "mine.npz"
    back = cache.load("mine")
    assert back.to_dataset() == raw.to_dataset()
    assert back.to_dataset().provenance == raw.to_dataset().provenance
    assert back.arrays["x_train"].dtype == np.uint8
    assert cache.read_header("mine")["given"] == "/somewhere"
    assert cache.names() == ["mine"]


def test_the_file_is_plain(raw: RawData) -> None:
    # Broken by a format that needs this package: NumPy and json alone must read it.
    with np.load(cache.save("mine", raw), allow_pickle=False) as stored:
        header = json.loads(bytes(stored["header"]))
        np.testing.assert_array_equal(stored["x_train"], raw.arrays["x_train"])
    assert header["arrays"]["x_train"]["shape"] == [12, 3, 3, 1]


def test_truncation_anywhere_is_refused(raw: RawData) -> None:
    # Broken by trusting a file that was cut off, at whatever length.
    file = cache.save("mine", raw)
    whole = file.read_bytes()
    for length in {0, 1, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1}:
        file.write_bytes(whole[:length])
        with pytest.raises(
            UserError, match=r"mine\.npz is damaged .* data prepare FILE --name mine --force"
        ):
            cache.load("mine")


def test_a_flipped_bit_never_changes_what_is_loaded(raw: RawData) -> None:
    # Broken by any byte of arrays or header that no checksum covers. Bytes that mean nothing (time
    # stamps inside the archive) may change, but then the data must be the same.
    file = cache.save("mine", raw)
    whole = file.read_bytes()
    refusals = []
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        file.write_bytes(damaged)
        try:
            back = cache.load("mine")
        except UserError as error:
            refusals.append(str(error))
            continue
        assert back.to_dataset() == raw.to_dataset()
        assert back.to_dataset().describe() == raw.to_dataset().describe()
    assert len(refusals) > 0.5 * len(whole) / 7
    assert all("mine.npz" in message and "\n" not in message for message in refusals)


def test_exchanged_arrays_are_refused(raw: RawData) -> None:
    # Broken by relying on the archive's own checksums, which an edited archive satisfies.
    file = cache.save("mine", raw)
    with np.load(file) as stored:
        edited = {key: stored[key] for key in stored.files}
    edited["x_train"] = 255 - edited["x_train"]
    np.savez(file, **edited)
    with pytest.raises(UserError, match="x_train does not have the checksum"):
        cache.load("mine")
    edited["x_train"] = edited["x_train"][:5]
    np.savez(file, **edited)
    with pytest.raises(UserError, match="x_train has another shape"):
        cache.load("mine")


def test_another_layout_or_another_file_is_refused(raw: RawData) -> None:
    # Broken by guessing what a newer header means, or by a KeyError for someone else's file.
    file = cache.save("mine", raw)
    np.savez(file, header=np.frombuffer(b'{"format": 99}', np.uint8))
    with pytest.raises(UserError, match="version 99"):
        cache.load("mine")
    np.savez(file, other=np.zeros(3))
    with pytest.raises(UserError, match="damaged"):
        cache.read_header("mine")


def test_missing_files_are_said_to_be_missing() -> None:
    # Broken by calling an absent dataset damaged.
    for read in (cache.load, cache.read_header):
        with pytest.raises(UserError, match="there is no prepared dataset 'mine'"):
            read("mine")


def test_a_full_disk_leaves_the_old_file(
    raw: RawData, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by writing in place, by leaving temporary files, or by a bare OSError.
    file = cache.save("mine", raw)
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*IMPLICIT_BIAS_CACHE"):
        cache.save("mine", raw)
    assert file.read_bytes() == before
    assert [p.name for p in cache_dir.iterdir()] == ["mine.npz"]


def test_a_folder_that_is_a_file_is_refused(
    raw: RawData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by a traceback from mkdir.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMPLICIT_BIAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot save"):
        cache.save("mine", raw)
    assert cache.names() == []


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../up", "a b", "x" * 200, "ä"])
def test_names_stay_inside_the_folder(name: str) -> None:
    # Broken by a name that walks out of the cache.
    with pytest.raises(UserError, match="cannot be used"):
        cache.path(name)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Broken by another order of precedence: argument, variable, the user's cache folder.
    monkeypatch.setenv("IMPLICIT_BIAS_CACHE", "~/somewhere")
    assert cache.directory(tmp_path) == tmp_path
    assert cache.directory() == Path.home() / "somewhere"
    monkeypatch.delenv("IMPLICIT_BIAS_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.directory() == Path.home() / ".cache" / "implicit_bias"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "implicit_bias"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.directory() == Path.home() / "Library" / "Caches" / "implicit_bias"
