"""What a user can get wrong: one line on standard error, exit status 2, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from implicit_bias.cli import main

TINY = Path(__file__).with_name("tiny_study.py")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, no prepared data, and JAX's switches as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMPLICIT_BIAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IMPLICIT_BIAS_COMPILATION_CACHE", "off")
    jax.devices()
    float64 = jax.config.jax_enable_x64
    yield tmp_path
    jax.config.update("jax_enable_x64", float64)


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command; return its one line."""
    before = _files()
    status = main(arguments)
    written = capsys.readouterr()
    assert status == 2
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert written.err.endswith("\n")
    assert written.err.startswith("implicit-bias: error: ")
    assert "Traceback" not in written.err
    assert _files() == before, "something was left behind"
    return written.err


def _files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.name != ".lock")


def _run(*settings: str) -> list[str]:
    return ["run", "batch-size", *(word for setting in settings for word in ("--set", setting))]


# The command line itself, and settings. Each row: arguments, and what the line must tell.
ARGUMENTS: list[tuple[list[str], str]] = [
    ([], "required: COMMAND"),
    (["rnu"], "invalid choice: 'rnu'"),
    (["run"], "required: STUDY"),
    (["run", "batchsize"], "did you mean 'batch-size'?"),
    (["plan", "batch_size"], "did you mean 'batch-size'?"),
    (["tune", "nothing"], "unknown study 'nothing'"),
    (["list", "batch-sise"], "did you mean 'batch-size'?"),
    (["run", "batch-size", "laptop"], "one argument too many: 'laptop'"),
    (["run", "batch-size", "--resum"], "did you mean '--resume'?"),
    (["run", "batch-size", "--seed=3"], "did you mean '--seeds'?"),
    (["run", "batch-size", "--out"], "--out: expected one argument"),
    (["run", "batch-size", "--scale", "huge"], "no size 'huge'; choose one of smoke"),
    (["run", "batch-size", "--shard", "0/0"], "is '0/0'; give i/n with 1 <= i <= n"),
    (["run", "batch-size", "--shard", "3/2"], "is '3/2'; give i/n"),
    (
        ["run", "batch-size", "--shard", "0/2"],
        "is '0/2'; give i/n with 1 <= i <= n: shards are counted from 1, the first is 1/2",
    ),
    (["run", "batch-size", "--shard", "half"], "is 'half'; give i/n"),
    (["run", "batch-size", "--seeds", "2", "--shard", "3/3"], "seed"),
    (["run", "batch-size", "--strategy", "loop"], "invalid choice: 'loop'"),
    (["run", "batch-size", "--memory", "-1"], "is '-1'; give a positive number of gigabytes"),
    (["run", "batch-size", "--memory", "nan"], "is 'nan'; give a positive number"),
    (["run", "batch-size", "--memory", "1e-8"], "raise it"),
    (["run", "batch-size", "--tile", "0"], "is '0'; give a whole number >= 1"),
    (["run", "batch-size", "--devices", "1000"], "devices is 1000"),
    (["run", "batch-size", "--resume"], "no run to resume"),
    (["run", "batch-size", "--seeds", "0"], "seeds is 0; give a whole number >= 1"),
    (["run", "batch-size", "--seeds", "-3"], "seeds is -3; give a whole number >= 1"),
    (["run", "batch-size", "--seeds", "many"], "seeds is 'many'; give a whole number >= 1"),
    (["run", "batch-size", "--seeds", "2.5"], "seeds is 2.5; give a whole number >= 1"),
    (["run", "batch-size", "--set", "epochs"], "write key=value"),
    (["run", "batch-size", "--set", "=3"], "write key=value"),
    (_run("epochs="), "write epochs=null for none"),
    (_run("batch_sizes=[16"), "not YAML"),
    (_run("scale=laptop"), "use --scale"),
    (_run("study=other"), "name the study itself"),
    (_run("epoch=3"), "did you mean epochs?"),
    (_run("model.width=[3]"), "did you mean model.widths?"),
    (_run("widths=[3]"), "did you mean model.widths?"),
    (_run("epochs=many"), "epochs is 'many'; give a number > 0"),
    (_run("seeds=true"), "seeds is true; give a whole number"),
    (_run("epochs=.nan"), "epochs is NaN; give a finite number > 0"),
    (_run("anchor_step_size=-0.1"), "anchor_step_size is -0.1; give a number > 0"),
    (_run("momentum.step_size=0"), "momentum.step_size is 0; give a number > 0"),
    (_run("momentum.momentum=1"), "momentum.momentum is 1; give a number >= 0 and < 1"),
    (_run("label_noise=1.0"), "label_noise is 1; give a number >= 0 and < 1"),
    (_run("matched.target_loss=0"), "matched.target_loss is 0; give a number > 0"),
    (_run("model.widths=[0]"), "model.widths[0] is 0; give a whole number >= 1"),
    (_run("model.widths=8"), "model.widths is 8; give a list"),
    (_run("model.activation=rellu"), "one of relu, tanh, erf, gelu, identity"),
    (_run("model.parameterisation=mu"), "one of standard, ntk, mup"),
    (_run("model=dense"), "give a section with keys name, options, widths"),
    (_run("model.name=resnext"), "resnext"),
    (_run("model.name=net.py:net"), "there is no file net.py"),
    (_run("dtype=float16"), "one of float32, float64"),
    (_run("arms=[]"), "arms is []; give a list of at least 1"),
    (_run("arms=[epochs-fixd]"), "epochs-fixed"),
    (_run("batch_sizes=[]"), "batch_sizes"),
    (_run("batch_sizes=[16, 100000]"), "100000"),
    (_run("batch_sizes=[16, 64.5]"), "batch_sizes[1] is 64.5; give a whole number >= 1"),
    (_run("updates.batch_sizes=[100, 1001]"), "1001"),
    (_run("arms=[momentum]", "momentum.batch_sizes=[16, 1001]"), "1001"),
    (_run("updates.batch_sizes=[16, 1000]"), "at most 16 times the smallest"),
    (
        _run("data.n_train=1200", "data.n_valid=500"),
        "data.n_train is 1200 and data.n_valid is 500; ",
    ),
    (_run("data.n_train=0"), "data.n_train is 0; give a whole number >= 1, or null"),
    (_run("data.n_valid=-1"), "data.n_valid is -1; give a whole number >= 0"),
    (_run("data.n_test=100000"), "100000"),
    (_run("data.standardise=whiten"), "one of pixel, global, none"),
    (_run("data.name=digit"), "did you mean 'digits'?"),
    (_run("data.name=mnist"), "implicit-bias data prepare mnist"),
    (_run("data.name=nothing.npz"), "nothing.npz"),
    (_run("data.name=nothing.py:data"), "there is no file nothing.py"),
    (_run("data.name=nosuchmodule:data"), "no module 'nosuchmodule'"),
    (_run("data.name=teacher-student"), "regression"),
    (_run("arms=[epochs-fixed, epochs-fixed]"), "name each once"),
    (_run("tuning_step_sizes=[0.1, 0.1]"), "name each once"),
    (_run("curvature.radii=[]"), "curvature.radii is []"),
    (_run("curvature.filter_radii=[0.1, 0.1]"), "name each once"),
    (_run("curvature.directions=1"), "curvature.directions is 1; give a whole number >= 2"),
    (["run", "absent.yaml"], "there is no file absent.yaml"),
    (["run", "absent.py:study"], "there is no file absent.py"),
    (["run", "nosuchmodule:study"], "no module 'nosuchmodule'"),
    (["run", "implicit_bias.studies:nothing"], "nothing"),
    (["run", "implicit_bias.studies:names"], "not a Study"),
    (["run", str(TINY)], "is a Python file"),
    (["run", f"{TINY}:STUDY", "--scale", "smoke"], "leave out --scale"),
    (["report", "absent"], "absent"),
    (["export", "absent"], "absent"),
    (["export", "absent", "--format", "xlsx"], "invalid choice: 'xlsx'"),
    (["merge", "--out", "whole"], "DIR"),
    (["merge", "absent", "--out", "whole"], "absent"),
    (["merge", "a", "b"], "--out"),
    (["data"], "required: COMMAND"),
    (["data", "prepare", "mnits"], "did you mean 'mnist'?"),
    (["data", "prepare", "digits"], "digits needs no preparation"),
    (["data", "prepare", "mine", "--from", "absent"], "absent"),
    (["data", "prepare", "../mine", "--from", "absent"], "mine"),
]


# Breaks if a mistake is not found before something is written, or is told in more than a line.
@pytest.mark.parametrize(
    ("arguments", "told"), ARGUMENTS, ids=[" ".join(row[0])[:60] or "nothing" for row in ARGUMENTS]
)
def test_arguments(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in _refused(arguments, capsys)


# Settings of each study that are wrong by themselves, together, or for the data and the network; and what
# the line must begin with: the setting as it was given.
SETTINGS: list[tuple[str, str, str]] = [
    ("sharpness", "measuring.top=399", "measuring.top is 399 and measuring.max_products is 400;"),
    ("sharpness", "measuring={top: 5000, max_products: 6000}",
     "measuring.top is 5000, but the network has 1210 parameters; choose at most 1210"),
    ("sharpness", "measuring.examples=201", "measuring.examples is 201, but a lane trains on 200;"),
    ("sharpness", "measuring.tol=2", "measuring.tol is 2; give a number > 0 and < 1"),
    ("sharpness", "measuring.tol=1e-17", "measuring.tol is 1e-17 and dtype is 'float64';"),
    ("sharpness", "keskar.subspace=1211", "keskar.subspace is 1211, but the network has 1210"),
    ("sharpness", "keskar.arms=[none]", "keskar.arms is [\"none\"]; there is no 'none'"),
    ("sharpness", "keskar.alphas=[1]", "keskar.alphas is [1]; give factors other than 1"),
    ("sharpness", "radii.worst_l2=[0]", "radii.worst_l2[0] is 0; give a number > 0\n"),
    ("sharpness", "radii.worst_l2=[1]", "radii.worst_l2 is [1] and radii.adaptive_worst_l2 is"),
    ("sharpness", "alphas=[.inf]", "alphas[0] is Infinity; give a finite number > 0\n"),
    ("sharpness", "alphas=[2, 2.0000001]", "alphas is [2, 2.0000001]; name each once"),
    ("sharpness", "step_sizes=[.nan]", "step_sizes is [NaN]; give a list of 2, each a number > 0\n"),
    ("sharpness", "batch_sizes=[10, 201]", "batch_sizes is [10, 201], but a lane trains on 200"),
    ("sharpness", "batch_sizes=[20, 10]", "batch_sizes is [20, 10]; give increasing numbers"),
    ("sharpness", "matched.target_loss=2.31", "matched.target_loss is 2.31, but guessing among 10"),
    ("sharpness", "matched.evaluate_every=1e6", "matched.evaluate_every is 1000000, but "),
    ("sharpness", "epochs=1e10", "epochs is 10000000000, but an epoch has 20 updates;"),
    ("sharpness", "epochs=0.001", "epochs is 0.001, but an epoch has 20 updates;"),
    ("sharpness", "data.classes=[0, 99]", "data.classes name 99;"),
    ("sharpness", "data.n_test=9999", "data.n_test is 9999, but digits has"),
    ("edge-of-stability", "updates=24", "updates is 24 and probes is 25;"),
    ("edge-of-stability", "probes=1001", "probes is 1001 and updates is 1000;"),
    ("edge-of-stability", "tol=5", "tol is 5; give a number > 0 and < 1"),
    ("edge-of-stability", "tol=1e-9", "tol is 1e-09 and dtype is 'float32';"),
    ("edge-of-stability", "max_products=1", "max_products is 1; give a whole number >= 3"),
    ("edge-of-stability", "flow.time=0.1", "flow.time is 0.1 and flow.step_size is 0.2"),
    ("edge-of-stability", "flow.step_size=200", "flow.step_size is 200 and flow.time is 150"),
    ("edge-of-stability", "flow.step_size=1e-9", "flow.step_size is 1e-09 and flow.time is 150;"),
    ("edge-of-stability", "small_steps.time=4.01", "small_steps.time is 4.01 and small_steps.step"),
    ("edge-of-stability", "sgd.batch_size=301", "sgd.batch_size is 301, but a lane trains on 300"),
    ("edge-of-stability", "sgd.batch_size=300", "sgd.batch_size is 300, but a lane trains on 300"),
    ("edge-of-stability", "until_error=0.9", "until_error is 0.9, but guessing one of 10 classes"),
    ("edge-of-stability", "gd.step_sizes=[1, 1]", "gd.step_sizes is [1, 1]; name each once"),
    ("edge-of-stability", "arms=[gdd]", "arms is [\"gdd\"]; there is no 'gdd'; did you mean gd?"),
    ("edge-of-stability", "updates=1e12", "updates is 1000000000000; choose at most 2147483647"),
    ("flat-minima", "poison.extra=5000", "poison.examples is 300 and poison.extra is 5000, but "),
    ("flat-minima", "poison.target_loss=3", "poison.target_loss is 3, but guessing among 10"),
    ("flat-minima", "search.guesses=3", "search.guesses is 3 and search.keep is 8;"),
    ("flat-minima", "search.examples=3", "search.examples is 3; choose an even number"),
    ("flat-minima", "search.examples=5000", "search.examples is 5000, but class 0 or 1 has"),
    ("flat-minima", "measure.eigenvalues=100", "measure.eigenvalues is 100 and measure.max_prod"),
    ("flat-minima", "measure.eps=[0.2]", "measure.eps is [0.2] and measure.published_eps is 0.1;"),
    ("flat-minima", "measure.eps=[0.1, 2]", "measure.eps[1] is 2; give a number > 0 and <= 1"),
    ("flat-minima", "spectrum.batch_size=601", "spectrum.batch_size is 601, but a lane trains on"),
    ("flat-minima", "spectrum.epochs=[50, 1000000000]", "spectrum.epochs is [50, 1000000000], but"),
    ("flat-minima", "large_batch=601", "large_batch is 601, but a lane trains on 600"),
    ("flat-minima", "arms=[sam]", "arms is [\"sam\"]; add 'sgd'"),
    ("landscape", "batches.large=241", "batches.large is 241, but a lane trains on 240"),
    ("landscape", "planes.grid=4", "planes.grid is 4; choose an odd number"),
    ("landscape", "planes.grid=1000001", "planes.grid is 1000001; give a whole number >= 3 and <="),
    ("landscape", "planes.rescaling=1", "planes.rescaling is 1; give another factor"),
    ("landscape", "special.stations=[1e-5, 2e-5]", "special.stations is [1e-05, 2e-05] and epochs"),
    ("landscape", "epochs=5", "epochs is 5 and special.stations is [0.2, 0.5, 1, 2, 5, 10];"),
    ("landscape", "nearby.radii=[1, 1]", "nearby.radii is [1, 1]; name each once"),
    ("landscape", "model.widths=[]", "model.widths is []; hidden units are matched"),
    ("batch-size", "batch_sizes=[16, 1001]", "batch_sizes is [16, 1001], but a lane trains on"),
    ("batch-size", "curvature.examples=1001", "curvature.examples is 1001, but a lane trains on"),
    ("batch-size", "curvature.probe_set=5000", "curvature.probe_set is 5000, but there are 500"),
    ("batch-size", "curvature.noise_batches=[4]", "curvature.noise_batches is [4]; give a list of 2,"),
    ("batch-size", "curvature.tol=7", "curvature.tol is 7; give a number > 0 and < 1"),
    ("batch-size", "tuning_step_sizes=[]", "tuning_step_sizes is []; give a list of at least 1"),
    ("batch-size", "probes=100000000", "probes is 100000000; give a whole number >= 1 and <="),
    ("batch-size", "data.n_valid=0", "data.n_valid is 0 and arms is ["),
    ("ntk-width", "linearised.largest=100000", "linearised.largest is 100000 and widths is ["),
    ("ntk-width", "linearised.largest=1", "linearised.largest is 1 and widths is ["),
    ("ntk-width", "expectation.width=1000000", "expectation.width is 1000000; give a whole number"),
    ("ntk-width", "expectation={width: 200000, networks: 100000}",
     "expectation.width is 200000 and expectation.networks is 100000; choose fewer,"),
    ("ntk-width", "widths=[16, 32]", "widths is [16, 32]; give a list of at least 3"),
    ("ntk-prediction", "data.n_train=1", "data.n_train is 1; choose at least 2"),
    ("ntk-prediction", "exercise.width=100000000", "exercise.width is 100000000; give a whole number"),
    ("ntk-prediction", "updates=5", "updates is 5 and probes is "),
    ("ntk-prediction", "model.bias_std=1", "model.bias_std is 1 and model.bias is false;"),
    ("laziness", "modes.hidden=3", "modes.hidden is 3 and modes.strengths is [4, 2, 1, 0.5];"),
    ("laziness", "modes.inputs=3", "modes.inputs is 3 and modes.strengths is [4, 2, 1, 0.5];"),
    ("laziness", "alphas=[1, 2, 3]", "alphas is [1, 2, 3]; add 1"),
    ("laziness", "data.n_valid=0", "data.n_valid is 0; when to stop"),
    ("laziness", "updates=4", "updates is 4 and probes is "),
]  # fmt: skip


# Breaks if `plan` lets pass what only `run` refuses, if one mistake is told as several, or under another
# name than that of the setting, or if a file is cited for what the command line says.
@pytest.mark.parametrize(
    ("study", "given", "told"), SETTINGS, ids=[" ".join(row[:2]) for row in SETTINGS]
)
def test_settings_of_studies(
    study: str, given: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _refused(["plan", study, "--set", given], capsys)
    assert line.startswith(f"implicit-bias: error: {told}")
    assert "more)" not in line


def _write(name: str, content: str | bytes) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _npz(name: str, **changed: np.ndarray) -> None:
    x = np.linspace(0, 1, 60, dtype=np.float32).reshape(20, 3)
    y = np.arange(20, dtype=np.int32) % 2
    np.savez(name, **{"x_train": x, "y_train": y, "x_test": x, "y_test": y, **changed})


def _record(name: str, **content: object) -> None:
    whole = {"study": "batch-size", "version": "0.1.0", "data_checksum": "", "shard": None,
             "digest": "", "scale": "smoke", "settings": {}, "seeds": 5, "complete": True,
             "layout": {"strategy": None, "tile": None}}  # fmt: skip
    _write(f"{name}/run.json", json.dumps({**whole, **content}))


NAN = np.full((20, 3), np.nan, np.float32)

# Each row: a name, what is there, arguments, and what the line must tell.
FILES: list[tuple[str, Callable[[], object], list[str], str]] = [
    ("yaml syntax", lambda: _write("c.yaml", "study: batch-size\nepochs: [1\n"),
     ["run", "c.yaml"], "c.yaml line 3: not YAML"),
    ("yaml tab", lambda: _write("c.yaml", "study: batch-size\ndata:\n\tname: digits\n"),
     ["run", "c.yaml"], "c.yaml line 3: not YAML"),
    ("key given twice", lambda: _write("c.yaml", "study: batch-size\nseeds: 1\nseeds: 2\n"),
     ["run", "c.yaml"], "c.yaml line 3: seeds is given twice, first on line 2"),
    ("unknown key in a file", lambda: _write("c.yaml", "study: batch-size\nmodel: {widht: [1]}\n"),
     ["run", "c.yaml"], "c.yaml line 2: unknown setting model.widht; did you mean model.widths?"),
    ("no study", lambda: _write("c.yaml", "seeds: 1\n"), ["run", "c.yaml"], "names no study"),
    ("empty config", lambda: _write("c.yaml", ""), ["run", "c.yaml"], "c.yaml is empty"),
    ("binary config", lambda: _write("c.yaml", b"\xff\x00"), ["run", "c.yaml"], "not a text file"),
    ("config is a folder", lambda: Path("c.yaml").mkdir(), ["run", "c.yaml"], "cannot be read"),
    ("unknown scale", lambda: _write("c.yaml", "study: batch-size\nscale: big\n"),
     ["run", "c.yaml"], "scale is 'big'"),
    ("scale of a config", lambda: _write("c.yaml", "study: batch-size\n"),
     ["run", "c.yaml", "--scale", "full"], "leave out --scale"),
    ("study does not parse", lambda: _write("s.py", "def study(:\n"),
     ["run", "s.py:study"], "SyntaxError"),
    ("study fails", lambda: _write("s.py", "x = 1\ny = x / 0\n"),
     ["run", "s.py:study"], "(line 2): ZeroDivisionError"),
    ("study is something else", lambda: _write("s.py", "study = 3\n"),
     ["run", "s.py:study"], "is a int, not a Study"),
    ("dataset is something else", lambda: _write("d.py", "data = 3\n"),
     _run("data.name=d.py:data"), "int"),
    ("model is something else", lambda: _write("m.py", "net = 3\n"),
     _run("model.name=m.py:net"), "int"),
    ("nan in data", lambda: _npz("d.npz", x_train=NAN), _run("data.name=d.npz"), "x_train"),
    ("labels of another length", lambda: _npz("d.npz", y_train=np.zeros(3, np.int32)),
     _run("data.name=d.npz"), "y_train"),
    ("array file is none", lambda: _write("d.npz", "text"), _run("data.name=d.npz"), "d.npz"),
    ("corrupt cache", lambda: _write("cache/mnist.npz", b"PK\3\4 no"), _run("data.name=mnist"),
     "data prepare mnist --force"),
    ("prepare from an empty folder", lambda: Path("empty").mkdir(),
     ["data", "prepare", "cifar10", "--from", "empty"], "empty"),
    ("out is a file", lambda: _write("out", ""), [*_run(), "--out", "out"], "is a file"),
    ("out below a file", lambda: _write("file", ""), [*_run(), "--out", "file/out"], "file"),
    ("out holds something else", lambda: _write("out/thesis.tex", ""),
     [*_run(), "--out", "out"], "no run of this program"),
    ("out holds another study", lambda: _record("out", study="another"),
     [*_run(), "--out", "out"], "another"),
    ("out holds other settings", lambda: _record("out", digest="x"), [*_run(), "--out", "out"],
     "name another folder"),
    ("run.json damaged", lambda: _write("out/run.json", "{"), [*_run(), "--out", "out"],
     "run.json cannot be read"),
    ("run.json is something else", lambda: _write("out/run.json", "[]"), [*_run(), "--out", "out"],
     "run.json cannot be read"),
    ("report of an empty folder", lambda: Path("out").mkdir(), ["report", "out"], "no result"),
    ("report of an unfinished run", lambda: _record("out", complete=False), ["report", "out"],
     "no result"),
    ("result truncated", lambda: _write("out/results.nc", b"\x89HDF\r\n\x1a\n"), ["report", "out"],
     "results.nc"),
    ("result is none", lambda: _write("out/results.nc", "text"), ["export", "out"], "results.nc"),
    ("merge of a damaged shard", lambda: _write("a/results.nc", "text"),
     ["merge", "a", "--out", "whole"], "results.nc"),
]  # fmt: skip


# Breaks if what lies on the disk is trusted, overwritten, or explained with a traceback.
@pytest.mark.parametrize(("prepare", "arguments", "told"), [row[1:] for row in FILES],
                         ids=[row[0] for row in FILES])  # fmt: skip
def test_files(
    prepare: Callable[[], object],
    arguments: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare()
    assert told in _refused(arguments, capsys)


# Breaks if a cache that lost its end is trained on. It is a real one: all but its end is right.
def test_truncated_cache(capsys: pytest.CaptureFixture[str]) -> None:
    _npz("d.npz")
    assert main(["data", "prepare", "d.npz", "--name", "mine"]) == 0
    file = Path("cache/mine.npz")
    file.write_bytes(file.read_bytes()[:-100])
    capsys.readouterr()
    assert "data prepare FILE --name mine --force" in _refused(_run("data.name=mine"), capsys)


# Breaks if one byte changed in a cache goes unnoticed.
def test_altered_cache(capsys: pytest.CaptureFixture[str]) -> None:
    _npz("d.npz")
    assert main(["data", "prepare", "d.npz", "--name", "mine"]) == 0
    file = Path("cache/mine.npz")
    content = bytearray(file.read_bytes())
    # 0.9830508 as float32, one of the inputs.
    at = bytes(content).rindex(np.float32(58 / 59).tobytes())
    content[at] ^= 1
    file.write_bytes(bytes(content))
    capsys.readouterr()
    assert "mine" in _refused(_run("data.name=mine"), capsys)


# Breaks if a folder that may not be written to gives a traceback. Root may write anywhere.
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")
def test_unwritable_out(capsys: pytest.CaptureFixture[str]) -> None:
    Path("closed").mkdir(mode=0o500)
    assert "closed" in _refused([*_run(), "--out", "closed/out"], capsys)


# Breaks if the folder of the compilation cache is believed to be usable.
def test_compilation_cache_is_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _write("file", "")
    monkeypatch.setenv("IMPLICIT_BIAS_COMPILATION_CACHE", "file")
    assert "compilation cache file cannot be made" in _refused(_run(), capsys)


# Breaks if shards of different sweeps, or one shard twice, are put together, or a run overwritten.
def test_merging_what_does_not_belong_together(capsys: pytest.CaptureFixture[str]) -> None:
    target = f"{TINY}:STUDY"
    assert main(["run", target, "--quiet", "--out", "a", "--seeds", "2", "--shard", "1/2"]) == 0
    assert (
        main(["run", target, "--quiet", "--out", "b", "--seeds", "1", "--set", "step_size=1"]) == 0
    )
    capsys.readouterr()
    assert "settings" in _refused(["merge", "a", "b", "--out", "whole"], capsys)
    assert "more than one" in _refused(["merge", "a", "a", "--out", "whole"], capsys)
    assert "b" in _refused(["merge", "a", "--out", "b"], capsys)
    # A run of other settings, or of another shard, into the folder of a finished one.
    assert "other settings" in _refused(["run", target, "--out", "b"], capsys)
    assert "shard" in _refused(["run", target, "--out", "a", "--shard", "2/2"], capsys)
    # A result that lost its end.
    file = Path("a/results.nc")
    file.write_bytes(file.read_bytes()[:-50])
    assert "results.nc" in _refused(["report", "a"], capsys)
    assert "results.nc" in _refused(["export", "a"], capsys)


# Breaks if the command that is installed does not turn the status into that of the process.
@pytest.mark.parametrize(
    "arguments", [["run", "batchsize"], ["run", "batch-size", "--set", "data.name=mnist"]]
)
def test_process(arguments: list[str], workplace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "implicit_bias.cli", *arguments],
        capture_output=True, text=True, cwd=workplace, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert not (workplace / "runs").exists()
