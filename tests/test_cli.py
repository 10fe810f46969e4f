"""The command: what it prints where, what it leaves, and how it ends."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
import xarray as xr

import implicit_bias
from implicit_bias import studies
from implicit_bias.cli import command, main, shared
from implicit_bias.errors import UserError
from implicit_bias.results import store
from implicit_bias.results.claims import Finding
from implicit_bias.results.table import make_table
from implicit_bias.studies import runner
from implicit_bias.studies.interrupts import interrupts_between_segments
from implicit_bias.studies.present import Presented
from implicit_bias.studies.record import How
from implicit_bias.studies.reporter import Silent
from implicit_bias.training import tune

TARGET = f"{Path(__file__).with_name('tiny_study.py')}:STUDY"

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, and JAX's switches as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMPLICIT_BIAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IMPLICIT_BIAS_COMPILATION_CACHE", "off")
    jax.devices()
    names = ("jax_enable_x64", "jax_compilation_cache_dir")
    before = {name: getattr(jax.config, name) for name in names}
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A runner that runs nothing; what it was asked for is noted."""
    asked: list[dict[str, Any]] = []

    def run(study: Any, settings: Any, out: Path, **how: Any) -> runner.Run:
        asked.append({"settings": settings, "out": out, **how})
        print("a library prints")
        findings = [
            Finding("supported", 0.5, (0.25, float("inf")), 3, id="x.one", criterion="large"),
            Finding("not-decided", reason="no\ndata", id="x.two", kind="ill-posed"),
        ]
        presented = Presented(findings, [make_table(["λ"], [[1.5]])], [out / "report.html"])
        return runner.Run(out, xr.Dataset(attrs={"study": study.name}), presented)

    monkeypatch.setattr(runner, "run", run)
    return asked


def _json(capsys: Captured, *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# Quick commands


# Breaks if the parser needs JAX, pydantic or anything else that takes a second to import.
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    code = (
        "import sys\nfrom implicit_bias.cli import main\n"
        f"try: main(['{option}'])\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'jax', 'numpy', 'pydantic', 'matplotlib', 'xarray', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "implicit-bias" in done.stdout


@pytest.mark.parametrize(
    "command", ["list", "plan", "run", "merge", "report", "export", "data", "tune"]
)
def test_every_command_has_help(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert not end.value.code
    assert f"implicit-bias {command}" in capsys.readouterr().out


def test_version(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"implicit-bias {implicit_bias.__version__}\n"


# Breaks if a study is not listed, or its number of claims is wrong.
def test_list(capsys: Captured) -> None:
    listed = _json(capsys, "list")["studies"]
    assert [study["name"] for study in listed] == studies.names()
    for study in listed:
        assert study["claims"] == len(studies.get(study["name"]).claims)
        assert "smoke" in study["scales"]
    assert main(["list"]) == 0
    assert "batch-size" in capsys.readouterr().out


def test_list_of_one_study(capsys: Captured) -> None:
    content = _json(capsys, "list", TARGET)
    assert {"key": "step_size", "allowed": "a number > 0", "default": 0.05, "description": ""} in (
        content["settings"]
    )
    assert [claim["id"] for claim in content["claims"]] == ["tiny.faster", "tiny.open"]
    assert main(["list", TARGET]) == 0
    shown = capsys.readouterr().out
    assert "step_size" in shown
    assert "Double is faster" in shown


def test_data_list(capsys: Captured) -> None:
    listed = {entry["name"]: entry for entry in _json(capsys, "data", "list")["datasets"]}
    assert listed["digits"]["status"] == "embedded"
    assert listed["mnist"]["status"] == "not prepared"
    assert main(["data", "list"]) == 0
    assert "data prepare mnist" in capsys.readouterr().out


def test_data_prepare_passes_everything_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    from implicit_bias import data

    asked: list[Any] = []

    def prepare(*arguments: Any, **options: Any) -> Path:
        asked.append((arguments, options))
        return Path("file")

    monkeypatch.setattr(data, "prepare", prepare)
    assert main(["data", "prepare", "cifar10", "--from", "there", "--name", "mine", "--force"]) == 0
    assert asked == [(("cifar10", "there"), {"force": True, "as_name": "mine"})]
    assert capsys.readouterr().out == "mine is prepared: file\n"


def test_plan(capsys: Captured) -> None:
    content = _json(capsys, "plan", TARGET, "--strategy", "vmap", "--tile", "2", "--seeds", "4")
    assert content["study"] == "tiny-study"
    (program,) = content["plan"]["programs"]
    assert (program["strategy"], program["tile"], program["lanes"]) == ("vmap", 2, 8)
    assert main(["plan", TARGET]) == 0
    shown = capsys.readouterr().out
    assert "6 lanes" in shown
    assert "tiny-study" in shown
    assert not Path("runs").exists()


# What a run passes on


def test_run_passes_everything_on(fake: list[dict[str, Any]], capsys: Captured) -> None:
    status = main(
        ["run", TARGET, "--set", "step_size=1e-2", "--seeds", "9", "--out", "there", "--resume",
         "--shard", "2/3", "--strategy", "vmap", "--tile", "4", "--devices", "1", "--memory", "0.5"]
    )  # fmt: skip
    assert status == 0
    (asked,) = fake
    assert (asked["settings"].step_size, asked["settings"].seeds) == (0.01, 9)
    assert asked["out"] == Path("there")
    assert (asked["resume"], asked["shard"], asked["scale"]) == (True, (2, 3), "custom")
    assert asked["how"] == How("vmap", 4, 1, 500_000_000)


# Breaks if defaults stop being the runner's, or the folder depends on more than the settings.
def test_defaults(fake: list[dict[str, Any]]) -> None:
    for extra in ([], ["--seeds", "8"], ["--set", "step_size=1"], ["--shard", "1/2"]):
        assert main(["run", TARGET, "--quiet", *extra]) == 0
    assert fake[0]["how"] == How()
    digest = fake[0]["settings"].digest()
    assert fake[0]["out"] == Path("runs") / f"tiny-study-{digest}"
    assert fake[1]["out"] == fake[0]["out"]
    assert fake[2]["out"] != fake[0]["out"]
    assert fake[3]["out"] == Path("runs") / f"tiny-study-{digest}-shard-1-of-2"


# Breaks if JSON shares standard output with anything, or is not strict JSON (∞ is null).
def test_run_json(fake: list[dict[str, Any]], capsys: Captured) -> None:
    assert main(["run", TARGET, "--json", "--out", "o"]) == 0
    written = capsys.readouterr()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    content = json.loads(written.out, parse_constant=refuse)
    assert {name: content[name] for name in ("study", "scale", "out")} == {
        "study": "tiny-study", "scale": "custom", "out": "o",
    }  # fmt: skip
    first, second = content["claims"]
    assert {name: first[name] for name in first if name not in ("condition", "reason")} == {
        "id": "x.one", "kind": "statistical", "verdict": "supported", "effect": 0.5,
        "interval": [0.25, None], "n_seeds": 3, "criterion": "large",
    }  # fmt: skip
    assert (second["effect"], second["interval"]) == (None, None)
    assert "a library prints" in written.err
    assert "x.one" in written.err


def test_run_for_a_person(fake: list[dict[str, Any]], capsys: Captured) -> None:
    assert main(["run", TARGET, "--out", "o"]) == 0
    written = capsys.readouterr()
    assert written.err == ""
    for part in ("A step size and its double", "3 seeds", "λ", "Verdicts", "x.two", "report.html"):
        assert part in written.out
    assert main(["run", TARGET, "--out", "o", "--quiet"]) == 0
    assert capsys.readouterr().out.replace("a library prints\n", "") == ""


# Breaks if a study in double precision is headed by the type of lanes that it does not train.
@pytest.mark.parametrize(("target", "said"), [(TARGET, True), ("mirror-descent", False)])
def test_the_head_names_a_type_of_lanes_alone(
    target: str, said: bool, fake: list[dict[str, Any]], capsys: Captured
) -> None:
    assert main(["run", target, "--out", "o"]) == 0
    assert ("float32" in capsys.readouterr().out) is said


# Breaks if float64 or the cache's folder do not reach JAX before the run.
def test_run_prepares_jax(
    fake: list[dict[str, Any]], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", TARGET, "--quiet"]) == 0
    assert not jax.config.jax_enable_x64
    assert main(["run", TARGET, "--quiet", "--set", "dtype=float64"]) == 0
    assert jax.config.jax_enable_x64
    monkeypatch.setenv("IMPLICIT_BIAS_COMPILATION_CACHE", str(workplace / "compiled"))
    assert main(["run", TARGET, "--quiet"]) == 0
    assert jax.config.jax_compilation_cache_dir == str(workplace / "compiled")
    monkeypatch.delenv("IMPLICIT_BIAS_COMPILATION_CACHE")
    assert main(["run", TARGET, "--quiet"]) == 0
    assert Path(jax.config.jax_compilation_cache_dir).parent == workplace / "cache" / "xla"


# Breaks if a home that cannot be written to stops a run that only wanted a cache.
def test_a_cache_that_cannot_be_made_is_done_without(
    fake: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("IMPLICIT_BIAS_CACHE", "file")
    monkeypatch.delenv("IMPLICIT_BIAS_COMPILATION_CACHE")
    assert main(["run", TARGET]) == 0
    assert "compiling without a cache" in capsys.readouterr().out


# How it ends


def _ends(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object], *extra: str) -> int:
    def run(study: Any, settings: Any, out: Path, **how: Any) -> runner.Run:
        act(out)
        raise AssertionError("the run went on")

    monkeypatch.setattr(runner, "run", run)
    return main(["run", TARGET, "--out", "an out", *extra])


def _raise(error: BaseException) -> Callable[[Path], object]:
    def act(out: Path) -> None:
        raise error

    return act


def _save_and_raise(out: Path) -> None:
    out.mkdir()
    (out / "run.json").write_text("{}")
    raise KeyboardInterrupt


# Breaks if Ctrl-C gives a traceback, another status, or no way to go on.
def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert _ends(monkeypatch, _raise(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == (
        "implicit-bias: stopped: before anything was saved; run the same command again\n"
    )
    assert _ends(monkeypatch, _save_and_raise, "--seeds", "4") == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert "saved in an out" in line
    assert f"`implicit-bias run {TARGET} --out 'an out' --seeds 4 --resume`" in line


# Breaks if a cluster's request to terminate kills the process, or skips the handler that the runner
# puts in place of Ctrl-C's.
def test_terminate(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def terminate(out: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    before = signal.getsignal(signal.SIGTERM)
    assert _ends(monkeypatch, terminate) == 130
    assert signal.getsignal(signal.SIGTERM) is before

    def terminate_politely(out: Path) -> None:
        with interrupts_between_segments(Silent()) as interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupted.wait(5)
        raise KeyboardInterrupt

    assert _ends(monkeypatch, terminate_politely) == 130
    assert capsys.readouterr().err.count("\n") == 2


# Breaks if trouble of the machine gives a traceback, or trouble of ours gives none.
def test_errors(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    denied = PermissionError(errno.EACCES, "Permission denied", "a/file")
    for error, told in (
        (UserError("one\ntwo"), "error: one two"),
        (full, "error: No space left on device"),
        (denied, "error: a/file: Permission denied"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore"), "lower --memory"),
        (MemoryError(), "lower --memory"),
    ):
        assert _ends(monkeypatch, _raise(error)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line
    for ours in (RuntimeError("a mistake of ours"), OSError("without a file"), KeyError("x")):
        with pytest.raises(type(ours)):
            _ends(monkeypatch, _raise(ours))


# Breaks if the process ends with another status than the command, or, stopped, waits for threads at work.
@pytest.mark.parametrize("status", [0, 2, 130])
def test_the_process_ends_as_the_command_does(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(given: int) -> None:
        raise InterruptedError(given)  # nothing after it is run

    command_line = sys.modules[command.__module__]
    monkeypatch.setattr(command_line, "main", lambda: status)
    monkeypatch.setattr(os, "_exit", at_once)
    with pytest.raises(InterruptedError if status == 130 else SystemExit) as ended:
        command()
    assert ended.value.args == (status,)


# Breaks if `implicit-bias list | head -1` prints a traceback.
def test_a_reader_that_has_gone(workplace: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "implicit_bias.cli", "list"],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == ""


# All together


# Breaks if a run leaves out a file, repeated says something else, or more seeds do not extend it.
def test_a_whole_study(capsys: Captured) -> None:
    content = _json(capsys, "run", TARGET, "--seeds", "1", "--out", "whole")
    assert [claim["id"] for claim in content["claims"]] == ["tiny.faster", "tiny.open"]
    left = ("results.nc", "claims.json", "report.html", "results.csv", "run.json", "plan.json")
    assert [name for name in left if not Path("whole", name).is_file()] == []
    assert _json(capsys, "run", TARGET, "--seeds", "1", "--out", "whole") == content
    assert main(["run", TARGET, "--seeds", "1", "--out", "whole", "--resume"]) == 0
    assert "nothing is trained anew, nor drawn (`implicit-bias report whole` does)" in (
        capsys.readouterr().out
    )
    report = Path("whole/report.html")
    drawn = report.stat().st_mtime_ns
    _json(capsys, "run", TARGET, "--seeds", "1", "--out", "whole")
    assert report.stat().st_mtime_ns == drawn
    # What is missing, or was made by other code, is drawn again.
    report.unlink()
    assert _json(capsys, "run", TARGET, "--seeds", "1", "--out", "whole") == content
    drawn = report.stat().st_mtime_ns
    record = Path("whole/run.json")
    made = json.loads(record.read_text())
    made["presented"]["code"] = "another"
    record.write_text(json.dumps(made))
    assert main(["run", TARGET, "--seeds", "1", "--out", "whole"]) == 0
    assert "finished; nothing is trained anew; more --seeds" in capsys.readouterr().out
    assert report.stat().st_mtime_ns != drawn
    extended = _json(capsys, "run", TARGET, "--seeds", "2", "--out", "whole")
    assert extended["claims"][0]["n_seeds"] == 2
    for kind in ("csv", "parquet"):
        assert main(["export", "whole", "--format", kind]) == 0
        files = capsys.readouterr().out.splitlines()
        assert files[0] == str(Path("whole", f"lanes.{kind}"))
        assert all(Path(file).is_file() for file in files)
        assert main(["export", "whole", "--format", kind, "--out", "named"]) == 0
        assert capsys.readouterr().out.splitlines()[0] == f"named.{kind}"


# Breaks if shards put together, or a report made anew, say something else than one run. Oracle: the
# same lanes run in one go.
def test_shards_and_reports(capsys: Captured) -> None:
    whole = _json(capsys, "run", TARGET, "--seeds", "2", "--out", "whole")
    for shard in ("1/2", "2/2"):
        out = ["--seeds", "2", "--shard", shard, "--out", shard[0]]
        assert main(["run", TARGET, "--quiet", *out]) == 0
    capsys.readouterr()
    assert _json(capsys, "merge", "1", "2", "--out", "merged") == {**whole, "out": "merged"}
    # But for where and when it was made, the merged result is that of one run, bit for bit.
    one, merged = store.load("whole"), store.load("merged")
    merged.attrs["provenance"] = one.attrs["provenance"]
    assert merged.sortby("lane_id").identical(one.sortby("lane_id"))
    assert _json(capsys, "report", "merged") == {**whole, "out": "merged"}


# Breaks if what was measured is not shown, or not in full.
def test_tune(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    rows = [
        tune.Row(0, 8, 6, "map", 1, 2, 5.0),
        tune.Row(0, 8, 6, "vmap", 4, 2, 7.25, fastest=True),
    ]

    def measure(plan: Any, on_row: Any) -> list[tune.Row]:
        assert plan.n_lanes == 6
        for row in rows:
            on_row(row)
        return rows

    monkeypatch.setattr(tune, "tune", measure)
    assert _json(capsys, "tune", TARGET)["rows"] == [dataclasses.asdict(row) for row in rows]
    assert main(["tune", TARGET]) == 0
    written = capsys.readouterr()
    assert "vmap of 4: 7.25 GFLOP/s" in written.err
    assert "7.25" in written.out


def test_processors_have_their_own_compiled_programs() -> None:
    assert shared._processor() == shared._processor()
    assert "/" not in shared._processor()


# Breaks if Ctrl-C at a moment at which Python drops exceptions leaves the run going on.
def test_an_interrupt_that_python_drops_comes_again(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    class Interrupted:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def act(out: Path) -> None:
        Interrupted()  # as in a callback of the garbage collector, nobody sees what it raises
        time.sleep(10)

    began, before = time.monotonic(), sys.unraisablehook
    # A shell starts what runs in its background with Ctrl-C ignored.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert _ends(monkeypatch, act) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
    assert time.monotonic() - began < 9
    assert sys.unraisablehook is before
    assert capsys.readouterr().err.count("\n") == 1
