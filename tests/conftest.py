"""Strict settings for every test, so that sloppy dtypes and shapes fail here and not in a study."""

from __future__ import annotations

import gc
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

# Before NumPy: two processes of two threads each would wait for one another on two cores.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Tests compile for minutes and compute for seconds. XLA's older code generator takes half the time of the
# usual one, and one piece of a program is cheaper than several. A flag that a jaxlib does not know would end
# the process: others than the one these were read from go without. Children of a test take them along.
HURRY = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", HURRY)

import jax  # noqa: E402
import pytest  # noqa: E402

from tests.haste import hasty  # noqa: E402

# What is imported stays; what tests leave behind is small and seldom worth a look.
gc.freeze()
gc.set_threshold(20_000, 10, 10)

# Two CPU devices, so that every test of the engine exercises lanes spread over devices.
jax.config.update("jax_num_cpu_devices", int(os.environ.get("IMPLICIT_BIAS_TEST_DEVICES", "2")))
# float64 is available for oracles; code under test follows its inputs' dtype.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

LONG = (
    "ledger/test_verify.py", "studies/test_normalization_study.py", "data/test_prepare.py",
    "studies/test_residual_study.py", "studies/test_runner_faults.py",
    "studies/test_step_size_study.py", "training/test_memory.py", "studies/test_attention_run.py",
    "studies/test_sharpness_run.py", "studies/test_landscape_run.py",
    "ledger/test_verdicts_move.py", "scripts/test_benchmark.py", "studies/test_double_descent.py",
    "studies/test_two_processes.py", "training/test_devices.py",
    "studies/test_benign_overfitting.py", "studies/test_batch_size_run.py",
    "studies/test_edge_of_stability.py", "studies/test_flat_minima.py",
)  # fmt: skip
"""Files that take long, longest first: they begin, so that no core waits for one at the end."""


def pytest_configure(config: pytest.Config) -> None:
    """Take files as they come: pytest-xdist would leave those of few tests for the end, long ones too."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, all others in their order."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get("/".join(item.path.parts[-2:]), len(place)))


@pytest.fixture(scope="module", autouse=True)
def _in_a_hurry(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile in a hurry, but for modules that are marked as computing for longer than they compile."""
    with hasty(request.node.get_closest_marker("optimised") is None):
        yield


MOST_MAPPINGS = 40_000
"""Of memory, beyond which a process forgets its compiled programs: each takes some, Linux allows a process
65,530, and past that the compiler dies."""


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs() -> Iterator[None]:
    """Forget compiled programs after a module, where there are very many."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()
