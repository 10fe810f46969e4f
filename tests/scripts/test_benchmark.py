"""The benchmark runs, counts operations rightly and reports what it cannot measure."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PEERS = ("pytorch", "pytorch_one_thread", "pytorch_two_processes", "torch_func_vmap")


@pytest.fixture
def parts(monkeypatch):
    """The script's own modules, importable as when the script is run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmarks.engine
    import benchmarks.runners
    import benchmarks.timing

    yield benchmarks
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


def run(*arguments, paths=(SCRIPTS.parent,)):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.run(
        [sys.executable, SCRIPTS / "benchmark.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )


def check_engine_row(measured):
    (shape,) = measured["shapes"]
    row = shape["runners"]["engine"]
    # Broken if no GFLOP/s, memory or set-up time were measured, or median left its own range.
    assert 0 < row["gflops"]["min"] <= row["gflops"]["median"] <= row["gflops"]["max"]
    assert len(row["seconds"]) == 2
    assert row["peak_memory_bytes"] > 2**20
    assert row["setup_seconds"] > 0
    # Three small steps from He-normal weights on random labels: broken if nothing was trained or it
    # diverged (log 10 is the loss of knowing nothing).
    assert 1.5 < row["loss"] < 5
    # Broken if the count of true operations is wrong: XLA also counts element-wise work, so it must
    # lie above the count of the matrix products and, at these sizes, below 1.5 times it.
    assert 1 < shape["flops_per_update"]["xla_over_true"] < 1.5


def test_without_pytorch_the_rows_say_so(tmp_path):
    # Broken if a missing optional package stops the benchmark, or its rows vanish silently.
    (tmp_path / "torch.py").write_text("raise ImportError('not here')\n")
    out = tmp_path / "out.json"
    done = run("engine", "--smoke", "--json", out, paths=(tmp_path, SCRIPTS.parent))
    assert done.returncode == 0, done.stderr
    measured = json.loads(out.read_text())
    check_engine_row(measured)
    (shape,) = measured["shapes"]
    for name in PEERS:
        assert "pip install" in shape["runners"][name]["absent"]
        assert any(
            line.startswith(name) and "PyTorch is not installed" in line
            for line in done.stdout.splitlines()
        )
    assert set(measured["matrix_products_gflops"]) == {"jax"}


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_every_runner_trains_and_is_compared(tmp_path):
    # Broken if a peer fails, does not train the same thing, or is left out of the comparison.
    out = tmp_path / "out.json"
    done = run("engine", "--smoke", "--json", out)
    assert done.returncode == 0, done.stderr
    measured = json.loads(out.read_text())
    check_engine_row(measured)
    (shape,) = measured["shapes"]
    rows = shape["runners"]
    for name in PEERS:
        speedup = rows[name]["engine_speedup"]
        ratios = [
            theirs / ours
            for theirs, ours in zip(rows[name]["seconds"], rows["engine"]["seconds"], strict=True)
        ]
        assert speedup["min"] == pytest.approx(min(ratios))
        assert speedup["max"] == pytest.approx(max(ratios))
        assert rows[name]["loss"] == pytest.approx(rows["engine"]["loss"], abs=0.7)
    assert rows["engine"]["engine_speedup"] is None
    assert set(measured["matrix_products_gflops"]) == {"jax", "torch"}
    for name in (*PEERS, "engine"):
        assert any(line.startswith(name) for line in done.stdout.splitlines())


def test_operations_are_counted_by_hand(parts):
    # Broken if a layer or a pass is missed: 2·m·n·k for each product, counted here one by one.
    work = parts.runners.Work(lanes=3, hidden=5, batch=7)
    forward = 2 * 7 * 784 * 5 + 2 * 7 * 5 * 10
    weight_gradients = 2 * 784 * 7 * 5 + 2 * 5 * 7 * 10
    second_input_gradient = 2 * 7 * 10 * 5
    first_input_gradient = 2 * 7 * 5 * 784
    true = 3 * (forward + weight_gradients + second_input_gradient)
    assert work.true_flops() == true
    assert work.nominal_flops() == true + 3 * first_input_gradient


def test_ratios_are_paired_within_a_turn(parts):
    # Broken if ratios were formed of medians: a slow turn of both (the second) must cancel.
    timing = parts.timing.Timing
    timings = {
        "ours": [timing(1.0, 0.0), timing(10.0, 0.0), timing(1.0, 0.0)],
        "peer": [timing(2.0, 0.0), timing(30.0, 0.0), timing(4.0, 0.0)],
    }
    assert parts.timing.paired_ratios(timings, "ours") == {
        "peer": {"median": 3.0, "min": 2.0, "max": 4.0}
    }


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_halves_have_all_lanes(parts, lanes):
    # Broken if a lane is lost or trained twice when the lanes are odd or one.
    work = parts.runners.Work(lanes=lanes, hidden=5, batch=7)
    pieces = [half.lanes for half in parts.runners.halves(work)]
    assert sum(pieces) == lanes
    assert max(pieces) - min(pieces) <= 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["engine", "--shapes", "8x100"], "LANESxHIDDENxBATCH"),
        (["engine", "--shapes", "8x0x3"], "LANESxHIDDENxBATCH"),
        (["engine", "--shapes", "1x2x20000"], "above the 10000 examples"),
        (["engine", "--repeats", "0"], "at least 1"),
        (["engine", "--seconds", "-1"], "positive number of seconds"),
        (["engine", "--smoke", "--json", "/no/such/folder/out.json"], "does not exist"),
        (["kernel"], "invalid choice"),
    ],
)
def test_bad_arguments_are_refused_before_measuring(parts, capsys, arguments, told):
    # Broken if a bad argument is only noticed after minutes of measuring, or not explained.
    import benchmark

    with pytest.raises(SystemExit) as stopped:
        benchmark.main(arguments)
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
