"""Kernels on disk: found by content, verified, never half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.data import cache
from implicit_bias.errors import UserError
from implicit_bias.kernels import Kernels, cached_kernel, infinite_kernel
from implicit_bias.kernels.infinite import InfiniteKernel
from implicit_bias.kernels.kernel_cache import cache_file
from implicit_bias.models import Dense

X = np.random.default_rng(0).normal(size=(4, 3))
KERNEL = infinite_kernel(Dense((5,), 2, parameterisation="ntk"))


def computations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count calls of the kernel itself from now on."""
    calls: list[int] = []
    original = InfiniteKernel.__call__

    def counted(self: InfiniteKernel, *args: object, **options: object) -> Kernels:
        calls.append(1)
        return original(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(InfiniteKernel, "__call__", counted)
    return calls


def test_computes_once_and_again_where_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by computing again what is there, by believing a truncated or altered file, or by
    # leaving something half-written behind.
    calls = computations(monkeypatch)
    first = cached_kernel(KERNEL, X, cache_dir=tmp_path)
    again = cached_kernel(KERNEL, X, cache_dir=tmp_path)
    assert len(calls) == 1
    for a, b in zip(first, again, strict=True):
        assert isinstance(b, jax.Array)
        np.testing.assert_array_equal(a, b)
    file = cache_file(KERNEL, X, cache_dir=tmp_path)
    content = file.read_bytes()
    middle = len(content) // 2
    for damaged in (content[:middle], content[:middle] + b"12345678" + content[middle + 8 :], b""):
        file.write_bytes(damaged)
        np.testing.assert_array_equal(cached_kernel(KERNEL, X, cache_dir=tmp_path).ntk, first.ntk)
    assert file.read_bytes() == content
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    # Prepared datasets live in the folder above, and are not mixed up with kernels.
    assert cache.names(tmp_path) == []


def test_everything_that_matters_is_in_the_name() -> None:
    # Broken by two kernels that share a file: the worst thing that a cache can do.
    other = X.copy()
    other[0, 0] += 1e-9
    named = {
        cache_file(kernel, x1, x2)
        for kernel, x1, x2 in (
            (KERNEL, X, None),
            (KERNEL, X, X),
            (KERNEL, other, None),
            (KERNEL, X.astype(np.float32), None),
            (KERNEL, X.reshape(4, 3, 1), None),
            (KERNEL, X, other),
            (infinite_kernel(KERNEL.model, scale=2.0), X, None),
            (infinite_kernel(KERNEL.model, engine="neural-tangents"), X, None),
            (infinite_kernel(Dense((5,), 2, parameterisation="ntk", bias=False)), X, None),
            (infinite_kernel(Dense((5,), 2, "erf", parameterisation="ntk")), X, None),
            (infinite_kernel(Dense((5, 5), 2, parameterisation="ntk")), X, None),
        )
    }
    assert len(named) == 11
    assert cache_file(KERNEL, jnp.asarray(X)) in named


def test_a_folder_that_cannot_be_written_costs_only_the_file(tmp_path: Path) -> None:
    # Broken by losing what took hours to compute.
    (tmp_path / "kernels").write_text("in the way")
    with pytest.warns(UserWarning, match="computed but not kept"):
        found = cached_kernel(KERNEL, X, cache_dir=tmp_path)
    assert found.ntk.shape == (4, 4)


@pytest.mark.parametrize(
    ("kernel", "x", "folder", "tells"),
    [
        (KERNEL.model, X, None, "kernel is of type Dense; give what infinite_kernel"),
        (KERNEL, "abc", None, "x1 is 'abc'; give numbers"),
        (KERNEL, None, None, "x1 is None; give numbers"),
        (KERNEL, X, 3, "cache_dir is 3; give a folder's path"),
    ],
)
def test_bad_requests(tmp_path: Path, kernel: Any, x: Any, folder: Any, tells: str) -> None:
    # Broken by an AttributeError or TypeError from inside.
    with pytest.raises(UserError, match=tells) as caught:
        cached_kernel(kernel, x, cache_dir=tmp_path if folder is None else folder)
    assert "\n" not in str(caught.value)


def test_traced_values_are_refused(tmp_path: Path) -> None:
    # Broken by a traceback from inside JAX.
    with pytest.raises(UserError, match="outside of jit"):
        jax.jit(lambda x: cached_kernel(KERNEL, x, cache_dir=tmp_path))(X)
