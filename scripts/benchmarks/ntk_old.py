"""``neural_tangents`` on an old JAX, in a process of another Python: started, then told what to do.

Run as ``python ntk_old.py PROBLEM.npz OUT.npz ROWS BATCH``; answers each line of its input, ``run``,
by a line with the seconds that it took. Needs nothing of this package.
"""

from __future__ import annotations

import sys
import time
import types

import numpy as np

IMPLEMENTATION = 3  # structured derivatives


def main() -> None:
    """Answer requests until the input ends."""
    place, out, rows, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    # The part of neural_tangents that needs TensorFlow, which is not used here.
    name = "neural_tangents.experimental"
    sys.modules[name] = types.ModuleType(name)
    import jax
    import neural_tangents

    with np.load(place) as file:
        x = file["x"]
        # Weights as (inputs, outputs): a weight that is transposed first has no structure left for it.
        params = [(np.ascontiguousarray(file[f"w{i}"][0].T), file[f"b{i}"][0]) for i in range(3)]

    def apply(params, x):  # type: ignore[no-untyped-def]
        for index, (weight, bias) in enumerate(params):
            x = jax.numpy.dot(x, weight) + bias
            x = jax.nn.relu(x) if index < len(params) - 1 else x
        return x

    kernel = jax.jit(
        neural_tangents.empirical_ntk_fn(
            apply, trace_axes=(-1,), vmap_axes=0, implementation=IMPLEMENTATION
        )
    )

    def strip() -> np.ndarray:
        blocks = range(0, len(x), batch)
        return np.concatenate(
            [np.asarray(kernel(x[:rows], x[at : at + batch], params)) for at in blocks], axis=1
        )

    np.savez(out, kernel=strip())
    print(f"ready jax {jax.__version__}", flush=True)
    for line in sys.stdin:
        if line.strip() != "run":
            continue
        began = time.perf_counter()
        strip()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
