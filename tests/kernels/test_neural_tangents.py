"""The private compatibility module: what it must leave alone, and what it says when it cannot."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

from implicit_bias.errors import UserError
from implicit_bias.kernels import _neural_tangents

FRESH = """
import sys
import jax
import implicit_bias.kernels as kernels
heavy = {"tensorflow", "tf2jax", "neural_tangents"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
names = lambda: (set(vars(jax.core)), set(vars(jax.interpreters.ad)), "jax.util" in sys.modules)
from implicit_bias.kernels import _neural_tangents
before = names()
package = _neural_tangents.load()
assert names() == before
assert not {"tensorflow", "tf2jax", "neural_tangents.experimental"} & set(sys.modules)
assert _neural_tangents.load() is package
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
stax = package.stax
with _neural_tangents.calling():
    network = stax.serial(stax.Dense(1), stax.Relu(), stax.Dense(1))[2]
    kernel = network(jax.numpy.eye(2), None, ("nngp", "ntk"))
# K = 1/2 on the diagonal, 1/2 of it after ReLU; its own weights' and those below.
assert abs(float(kernel.ntk[0, 0]) - 0.5) < 1e-6, kernel
assert jax.config.jax_numpy_rank_promotion == "raise"
"""


def test_imports_without_tensorflow_and_leaves_jax_as_it_was() -> None:
    # Broken by a JAX release that lacks one more name, by a name left behind in JAX (which would
    # hide others' mistakes), by a warning let through, or by importing heavy packages too early.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FRESH], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # Broken by letting ModuleNotFoundError through, or by not naming the extra.
    monkeypatch.setitem(sys.modules, "neural_tangents", None)
    with pytest.raises(UserError, match=r"pip install 'implicit-bias\[ntk\]'"):
        _neural_tangents.load()


def test_other_failures_name_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    # Broken by showing a page of traceback when a later JAX drops something else, or by leaving a
    # half-imported package behind that the next call would take for whole.
    for name in [name for name in sys.modules if name.split(".")[0] == "neural_tangents"]:
        monkeypatch.delitem(sys.modules, name)

    def fails(name: str) -> None:
        sys.modules["neural_tangents.half"] = sys
        raise AttributeError(f"jax has no attribute used by {name}\nand more")

    with monkeypatch.context() as patch:
        patch.setattr(importlib, "import_module", fails)
        patch.setattr(_neural_tangents, "_importable", lambda name: True)
        with pytest.raises(UserError, match=r"cannot be imported with JAX [\d.]+ \(jax has no"):
            _neural_tangents.load()
    assert "neural_tangents.half" not in sys.modules


def test_calling_hides_its_warnings() -> None:
    # Broken by its deprecated calls becoming errors under -W error.
    with _neural_tangents.calling():
        warnings.warn("old", DeprecationWarning, stacklevel=1)
