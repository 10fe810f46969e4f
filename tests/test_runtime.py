"""Global effects, each tried in a process of its own, and the placing of arrays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import implicit_bias
from implicit_bias import runtime
from implicit_bias.errors import UserError
from implicit_bias.runtime import Layout


def fresh(code: str, *arguments: str, **environment: str):
    """Run code in a fresh Python and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "", "JAX_PLATFORMS": "cpu", **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# configure


def test_configure_splits_the_cpu_and_fills_the_cache(tmp_path: Path):
    # Breaks if devices are counted before they are set, float64 stays off, or the cache stays empty.
    line, devices, dtype, value = fresh(
        """
import json, sys
from implicit_bias import runtime
line = runtime.configure(cpu_devices=3, float64=True, compilation_cache=sys.argv[1])
import jax, jax.numpy as jnp
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
double = runtime.compiled(lambda x: jnp.sin(x) @ x)
value = double(runtime.replicate(jnp.ones((2, 2)), 3))
print(json.dumps([line, len(jax.devices()), str(value.dtype), len(value.devices())]))
""",
        str(tmp_path / "deep" / "cache"),
    )
    assert line == "3 cpu device(s)"
    assert (devices, dtype, value) == (3, "float64", 3)
    assert any((tmp_path / "deep" / "cache").iterdir())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a choice of cores")
def test_configure_uses_the_cores_there_are_and_says_when_it_is_too_late():
    # Breaks if a job confined to some cores starts more devices, or a device count that JAX could no
    # longer change is claimed.
    cores, first, second, late, devices, dtype, kept = fresh(
        """
import json, os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from implicit_bias import runtime
first = runtime.configure()
import jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
second = runtime.configure(cpu_devices=1)
kept = str(jnp.ones(1).dtype)
jax.config.update("jax_enable_x64", False)
late = runtime.configure(cpu_devices=4)
facts = [runtime.available_cores(), first, second, late, jax.device_count(), str(jnp.ones(1).dtype), kept]
print(json.dumps(facts))
"""
    )
    assert (cores, devices, dtype) == (1, 1, "float32")
    assert kept == "float64"  # a precision chosen before stays
    assert first == "1 cpu device(s)"
    assert second.startswith("1 cpu device(s)")
    assert late == "1 cpu device(s) (JAX was already initialised: its devices stay as they are)"


QUICKLY = """
import importlib.metadata, json, os, sys
importlib.metadata.version = {"jaxlib": sys.argv[1], "jax": "0"}.get
from implicit_bias import runtime
runtime.configure(compile_quickly=sys.argv[2] == "yes")
import jax
value = float(jax.jit(lambda x: 2 * x)(1.5))
print(json.dumps([os.environ.get("XLA_FLAGS", ""), value]))
"""


OWN = "--xla_force_host_platform_device_count=2 --xla_cpu_use_fusion_emitters=true"
"""Flags of a user, of which one is among ours."""


@pytest.mark.parametrize(
    ("jaxlib", "asked", "own", "flags"),
    [
        ("0.10.2", "yes", {}, " ".join(runtime.QUICK_FLAGS)),
        ("0.10.2", "no", {}, ""),
        ("0.12.0", "yes", {}, ""),
        ("0.10.2", "no", {"XLA_FLAGS": OWN}, OWN),
        ("0.10.2", "yes", {"XLA_FLAGS": OWN}, " ".join([OWN, *runtime.QUICK_FLAGS[1:]])),
    ],
)
def test_compiling_quickly_is_asked_for_and_overrules_nobody(jaxlib, asked, own, flags):
    # Breaks if every run compiles less well, if a jaxlib is given flags that it need not know (which would
    # end the process, as a misspelt one would here), or if a user's own are lost.
    set_, value = fresh(QUICKLY, jaxlib, asked, **own)
    assert set_ == flags
    assert value == 3.0


@pytest.mark.parametrize("devices", [0, -2])
def test_configure_refuses_no_devices(devices):
    # Breaks if JAX is left half configured by a number it cannot use.
    before = jax.config.jax_enable_x64
    with pytest.raises(UserError, match=f"devices is {devices}; choose at least 1"):
        runtime.configure(cpu_devices=devices, float64=not before)
    assert jax.config.jax_enable_x64 == before


def test_configure_refuses_a_cache_it_cannot_make(tmp_path: Path):
    # Breaks if a mistyped folder shows as a traceback, or as slow runs later.
    (tmp_path / "file").touch()
    before = jax.config.jax_enable_x64, jax.config.jax_compilation_cache_dir
    with pytest.raises(UserError, match=r"cannot be made .*; name a folder that can be written"):
        runtime.configure(float64=True, compilation_cache=tmp_path / "file" / "cache")
    assert (jax.config.jax_enable_x64, jax.config.jax_compilation_cache_dir) == before


# Imports


def test_importing_the_package_starts_nothing_and_imports_nothing_heavy(tmp_path: Path):
    # Breaks if `import implicit_bias` waits for JAX, or any room for TensorFlow or matplotlib, which
    # are installed here as far as Python can tell; or if a room initialises JAX before it is
    # configured.
    for name in ("tensorflow", "tensorflow_datasets"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    first, after, rooms, devices = fresh(
        """
import json, sys
heavy = ("tensorflow", "tensorflow_datasets", "matplotlib", "torch", "xarray", "pandas", "flax")
import implicit_bias
first = [name for name in (*heavy, "jax", "numpy", "scipy") if name in sys.modules]
rooms = [implicit_bias.__getattr__(room).__name__ for room in implicit_bias.ROOMS]
import implicit_bias.cli, implicit_bias.training.tune, implicit_bias.studies.runner
after = [name for name in heavy if name in sys.modules]
line = implicit_bias.runtime.configure(cpu_devices=2)
print(json.dumps([first, after, rooms, line]))
""",
        PYTHONPATH=str(tmp_path),
    )
    assert first == []
    assert not {"tensorflow", "tensorflow_datasets", "matplotlib", "torch"} & set(after), after
    assert rooms == [f"implicit_bias.{room}" for room in implicit_bias.ROOMS]
    assert devices == "2 cpu device(s)"


def test_an_unknown_room_is_an_attribute_error():
    # Breaks if a typing mistake gives a module that is not there.
    with pytest.raises(AttributeError, match="has no attribute 'trainig'"):
        implicit_bias.__getattr__("trainig")
    assert set(implicit_bias.ROOMS) < set(dir(implicit_bias))


# Layouts and placing


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (("pmap", 1, 1), "strategy is 'pmap'; choose 'map' or 'vmap'"),
        (("map", 2, 1), "tile is 2; choose 1 for strategy 'map' and at least 1 for 'vmap'"),
        (("vmap", 0, 1), "tile is 0; choose 1 for strategy 'map' and at least 1 for 'vmap'"),
        (("map", 1, 0), "devices is 0; choose at least 1"),
    ],
)
def test_an_impossible_layout_is_refused(fields, told):
    # Breaks if a layout that nothing can run gets as far as the compiler.
    with pytest.raises(UserError, match=told):
        Layout(*fields)


def test_a_granule_fills_every_device_with_a_tile():
    # Breaks if lanes are padded to a number that cannot be spread.
    assert Layout("vmap", 3, 2).granule == 6
    assert Layout("map", 1, 2).granule == 2


def test_arrays_are_placed_by_lane_or_on_every_device():
    # Breaks if a device holds another's lanes, or shared data is split.
    tree = {"a": np.arange(4.0), "b": np.arange(8).reshape(4, 2)}
    by_lane = runtime.spread(tree, 2)
    for name, array in by_lane.items():
        shards = sorted(array.addressable_shards, key=lambda shard: shard.device.id)
        parts = [np.asarray(shard.data) for shard in shards]
        assert [part.tolist() for part in parts] == [
            tree[name][:2].tolist(),
            tree[name][2:].tolist(),
        ]
    shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in tree.items()}
    for name, shape in runtime.abstract_spread(shapes, 2).items():
        assert shape.sharding == by_lane[name].sharding
        assert shape.shape == tree[name].shape
    everywhere = runtime.replicate(tree, 2)
    for name, array in everywhere.items():
        assert all((np.asarray(s.data) == tree[name]).all() for s in array.addressable_shards)
        assert len(array.devices()) == 2
    with pytest.raises(UserError, match=r"devices is 99, but JAX sees \d+; choose at most \d+"):
        runtime.lane_mesh(99)


def test_compiled_is_compiled_once_for_equal_static_arguments_and_may_reuse_memory():
    # Breaks if equal layouts compile twice, or the memory of a donated argument is kept.
    traced = []

    def add(layout: Layout, x: jax.Array) -> jax.Array:
        traced.append(layout)
        return x + layout.tile

    program = runtime.compiled(add, static=("layout",), donate=("x",))
    x = jnp.arange(3.0)
    assert program(layout=Layout("vmap", 2), x=x).tolist() == [2, 3, 4]
    assert x.is_deleted()
    program(layout=Layout("vmap", 2), x=jnp.arange(3.0))
    program(layout=Layout("vmap", 5), x=jnp.arange(3.0))
    assert [layout.tile for layout in traced] == [2, 5]
