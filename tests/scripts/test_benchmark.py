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
    import benchmarks.curvature_problem
    import benchmarks.engine
    import benchmarks.runners
    import benchmarks.timing

    yield benchmarks
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


def run(*arguments, paths=(SCRIPTS.parent,)):
    # At these sizes PyTorch's threads would only wait for each other on a busy machine.
    threads = {"OMP_NUM_THREADS": "1"}
    environment = os.environ | threads | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
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


CURVATURE_PEERS = ("pyhessian", "pyhessian equal residual", "eigsh over curvlinops")


def check_curvature_row(problem, row):
    assert row["time"]["min"] <= row["time"]["median"] <= row["time"]["max"]
    assert row["setup_seconds"] > 0
    assert len(row["residual"]) == len(row["error"]) == problem["k"]


def check_our_curvature(measured):
    problem, row = measured["problem"], measured["parts"]["eigenpairs"]["implicit-bias"]
    check_curvature_row(problem, row)
    assert row["converged"] == 1
    # Broken if the judge takes another network or loss than the runner, or the tolerance is not met.
    assert max(row["residual"]) <= problem["tol"]
    # An eigenvalue lies within the residual (Weyl), which is relative to the largest as the error is.
    assert max(map(abs, row["error"])) <= problem["tol"]
    assert "drawn data" in problem["data"]


def test_curvature_without_peers_says_so(tmp_path):
    # Broken if a missing optional package stops the benchmark, or its rows vanish silently.
    for name in ("torch", "pyhessian", "curvlinops"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')\n")
    out = tmp_path / "out.json"
    done = run(
        "curvature", "--smoke", "--parts", "eigenpairs", "--json", out,
        paths=(tmp_path, SCRIPTS.parent),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads(out.read_text())
    check_our_curvature(measured)
    rows = measured["parts"]["eigenpairs"]
    for name in CURVATURE_PEERS:
        assert "pip install 'implicit-bias[peers]'" in rows[name]["absent"]
        assert any(
            line.startswith(name) and "not installed" in line for line in done.stdout.splitlines()
        )


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "pyhessian", "curvlinops")),
    reason="needs the extra 'peers'",
)
def test_curvature_peers_find_the_same(tmp_path):
    # Broken if a peer fails, has another Hessian or order of parameters (its true residuals would be
    # of the size of the eigenvalues), or is compared at a residual that it does not reach.
    out = tmp_path / "out.json"
    done = run("curvature", "--smoke", "--json", out)
    assert done.returncode == 0, done.stderr
    measured = json.loads(out.read_text())
    check_our_curvature(measured)
    problem, parts = measured["problem"], measured["parts"]
    for name in CURVATURE_PEERS:
        row = parts["eigenpairs"][name]
        check_curvature_row(problem, row)
        at_its_own = name == "pyhessian"
        assert max(row["residual"]) <= (0.2 if at_its_own else problem["tol"])
        assert row["products"] > 0
        ours = parts["eigenpairs"]["implicit-bias"]["seconds"]
        ratios = [theirs / own for theirs, own in zip(row["seconds"], ours, strict=True)]
        assert row["ours_faster_by"]["max"] == pytest.approx(max(ratios))
    # Of every network: mean products of all at once are those of one after another.
    one, at_once = (parts["networks"][name] for name in ("one after another", "implicit-bias"))
    assert one["products"] == at_once["products"]
    assert at_once["converged"] == 1
    # Both estimate one trace, from other probes; both take as many products.
    ours, theirs = (parts["density"][name] for name in ("implicit-bias", "pyhessian"))
    assert ours["products"] == theirs["products"] == problem["probes"] * problem["depth"]
    assert ours["mass"] == pytest.approx(1, abs=1e-5)
    assert theirs["mass"] == pytest.approx(1, abs=1e-4)
    assert theirs["trace"] == pytest.approx(ours["trace"], rel=0.5)
    for row in (ours, theirs):
        assert row["largest_node"] == pytest.approx(problem["reference"][0], rel=0.1)


def test_without_mnist_the_data_is_drawn_and_says_so(parts, tmp_path, monkeypatch):
    # Broken if the benchmark fails, downloads, or is silent where MNIST is not prepared.
    monkeypatch.setenv("IMPLICIT_BIAS_CACHE", str(tmp_path))
    monkeypatch.delenv("IMPLICIT_BIAS_TEST_DATA", raising=False)
    x, y, what = parts.curvature_problem.Problem(str(tmp_path), examples=50).data()
    assert x.shape == (50, 784)
    assert set(y) <= set(range(10))
    assert "drawn data, because MNIST is not prepared" in what


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
        (["curvature", "--parts", "eigenpairs,traces"], "part 'traces' is not one of"),
        (["curvature", "--networks", "1"], "at least 2"),
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
