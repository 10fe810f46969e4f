"""Devices, compilation and precision: the one module with global effects.

Nothing here runs at import. The command, the scripts and the tests call :func:`configure` once, before
the first array is made; a notebook that never calls it works too, on the devices JAX found.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from implicit_bias.errors import UserError

LANE_AXIS = "lane"
"""Name of the mesh axis over which lanes are spread."""

_ARENA_MAX = -8
"""Number of the setting in ``malloc.h``."""

QUICK_FLAGS = (
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
"""Half the compiling on CPUs: XLA's older code generator, and a program in one piece."""

ALIGNMENT = 64
"""Bytes to a multiple of which XLA wants arrays to be aligned on CPUs."""


@dataclass(frozen=True)
class Layout:
    """How a batch of lanes runs on the machine.

    Attributes:
        strategy: ``"map"`` runs the lanes of a device one after another inside one compiled program;
            ``"vmap"`` runs ``tile`` lanes at a time as one batched computation.
        tile: Lanes per batched computation; 1 under ``"map"``. Rounding depends on the tile, so it is
            recorded with the results.
        devices: Number of devices the lanes are spread over.
    """

    strategy: Literal["map", "vmap"] = "map"
    tile: int = 1
    devices: int = 1

    def __post_init__(self) -> None:
        if self.strategy not in ("map", "vmap"):
            raise UserError(f"strategy is {self.strategy!r}; choose 'map' or 'vmap'")
        if self.tile < 1 or (self.strategy == "map" and self.tile != 1):
            raise UserError(
                f"tile is {self.tile}; choose 1 for strategy 'map' and at least 1 for 'vmap'"
            )
        if self.devices < 1:
            raise UserError(f"devices is {self.devices}; choose at least 1")

    @property
    def granule(self) -> int:
        """Lane counts are padded to a multiple of this number."""
        return self.devices * self.tile


def configure(
    *,
    cpu_devices: int | None = None,
    float64: bool | None = None,
    compilation_cache: str | os.PathLike[str] | None = None,
    compile_quickly: bool = False,
) -> str:
    """Prepare JAX for lanes; call it before any array is made.

    Args:
        cpu_devices: Number of devices the CPU is split into; by default one per available core. When
            JAX is already initialised the number cannot change and lanes run on the devices there are.
        float64: Whether arrays may be float64; by default as JAX is set already (float32 unless the
            caller has chosen otherwise).
        compilation_cache: Folder of the persistent compilation cache; by default none.
        compile_quickly: Compile in half the time programs that may run a little longer and round
            differently: for what computes for seconds. It has no effect where JAX is already initialised;
            flags that ``XLA_FLAGS`` names stay as they are.

    Returns:
        One line saying what was set, for the person at the keyboard.

    Raises:
        UserError: If ``cpu_devices`` is below 1.
    """
    wanted = available_cores() if cpu_devices is None else cpu_devices
    if wanted < 1:
        raise UserError(f"devices is {wanted}; choose at least 1")
    _share_freed_memory(max(2, wanted))
    if compile_quickly:
        _compile_quickly()
    note = ""
    try:
        jax.config.update("jax_num_cpu_devices", wanted)
    except RuntimeError:
        note = " (JAX was already initialised: its devices stay as they are)"
    if float64 is not None:
        jax.config.update("jax_enable_x64", float64)
    if compilation_cache is not None:
        folder = Path(compilation_cache).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"compilation cache {folder} cannot be made ({error.strerror}); "
                "name a folder that can be written"
            ) from error
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return f"{jax.device_count()} {jax.default_backend()} device(s){note}"


def _share_freed_memory(pools: int) -> None:
    """Let threads share what they free, in a few pools, where the C library is GNU's.

    Otherwise each thread keeps what its largest matrix product copied: for a convolutional network that made
    a process nearly twice as large, and more so the more cores there are.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, pools)


def _compile_quickly() -> None:
    """Ask XLA for less, in the environment, which it reads when JAX is initialised.

    Flags of the user's stay and go first, so that a run on devices that a flag makes rounds as one without. A
    flag that a jaxlib does not know ends the process: others than the one these were read from go without.
    """
    if not importlib.metadata.version("jaxlib").startswith("0.10."):
        return
    own = os.environ.get("XLA_FLAGS", "").split()
    named = {flag.partition("=")[0] for flag in own}
    added = [flag for flag in QUICK_FLAGS if flag.partition("=")[0] not in named]
    os.environ["XLA_FLAGS"] = " ".join([*own, *added])


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def lane_mesh(devices: int) -> Mesh:
    """Return the mesh that spreads lanes over the first ``devices`` devices.

    Raises:
        UserError: If there are fewer devices.
    """
    present = jax.devices()
    if devices > len(present):
        raise UserError(
            f"devices is {devices}, but JAX sees {len(present)}; choose at most {len(present)}"
        )
    return jax.make_mesh(
        (devices,),
        (LANE_AXIS,),
        devices=present[:devices],
        axis_types=(jax.sharding.AxisType.Auto,),
    )


def spread(tree: Any, devices: int) -> Any:
    """Place arrays whose leading axis is the lane, one shard a device."""
    return jax.device_put(tree, NamedSharding(lane_mesh(devices), PartitionSpec(LANE_AXIS)))


def abstract_spread(shapes: Any, devices: int) -> Any:
    """Return the shapes of arrays placed as by :func:`spread`, for compiling ahead of having them."""
    sharding = NamedSharding(lane_mesh(devices), PartitionSpec(LANE_AXIS))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
    )


def replicate(tree: Any, devices: int) -> Any:
    """Place arrays that every lane reads, one copy a device.

    CPU devices share their memory: NumPy arrays whose first byte stands at a multiple of ``ALIGNMENT`` are
    not copied at all, and must not be written to any more.
    """
    place = NamedSharding(lane_mesh(devices), PartitionSpec())
    return jax.device_put(tree, place, may_alias=True)


def aligned(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a copy of an array, of a given type, that :func:`replicate` need not copy on CPUs."""
    dtype = np.dtype(dtype)
    room = np.empty(array.size * dtype.itemsize + ALIGNMENT, np.uint8)
    first = -room.ctypes.data % ALIGNMENT
    copy = room[first : first + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    copy[...] = array
    return copy


def compiled(
    function: Callable[..., Any], *, static: tuple[str, ...] = (), donate: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """Compile a function once for each value of its static arguments and each shape of the others.

    Args:
        function: Pure function.
        static: Names of arguments that are compiled in; they must be hashable by value.
        donate: Names of arguments whose memory the result may reuse.
    """
    return jax.jit(function, static_argnames=static, donate_argnames=donate)
