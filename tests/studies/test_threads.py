"""Linear algebra on one thread, also in libraries that are loaded late."""

from __future__ import annotations

import os
import subprocess
import sys

from implicit_bias.studies import threads

SCRIPT = """
import runpy, sys
one_thread = runpy.run_path(sys.argv[1])["one_thread"]
import numpy, threadpoolctl

def counts():
    return [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]

assert "scipy.linalg" not in sys.modules
with one_thread():
    import scipy.linalg
    inside = counts()
after = counts()
with one_thread():
    again = counts()
print(inside, after, again)
"""


def test_scipys_own_library_is_limited_though_it_is_imported_later() -> None:
    # Breaks if the controller knows only the libraries that were loaded before the first use, of which
    # SciPy's is none in a new process; or if the limit outlives its context.
    env = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, threads.__file__], env=env, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    inside, after, again = (part.split(",") for part in said.stdout.strip(" []\n").split("] ["))
    assert {int(one) for one in (*inside, *again)} == {1}
    assert len(inside) == len(after) == len(again) >= 2
    assert {int(one) for one in after} == {2}
