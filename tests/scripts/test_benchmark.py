"""The benchmark runs, counts operations rightly and reports what it cannot measure."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PEERS = ("pytorch", "pytorch_one_thread", "pytorch_two_processes", "torch_func_vmap")


@pytest.fixture
def parts(monkeypatch):
    """The script's own modules, importable as when the script is run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmarks.curvature
    import benchmarks.engine
    import benchmarks.pruning
    import benchmarks.widths

    yield benchmarks
    for name in [name for name in sys.modules if name.split(".")[0] in ("benchmark", "benchmarks")]:
        del sys.modules[name]


# Libraries are imported once, in a server from which every runner's process begins as a copy. Otherwise the
# test would spend its time on importing PyTorch ten times. That runners work in processes that begin with
# nothing, as they do for a person, is the subject of test_a_runner_begins_with_nothing.
START = """
import multiprocessing, runpy, sys
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["torch._dynamo", "torch.func", "pyhessian", "curvlinops", "implicit_bias.curvature",
     "implicit_bias.data", "implicit_bias.models", "implicit_bias.training"]
)
multiprocessing.get_context = lambda method: context
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(folder, *arguments):
    """Run the script and return what it measured and printed."""
    out = folder / "out.json"
    environment = os.environ | {
        # At these sizes PyTorch's threads would only wait for each other on a busy machine.
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (SCRIPTS.parent, SCRIPTS))),
        # Programs that run for milliseconds are compiled in a hurry, and once for all processes.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START, SCRIPTS / "benchmark.py", *arguments,
         "--smoke", "--json", out],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), done.stdout.splitlines()


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


def test_every_runner_trains_and_is_compared(tmp_path):
    # Broken if a peer fails, does not train the same thing, or is left out of the comparison.
    measured, printed = run(tmp_path, "engine")
    check_engine_row(measured)
    (shape,) = measured["shapes"]
    rows = shape["runners"]
    for name in (*PEERS, "engine"):
        assert any(line.startswith(name) for line in printed)
    assert rows["engine"]["engine_speedup"] is None
    if importlib.util.find_spec("torch") is None:
        assert set(measured["matrix_products_gflops"]) == {"jax"}
        return
    for name in PEERS:
        speedup = rows[name]["engine_speedup"]
        ratios = [
            theirs / ours
            for theirs, ours in zip(rows[name]["seconds"], rows["engine"]["seconds"], strict=True)
        ]
        assert speedup["min"] == pytest.approx(min(ratios))
        assert speedup["max"] == pytest.approx(max(ratios))
        assert rows[name]["loss"] == pytest.approx(rows["engine"]["loss"], abs=0.7)
    assert set(measured["matrix_products_gflops"]) == {"jax", "torch"}


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


def test_curvature_peers_find_the_same(tmp_path):
    # Broken if a peer fails, has another Hessian or order of parameters (its true residuals would be
    # of the size of the eigenvalues), or is compared at a residual that it does not reach.
    measured, _ = run(tmp_path, "curvature")
    check_our_curvature(measured)
    problem, parts = measured["problem"], measured["parts"]
    # Of every network: mean products of all at once are those of one after another.
    one, at_once = (parts["networks"][name] for name in ("one after another", "implicit-bias"))
    assert one["products"] == at_once["products"]
    assert at_once["converged"] == 1
    ours = parts["density"]["implicit-bias"]
    assert ours["products"] == problem["probes"] * problem["depth"]
    assert ours["mass"] == pytest.approx(1, abs=1e-5)
    assert ours["largest_node"] == pytest.approx(problem["reference"][0], rel=0.1)
    if any(importlib.util.find_spec(name) is None for name in ("torch", "pyhessian", "curvlinops")):
        return
    for name in CURVATURE_PEERS:
        row = parts["eigenpairs"][name]
        check_curvature_row(problem, row)
        at_its_own = name == "pyhessian"
        assert max(row["residual"]) <= (0.2 if at_its_own else problem["tol"])
        assert row["products"] > 0
        own = parts["eigenpairs"]["implicit-bias"]["seconds"]
        ratios = [theirs / mine for theirs, mine in zip(row["seconds"], own, strict=True)]
        assert row["ours_faster_by"]["max"] == pytest.approx(max(ratios))
    # Both estimate one trace, from other probes; both take as many products.
    theirs = parts["density"]["pyhessian"]
    assert theirs["products"] == ours["products"]
    assert theirs["mass"] == pytest.approx(1, abs=1e-4)
    assert theirs["trace"] == pytest.approx(ours["trace"], rel=0.5)
    assert theirs["largest_node"] == pytest.approx(problem["reference"][0], rel=0.1)


def test_widths_are_trained_in_every_way(tmp_path):
    # Broken if a way trains other networks than the others, the plan's choice is none of them, or its
    # ratio is not to the better of the others.
    measured, printed = run(tmp_path, "widths")
    (budget,) = measured["budgets"]
    ways = {name: row for row in budget["ways"] for name in row["names"]}
    apart, chosen = ways["a program for each width"], ways["the plan's choice"]
    assert (len(apart["buckets"]), apart["wasted"]) == (2, 0)
    assert chosen["buckets"] == ways["fewest programs"]["buckets"] == [[4, 8]]
    assert chosen["wasted"] == pytest.approx(1 / 4)  # half of one of two lanes
    assert chosen["square"] == pytest.approx(apart["square"], rel=1e-5)
    ratio = chosen["walls"][0] / apart["walls"][0]
    assert budget["choice_over_better"]["median"] == pytest.approx(ratio)
    assert budget["within"] == (ratio <= 1.1)
    assert sum(line.startswith(("a program", "fewest")) for line in printed) == 2
    assert f"plan: {budget['plan']}" in printed


def test_convolutional_networks_are_trained_in_every_way(tmp_path):
    # Broken if a runner trains another network or diverges, counts other operations, or a ratio is to
    # another turn. By hand, of all lanes and examples: forward, and both gradients but the images' one.
    measured, printed = run(tmp_path, "conv")
    small, large = measured["shapes"]
    layers = [(1024, 3, 2), (1024, 2, 4), (256, 4, 8), (64, 8, 16)]
    products = sum(places * 9 * given * made for places, given, made in layers) + 16 * 10
    expected = 2 * 4 * (6 * products - 2 * 1024 * 9 * 3 * 2)
    assert small["flops_per_update"] == expected
    for shape, names in (
        (small, ("pytorch", "pytorch, channels last", "vmap of lax.conv")),
        (large, ("pytorch", "pytorch, channels last")),
    ):
        rows = shape["runners"]
        ours = rows["engine"]
        assert ours["engine_faster_by"] is None
        assert 1 < ours["loss"] < 8
        for name in names:
            row = rows[name]
            assert any(line.startswith(name) for line in printed)
            if "absent" in row:
                assert importlib.util.find_spec("torch") is None
                continue
            ratios = [theirs / o for theirs, o in zip(row["seconds"], ours["seconds"], strict=True)]
            assert row["engine_faster_by"]["min"] == pytest.approx(min(ratios))
            assert row["loss"] == pytest.approx(ours["loss"], abs=3)
    assert "small network" in large["runners"]["vmap of lax.conv"]["absent"]


def test_tickets_are_trained_in_every_way(tmp_path):
    # Broken if a runner trains other networks, a pruned weight lives, or a ratio is to another turn.
    measured, printed = run(tmp_path, "pruning")
    rows = measured["runners"]
    ours = rows["engine, all lanes"]
    assert ours["all_lanes_faster_by"] is None
    # The same lanes, one after another: equal but for rounding.
    assert rows["engine, lane by lane"]["loss"] == pytest.approx(ours["loss"], rel=1e-5)
    for name in ("pytorch", "pytorch, two processes", "engine, lane by lane"):
        row = rows[name]
        assert any(line.startswith(name) for line in printed)
        if "absent" in row:
            assert importlib.util.find_spec("torch") is None
            continue
        ratios = [theirs / own for theirs, own in zip(row["seconds"], ours["seconds"], strict=True)]
        assert row["all_lanes_faster_by"]["min"] == pytest.approx(min(ratios))
        assert row["loss"] == pytest.approx(ours["loss"], abs=0.7)
        assert row["alive"] == 0
    assert ours["alive"] == 0
    assert printed[-1] == "Largest pruned weight of any network: 0."


def test_tickets_have_masks_of_their_levels(parts):
    # Broken if a mask keeps another number, lanes share one, or a half has others than the whole.
    whole = parts.pruning_runners.Tickets(2, (1.0, 0.25), (4,), 3)
    masks = whole.masks()
    assert [int(mask[0].sum()) for mask in masks] == [4 * 784, 784, 4 * 784, 784]
    assert (masks[1][0] != masks[3][0]).any()
    (part,) = parts.pruning_runners.Tickets(2, (1.0, 0.25), (4,), 3, lanes=(3, 4)).masks()
    assert (part[0] == masks[3][0]).all()
    # By hand, of all four: forward, both weights' gradients, and the gradient of the hidden layer.
    first, second = 2 * 3 * 784 * 4, 2 * 3 * 4 * 10
    assert whole.true_flops() == 4 * (2 * first + 3 * second)


def test_tangent_kernels_are_the_same(tmp_path):
    # Broken if a peer computes another kernel (a sum for a mean over outputs, other rows, other weights),
    # or what was timed of it is not scaled to a lane.
    measured, printed = run(tmp_path, "ntk", "--old-python", str(tmp_path / "python"))
    problem, rows = measured["problem"], measured["runners"]
    ours = rows["implicit-bias"]
    assert ours["time"]["median"] > 0
    assert 0 < ours["temporary"] < ours["budget"]
    assert ours["error"] < 1e-5
    assert "name a Python with an old JAX" in rows["neural_tangents 3, old JAX"]["absent"]
    lane = problem["images"] / problem["rows"]
    for name in ("neural_tangents 1", "neural_tangents 2", "torch.func"):
        row = rows[name]
        assert any(line.startswith(name) for line in printed)
        if "absent" in row:
            continue
        assert row["error"] < 1e-5
        assert row["time"]["max"] == pytest.approx(lane * max(row["timed_seconds"]))
        ratios = [
            lane * problem["lanes"] * theirs / own
            for theirs, own in zip(row["timed_seconds"], ours["timed_seconds"], strict=True)
        ]
        assert row["ours_faster_by"]["min"] == pytest.approx(min(ratios))


def test_a_runner_begins_with_nothing(parts):
    # Broken if a runner can only be made where others imported something before, its answers are lost on
    # the way, or its failure does not reach the driver. A fresh process, as for a person.
    work = parts.work.Work(lanes=1, hidden=2, batch=2, examples=4)
    product = functools.partial(parts.matrix_products.MatrixProductRunner, "jax", (256,), work)
    host = parts.timing.Hosted("product", [product])
    try:
        host.wait()
        assert host.setup() > 0
        assert host.run(1).wall > 0
        report = host.report()
        assert report["result"]["256"] > 0
        assert report["memory"] > 2**20
        assert report["device_memory"] is None or report["device_memory"] > 0
        with pytest.raises(RuntimeError, match=r"product failed:\n(.|\n)*TypeError"):
            host.run("many")
    finally:
        host.close()


@pytest.mark.parametrize("missing", ["torch", "pyhessian", "curvlinops"])
def test_a_missing_package_is_named(parts, tmp_path, monkeypatch, missing):
    # Broken if a runner whose package is missing fails otherwise than by saying how to get it.
    for name in ("torch", "torch.func", "pyhessian", "curvlinops"):
        if name.partition(".")[0] == missing:
            monkeypatch.setitem(sys.modules, name, None)
        else:
            monkeypatch.setitem(sys.modules, name, _anything())
    work = parts.work.Work(lanes=1, hidden=2, batch=2)
    problem = parts.curvature_problem.Problem(str(tmp_path))
    peers, torch = parts.curvature_peers, parts.torch_runners
    made = functools.partial
    makers = {
        "torch": [made(torch.PyTorchRunner, work), made(torch.TorchFuncRunner, work),
                  made(parts.matrix_products.MatrixProductRunner, "torch", (256,), work)],
        "pyhessian": [made(peers.PyHessianEigenvalues, problem, equal=True),
                      made(peers.PyHessianDensity, problem)],
        "curvlinops": [made(peers.CurvlinopsEigsh, problem)],
    }  # fmt: skip
    makers["torch"] += makers["pyhessian"] + makers["curvlinops"]
    for maker in makers[missing]:
        with pytest.raises(
            parts.timing.Absent, match=r"not installed.*pip install 'implicit-bias\[peers\]'"
        ):
            maker()
    # The same, on its way from another process.
    if missing == "torch":
        (tmp_path / "torch.py").write_text("raise ImportError('not here')\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        host = parts.timing.Hosted("pytorch", makers["torch"][:1])
        with pytest.raises(parts.timing.Absent, match="PyTorch is not installed"):
            host.wait()
        host.close()


def _anything():
    """A module that stands for one that is installed."""
    module = types.ModuleType("anything")
    module.manual_seed = module.set_float32_matmul_precision = lambda value: None
    return module


@pytest.mark.parametrize("subject", ["engine", "curvature"])
def test_without_peers_the_rows_say_so(parts, tmp_path, monkeypatch, capsys, subject):
    # Broken if a missing optional package stops the benchmark, or its rows vanish silently. The runners
    # are stand-ins here: of those that need PyTorch none can be made, the others answer at once.
    class Canned:
        def __init__(self, name, makers):
            self.name, self.ours = name, name not in (*PEERS, *CURVATURE_PEERS, "torch")

        def wait(self):
            if not self.ours:
                raise parts.timing.Absent("it is not installed; install it with: pip install peers")

        def setup(self):
            return 0.25

        def run(self, updates):
            return parts.timing.Timing(0.5, 0.5)

        def report(self):
            result = {"256": 1.0} if self.name == "jax" else dict.fromkeys(NUMBERS, 1.0)
            return {"result": result, "memory": 2**20, "device_memory": None, "notes": ["drawn"]}

        def close(self):
            pass

    NUMBERS = ["loss", "error", "xla_flops", "products", "converged", "trace", "largest_node"]
    NUMBERS += [f"reference.{i}" for i in range(2)]
    NUMBERS += [f"implicit-bias.{kind}.{i}" for kind in ("residual", "error") for i in range(2)]
    monkeypatch.setattr(getattr(parts, subject), "Hosted", Canned)
    import benchmark

    out = tmp_path / "out.json"
    assert benchmark.main([subject, "--smoke", "--json", str(out)]) == 0
    measured, printed = json.loads(out.read_text()), capsys.readouterr().out.splitlines()
    if subject == "engine":
        assert set(measured["matrix_products_gflops"]) == {"jax"}
        (shape,) = measured["shapes"]
        tables = [(shape["runners"], PEERS, "engine")]
    else:
        tables = [(measured["parts"]["eigenpairs"], CURVATURE_PEERS, "implicit-bias"),
                  (measured["parts"]["density"], ("pyhessian",), "implicit-bias")]  # fmt: skip
    for rows, peers, ours in tables:
        assert rows[ours]["seconds" if subject == "engine" else "time"]
        for name in peers:
            assert "pip install" in rows[name]["absent"]
            assert any(line.startswith(name) and "pip install" in line for line in printed)


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
    work = parts.work.Work(lanes=3, hidden=5, batch=7)
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
    work = parts.work.Work(lanes=lanes, hidden=5, batch=7)
    pieces = [half.lanes for half in parts.work.halves(work)]
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
        (["widths", "--widths", "64,32"], "no list of increasing whole numbers"),
        (["widths", "--budgets", "10,x"], "no list of increasing whole numbers"),
        (["widths", "--batch", "20000"], "above the 10000 examples"),
        (["ntk", "--rows", "0"], "at least 1"),
        (["pruning", "--arms", "0"], "at least 1"),
        (["conv", "--shapes", "vgg:1x2x3"], "NETWORK:LANESxCHANNELSxBATCH"),
        (["conv", "--shapes", "cnn5:1x2x2000"], "1024 examples in a batch"),
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
