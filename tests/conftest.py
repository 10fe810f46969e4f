"""Strict settings for every test, so that sloppy dtypes and shapes fail here and not in a study."""

from __future__ import annotations

import os

# Before NumPy: two processes of two threads each would wait for one another on two cores.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import jax  # noqa: E402

# Two CPU devices, so that every test of the engine exercises lanes spread over devices.
jax.config.update("jax_num_cpu_devices", int(os.environ.get("IMPLICIT_BIAS_TEST_DEVICES", "2")))
# float64 is available for oracles; code under test follows its inputs' dtype.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
