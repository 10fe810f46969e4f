"""The README's own study, optimiser and measure, and every other Python block, do what is said of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
import xarray as xr

import implicit_bias as ib
from implicit_bias import optimizers
from implicit_bias.plugins import load_attribute
from implicit_bias.results.claims import evaluate
from implicit_bias.studies.base import Study
from tests.documents.markdown import FILES, README, Block, blocks
from tests.optimizers import harness
from tests.optimizers import test_optimizers as shared

STUDY, CALL, OPTIMIZER, ROW, MEASURE = blocks(README, "python")
OTHERS = [block for file in FILES if file != README for block in blocks(file, "python")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder of a reader who has copied all of the README's files."""
    made = tmp_path_factory.mktemp("reader")
    (made / "momentum.py").write_text(STUDY.text)
    (made / "momentum.yaml").write_text(blocks(README, "yaml")[0].text)
    (made / "adamax.py").write_text(OPTIMIZER.text)
    (made / "measured.py").write_text(
        f"import dataclasses\n{STUDY.text}\n{MEASURE.text}\n"
        "STUDY = dataclasses.replace(STUDY, measurement=lambda settings, data: FlatnessAndCosine())\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        before = jax.config.read("jax_enable_x64")
        yield made
        jax.config.update("jax_enable_x64", before)


def execute(block: Block) -> dict[str, Any]:
    """Run a block as a reader would, without the strictness of tests."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile(block.text, str(block), "exec"), names)
    return names


@pytest.fixture(scope="module")
def result(folder: Path) -> xr.Dataset:
    """What the README's study leaves, run by the call that the README shows."""
    found: xr.Dataset = execute(CALL)["result"]
    return found


def test_the_study_runs_and_answers(result: xr.Dataset, folder: Path) -> None:
    # Breaks if the example no longer runs in the real runner, measures nothing, or gives no verdict.
    report = folder / result.attrs["folder"] / "report.html"
    assert "Momentum ends in flatter minima" in report.read_text()
    assert sorted(set(result["arm"].values)) == ["longer step", "momentum", "same step"]
    assert (result["lambda_max"].values > 0).all()
    study: Study = load_attribute("momentum.py:STUDY")
    (finding,) = evaluate(study.claims, result)
    assert finding.n_seeds == 2
    assert set(finding.details["arms"]) == {"same step", "longer step"}


def test_the_studys_verdict_follows_the_data(result: xr.Dataset) -> None:
    # Breaks if its verdict does not come from λmax: twice as sharp without momentum, then half.
    study: Study = load_attribute("momentum.py:STUDY")
    without = result["arm"] != "momentum"
    noise = 1 + 0.01 * np.random.default_rng(0).normal(size=result.sizes["lane"])
    for factor, verdict in ((2.0, "supported"), (0.5, "refuted")):
        planted = result.assign(lambda_max=xr.where(without, factor, 1.0) * noise)
        (finding,) = evaluate(study.claims, planted)
        assert finding.verdict == verdict


def test_the_optimiser_passes_the_shared_harness(folder: Path, monkeypatch: Any) -> None:
    # Breaks if the example is not what Optax has, or a row of the harness needs something else.
    adamax = optimizers.get("adamax.py:ADAMAX")
    assert optimizers.get("sam(adamax.py:ADAMAX)").name == "sam(adamax)"
    monkeypatch.setitem(optimizers._REGISTRY, "adamax", adamax)
    row = eval(ROW.text, {"Row": harness.Row, "optax": optax})
    shared.test_converges_on_a_quadratic(row)
    shared.test_equals_a_jitted_loop_over_optax_exactly(row)
    shared.test_dtype_follows_the_parameters(row, np.float32)
    shared.test_state_is_only_what_is_needed(row)
    if importlib.util.find_spec("torch") is not None:
        shared.test_equals_pytorch(row, 0.1)


def test_the_measure_is_right_and_is_stored(result: xr.Dataset, folder: Path) -> None:
    # Breaks if the example computes something else, is not stored, or changes what was measured before.
    cosine = load_attribute("measured.py:cosine")
    one = {"a": np.asarray([3.0, 0.0]), "b": np.asarray([[4.0]])}
    other = {"a": np.asarray([0.0, 2.0]), "b": np.asarray([[1.0]])}
    assert float(cosine(one, one)) == pytest.approx(1)
    assert float(cosine(one, other)) == pytest.approx(4 / (5 * 5**0.5))
    settings = {"updates": 100, "data.n_train": 1000, "model.widths": [64]}
    stored = ib.run("measured.py:STUDY", seeds=2, settings=settings, out="measured")
    assert stored["cosine"].attrs["units"] == "1"
    assert ((stored["cosine"] > 0) & (stored["cosine"] < 1)).all()
    np.testing.assert_array_equal(stored["lambda_max"], result["lambda_max"])


@pytest.mark.parametrize("block", OTHERS, ids=str)
def test_a_block_runs(block: Block, folder: Path) -> None:
    # Breaks if a name of the package, or what it takes, changes.
    execute(block)


def test_every_block_is_run_by_a_test() -> None:
    # Breaks if a block is added to the README that no test above runs, or one in another language.
    assert [block.language for file in FILES for block in blocks(file, "")] == [""]  # the diagram
    known = {"", "python", "sh", "yaml"}
    text = "".join(file.read_text() for file in FILES)
    found = {line[3:] for line in text.splitlines() if line.startswith("```")}
    assert found <= known
    assert "STUDY = Study(" in STUDY.text
    assert "ib.run(" in CALL.text
    assert "Optimizer(" in OPTIMIZER.text
    assert "def cosine" in MEASURE.text
