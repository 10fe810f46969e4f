"""Datasets by name: every kind of name, every option, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from implicit_bias.data import available, digits, gaussian_classes, load, prepare
from implicit_bias.data.synthetic import GENERATORS
from implicit_bias.errors import UserError

Arrays = dict[str, np.ndarray]

PLUGIN = """
import numpy as np
from implicit_bias.data import Dataset

X = np.arange(8, dtype=np.float32).reshape(4, 2)
ready = Dataset("own", "classification", 2, X, np.array([0, 1, 0, 1]), X, np.array([0, 1, 0, 1]))

def make(shift=0.0):
    return ready.replace(x_train=X + np.float32(shift))

def wrong():
    return X

number = 3
"""


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(PLUGIN)
    return str(tmp_path / "own.py")


@pytest.fixture
def npz(tmp_path: Path, arrays: Arrays) -> str:
    np.savez(tmp_path / "arrays.npz", **arrays)
    return str(tmp_path / "arrays.npz")


def test_digits_are_flat_and_standardised_by_pixel() -> None:
    # Broken by another default; the means and deviations are taken by NumPy.
    d = load("digits")
    assert (d.n_train, d.n_test, d.input_shape, d.dtype) == (1297, 500, (64,), np.float32)
    assert np.abs(d.x_train.mean(0, dtype=np.float64)).max() < 1e-6
    deviations = d.x_train.std(0, dtype=np.float64)
    assert np.all((np.abs(deviations - 1) < 1e-5) | (deviations == 0))
    assert d.provenance["standardisation"]["kind"] == "pixel"
    assert (deviations == 0).sum() >= (load_digits().data.std(0) == 0).sum()


def test_options() -> None:
    # Broken by ignoring one of them.
    raw = load("digits", standardise="none", flatten=False)
    assert raw == digits()
    wide = load("digits", dtype="float64", standardise="global")
    assert wide.dtype == np.float64
    assert abs(wide.x_train.mean()) < 1e-12
    small = load("digits", n_train=100, n_test=50)
    assert (small.n_train, small.n_test) == (100, 50)
    assert small.provenance["standardisation"]["statistics"] == "training set, n = 100"
    assert load("digits", n_train=100, n_test=50, subset_seed=1) != small
    bounded = load("digits", min_std=0.1)
    assert np.abs(bounded.x_train).max() <= 10


def test_subsets_of_embedded_data_come_from_their_own_part() -> None:
    # Broken by mixing test images into training.
    def rows(x: np.ndarray) -> set[bytes]:
        return {row.tobytes() for row in x}

    d, whole = load("digits", n_train=200, standardise="none"), load("digits", standardise="none")
    assert rows(d.x_train) <= rows(whole.x_train)
    assert d.n_test == 500
    np.testing.assert_array_equal(np.bincount(d.y_train).clip(19, 21), np.bincount(d.y_train))


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_generators_take_their_own_options_and_are_left_unstandardised(name: str) -> None:
    # Broken by standardising what has a known distribution, or by losing an option.
    d = load(name, n_train=9, n_test=5, dim=6, seed=3)
    expected = GENERATORS[name](n_train=9, n_test=5, dim=6, seed=3)
    assert d == expected
    assert load(name, dtype="float64").dtype == np.float64
    assert load(name, n_train=9, standardise="pixel") != d


def test_prepared_data_and_array_files(npz: str) -> None:
    # Broken by a difference between a file in the cache and the same file read in place.
    prepare("mine", npz)
    cached, direct = load("mine"), load(npz)
    assert cached.checksum == direct.checksum
    assert direct.name == "arrays"
    assert cached.input_shape == (9,)
    assert load("mine", flatten=False).input_shape == (3, 3, 1)


def test_plugins(plugin: str) -> None:
    # Broken by taking only one of a record and a function, or by not passing options on.
    assert load(f"{plugin}:ready").name == "own"
    assert load(f"{plugin}:make", shift=2.0).x_train[0, 0] == 2
    assert load(f"{plugin}:ready", n_train=2).n_train == 2
    assert load("implicit_bias.data.synthetic:gaussian_classes", seed=5) == gaussian_classes(seed=5)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("minst", {}, "unknown dataset 'minst'; did you mean 'mnist'"),
        ("", {}, "give a name"),
        (None, {}, "the dataset is None"),
        ("mnist", {}, "`implicit-bias data prepare mnist`"),
        ("fashion-mnist", {}, "`implicit-bias data prepare fashion_mnist`"),
        ("absent.npz", {}, "there is no file or folder absent.npz"),
        ("digits", {"standardise": "pixels"}, "did you mean 'pixel'"),
        ("digits", {"seed": 1}, "dataset 'digits' has no option seed"),
        ("digits", {"n_train": 5000}, "digits has 1297 train examples"),
        ("digits", {"n_test": 0}, "digits has 500 test examples"),
        ("digits", {"dtype": "int8"}, "dtype is int8"),
        ("gaussian-classes", {"colour": 1}, "colour"),
        ("gaussian-classes", {"n_train": -1}, "n_train is -1"),
        ("linear-regression", {"dtype": "nonsense"}, "dtype is 'nonsense'"),
        ("PLUGIN:wrong", {}, "returned a ndarray"),
        ("PLUGIN:number", {}, "is a int; it must be a Dataset"),
        ("PLUGIN:mak", {}, "did you mean 'make'"),
        ("PLUGIN:make", {"shfit": 1}, "shfit"),
        ("PLUGIN:ready", {"shift": 1}, "is not a function; remove shift"),
        ("absent.py:make", {}, "there is no file absent.py"),
        ("no_such_module_at_all:make", {}, "there is no module 'no_such_module_at_all'"),
    ],
)
def test_bad_requests_give_one_line(plugin: str, name: str, options: dict, words: str) -> None:
    # Broken by a traceback, or by a message without a way out.
    spec = name.replace("PLUGIN", plugin) if isinstance(name, str) else name
    with pytest.raises(UserError, match=words) as caught:
        load(spec, **options)
    assert "\n" not in str(caught.value)


def test_listing(npz: str, cache_dir: Path) -> None:
    # Broken by a listing that reads or trusts damaged files, or that forgets the user's own.
    prepare("mine", npz)
    (cache_dir / "cifar10.npz").write_bytes(b"rubbish")
    lines = {line.name: line for line in available()}
    assert lines["digits"].status == "embedded"
    assert (lines["digits"].n_train, lines["digits"].n_test) == (1297, 500)
    assert lines["gaussian-classes"].status == "drawn"
    assert lines["mnist"].status == "not prepared"
    assert "data prepare mnist" in lines["mnist"].detail
    assert (lines["mine"].status, lines["mine"].n_train, lines["mine"].n_test) == (
        "prepared",
        12,
        6,
    )
    assert lines["cifar10"].status == "damaged"
    assert "--force" in lines["cifar10"].detail


def test_loading_starts_neither_jax_nor_tensorflow_nor_matplotlib() -> None:
    # Broken by a JAX computation while loading: devices could then no longer be chosen; or by a
    # heavy import.
    program = (
        "import sys\n"
        "from implicit_bias import data\n"
        "early = [m for m in ('sklearn', 'scipy.stats', 'PIL') if m in sys.modules]\n"
        "data.load('digits', n_train=100)\n"
        "data.load('gaussian-classes')\n"
        "from jax._src import xla_bridge\n"
        "late = [m for m in ('tensorflow', 'matplotlib') if m in sys.modules]\n"
        "print(early, late, list(xla_bridge._backends))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[] [] []", done.stderr
