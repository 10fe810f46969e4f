"""Preparation: which way is taken, what is refused at once, and the real TensorFlow Datasets."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from implicit_bias.data import cache, load, prepare, sources
from implicit_bias.errors import UserError

Arrays = dict[str, np.ndarray]


@pytest.fixture
def module() -> ModuleType:
    """The module, which the function of the same name hides as an attribute of its package."""
    return importlib.import_module("implicit_bias.data.prepare")


@pytest.fixture
def no_tfds(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_tfds", lambda: False)


@pytest.fixture
def npz(tmp_path: Path, arrays: Arrays) -> Path:
    np.savez(tmp_path / "arrays.npz", **arrays)
    return tmp_path / "arrays.npz"


def _never(*_: object, **__: object) -> None:
    raise AssertionError("TensorFlow Datasets must not be started")


def test_without_a_network_tfds_is_never_started(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by leaving the discovery to TensorFlow Datasets, which retries for minutes.
    monkeypatch.setattr(module, "_has_tfds", lambda: True)
    monkeypatch.setattr(module, "_unreachable", lambda address: f"{address} cannot be reached")
    monkeypatch.setattr(subprocess, "run", _never)
    for name in ("mnist", "fashion_mnist", "cifar10"):
        with pytest.raises(UserError, match=f"prepare {name} --from DIR") as caught:
            prepare(name)
        assert "check the network" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_tfds")
def test_without_the_extra_the_message_names_it(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by an ImportError; and nothing is asked of the network for it.
    monkeypatch.setattr(module, "_unreachable", _never)
    with pytest.raises(UserError, match=r"pip install 'implicit-bias\[datasets\]'"):
        prepare("mnist")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, None),
        (urllib.error.HTTPError("u", 405, "no HEAD", {}, None), None),
        (urllib.error.HTTPError("u", 403, "forbidden", {}, None), "answers 403"),
        (urllib.error.URLError("Name or service not known"), "Name or service not known"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_the_network_probe(
    module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    answer: Exception | None,
    expected: str | None,
) -> None:
    # Broken by taking a refusal for a connection, or a server without HEAD for a dead one.
    class Reply:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    def urlopen(*_: object, **__: object) -> Reply:
        if answer is not None:
            raise answer
        return Reply()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    problem = module._unreachable("https://example.invalid/file")
    assert problem is None if expected is None else expected in problem


def test_a_probe_that_hangs_is_given_up(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by waiting for a name resolution that never ends.
    import threading

    release = threading.Event()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: release.wait(60))
    assert "does not answer" in module._unreachable("https://example.invalid/file", seconds=0.01)
    release.set()


def test_the_export_runs_outside_this_process(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, arrays: Arrays, cache_dir: Path
) -> None:
    # Broken by importing TensorFlow here, by not passing manual_dir on, or by leaving working
    # files. The program is replaced by one that writes what TensorFlow Datasets would.
    big = {
        "x_train": np.zeros((20, 28, 28, 1), np.uint8),
        "y_train": np.arange(20) % 10,
        "x_test": np.ones((10, 28, 28, 1), np.uint8),
        "y_test": np.arange(10),
        "version": np.array("9.9"),
    }
    seen = {}

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        seen["command"], seen["env"] = command, options["env"]
        np.savez(command[5], **big)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module, "_has_tfds", lambda: True)
    monkeypatch.setattr(module, "_unreachable", lambda address: None)
    monkeypatch.setattr(subprocess, "run", run)
    file = prepare("mnist")
    assert seen["command"][:2] == [sys.executable, "-P"]
    assert len(seen["command"]) == 6
    assert seen["env"]["CUDA_VISIBLE_DEVICES"] == "-1"
    assert load("mnist").provenance["route"] == "TensorFlow Datasets 9.9, download"
    assert [p.name for p in cache_dir.iterdir()] == [file.name]
    # The second time nothing is run.
    monkeypatch.setattr(subprocess, "run", _never)
    assert prepare("mnist") == file


def test_a_failing_export_gives_its_last_line(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    # Broken by a CalledProcessError, or by a screenful of TensorFlow's messages.
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "noise\nImportError: no pillow\n")

    monkeypatch.setattr(module, "_has_tfds", lambda: True)
    monkeypatch.setattr(module, "_unreachable", lambda address: None)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match="could not prepare mnist: ImportError: no pillow"):
        prepare("mnist")
    assert not list(cache_dir.glob("*"))


def test_the_export_program_imports_nothing_of_this_package(module: ModuleType) -> None:
    # Broken by an import of the package, whose folder is deliberately not on the program's path.
    program = Path(module.__file__).with_name("_tfds_export.py").read_text()
    assert "import implicit_bias" not in program
    assert "from implicit_bias" not in program


def test_users_arrays(npz: Path) -> None:
    # Broken by any of the three ways of saying the same.
    prepare("mine", npz)
    prepare(str(npz), as_name="mine2")
    prepare("anything", npz, as_name="mine3")
    first = load("mine")
    assert first.name == "mine"
    assert first.checksum == load("mine2").checksum == load("mine3").checksum
    assert first.n_outputs == 3


def test_preparing_twice_is_done_already_unless_the_source_differs(
    npz: Path, tmp_path: Path, arrays: Arrays
) -> None:
    # Broken by passing off what is in the cache as what the user points at now.
    file = prepare("mine", npz)
    stamp = file.stat().st_mtime_ns
    assert prepare("mine", npz) == file
    assert file.stat().st_mtime_ns == stamp
    other = tmp_path / "other.npz"
    np.savez(other, **arrays | {"y_test": arrays["y_test"][::-1]})
    with pytest.raises(UserError, match=r"already prepared from .*--force"):
        prepare("mine", other)
    before = load("mine")
    prepare("mine", other, force=True)
    assert load("mine") != before


def test_a_damaged_cache_is_refused_and_rebuilt_on_request(npz: Path) -> None:
    # Broken by reusing it, or by a rebuild that trips over the damage.
    file = prepare("mine", npz)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="data prepare FILE --name mine --force"):
        load("mine")
    with pytest.raises(UserError, match="--force"):
        prepare("mine", npz)
    prepare("mine", npz, force=True)
    assert load("mine").n_train == 12


@pytest.mark.usefixtures("no_tfds")
@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        (("minst",), {}, "did you mean 'mnist'"),
        (("digits",), {}, "digits needs no preparation"),
        (("mine", "absent.npz"), {}, "there is no file or folder absent.npz"),
        (("mnist", "absent"), {}, "there is no file or folder absent"),
        (("absent/arrays.npz",), {"as_name": "mine"}, "there is no file or folder"),
        (("absent/arrays.npz",), {}, "give one with --name"),
        (("mine", "."), {"as_name": "digits"}, "'digits' belongs to another dataset"),
        (("mine", "."), {"as_name": "mnist"}, "'mnist' belongs to another dataset"),
        (("mine", "."), {"as_name": "../mine"}, "cannot be used"),
        (("mnist", "EMPTY"), {}, "or the original files train-images-idx3-ubyte.gz"),
        (("cifar10", "EMPTY"), {}, "neither images nor arrays"),
        (("mine", "EMPTY"), {}, "neither images nor arrays"),
    ],
)
def test_impossible_requests_are_refused(
    tmp_path: Path, args: tuple[str, ...], options: dict, words: str
) -> None:
    # Broken by a traceback, or by an error that does not say what to do.
    (tmp_path / "empty").mkdir()
    given = [str(tmp_path / "empty") if a == "EMPTY" else a for a in args]
    with pytest.raises(UserError, match=words):
        prepare(*given, **options)


@pytest.mark.usefixtures("no_tfds")
def test_cifar10_originals_need_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Broken by ignoring the archive that lies there.
    import hashlib

    checksum = hashlib.sha256(b"archive").hexdigest()
    monkeypatch.setitem(sources.ORIGINALS, "cifar10", {"cifar-10-binary.tar.gz": checksum})
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"archive")
    with pytest.raises(UserError, match=r"implicit-bias\[datasets\]"):
        prepare("cifar10", tmp_path)


def test_an_unwritable_cache_is_said_to_be_so(
    npz: Path, tmp_path: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by a traceback; a file stands where the folder should be.
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot save"):
        prepare("mine", npz, cache_dir=tmp_path / "file")
    monkeypatch.setattr(module, "_has_tfds", lambda: True)
    monkeypatch.setattr(module, "_unreachable", lambda address: None)
    with pytest.raises(UserError, match="cannot work in the cache folder"):
        prepare("mnist", cache_dir=tmp_path / "file")


@pytest.mark.usefixtures("no_tfds")
def test_real_mnist_without_tfds(real_data: Path) -> None:
    # Broken by a misreading; and the provenance says which way was taken.
    prepare("mnist", real_data / "mnist")
    header = cache.read_header("mnist")
    assert header["source"]["route"].startswith("original files, read directly")
    d = load("mnist", n_train=100, n_test=50)
    assert (d.n_train, d.n_test, d.input_shape) == (100, 50, (784,))
    np.testing.assert_array_equal(
        np.bincount(d.y_test, minlength=10).clip(4, 6), np.bincount(d.y_test)
    )


def test_real_mnist_through_tfds_is_the_same_bit_for_bit(
    real_data: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by a change in TensorFlow Datasets' builder, its manual_dir or its reader; and by an
    # order of examples that depends on the way they came. About half a minute, once.
    for name in ("tensorflow", "tensorflow_datasets"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed (extra 'datasets')")
    prepare("mnist", real_data / "mnist", as_name="by_tfds")
    monkeypatch.setattr(module, "_has_tfds", lambda: False)
    prepare("mnist", real_data / "mnist", as_name="by_hand")
    ours, theirs = cache.read_header("by_hand"), cache.read_header("by_tfds")
    assert theirs["source"]["route"].startswith("TensorFlow Datasets")
    assert json.dumps(ours["arrays"]) == json.dumps(theirs["arrays"])
    assert "tensorflow" not in sys.modules
