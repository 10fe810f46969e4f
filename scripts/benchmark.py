"""How fast, against what, and what share of the machine: measured where you run it.

    python scripts/benchmark.py engine                 # about five minutes on two cores
    python scripts/benchmark.py engine --json out.json --shapes 8x100x32 --repeats 9
    python scripts/benchmark.py conv                   # about five minutes on two cores
    python scripts/benchmark.py curvature              # about five minutes on two cores
    python scripts/benchmark.py ntk                    # about five minutes on two cores
    python scripts/benchmark.py pruning                # about five minutes on two cores
    python scripts/benchmark.py widths                 # about fifteen minutes on two cores

``engine`` trains many small networks with the engine and with PyTorch (one network after another,
on one thread, in two processes, and batched by ``torch.func.vmap``). ``conv`` does so with
convolutional networks: PyTorch in both memory layouts, and ``vmap`` of XLA's convolution. ``curvature``
finds the largest Hessian eigenvalues of a network trained on MNIST, and its spectral density, with
this package, PyHessian, and SciPy over curvlinops; values and residuals are judged in float64.
``widths`` trains networks of eight widths in shared programs by padding, in one program each, and
as the plan chooses, compiling anew each time. ``pruning`` trains a round of lottery tickets, masked
networks of several seeds and arms, as one batch of lanes, lane by lane, and with PyTorch. ``ntk``
computes tangent kernels of many networks, with this package, neural_tangents and torch.func.
Runners live in processes of their own and take turns. PyTorch and the other peers are optional
(``pip install 'implicit-bias[peers]'``). Each library uses the accelerator it sees.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import conv, curvature, engine, ntk, pruning, widths

SUBJECTS = {
    "conv": conv,
    "curvature": curvature,
    "engine": engine,
    "ntk": ntk,
    "pruning": pruning,
    "widths": widths,
}
"""What can be measured: modules with ``add_arguments(parser)`` and ``run(arguments) -> dict``."""


def main(argv: list[str] | None = None) -> int:
    """Run one benchmark; the table goes to standard output."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subjects = parser.add_subparsers(dest="subject", required=True)
    for name, module in SUBJECTS.items():
        subject = subjects.add_parser(name, help=(module.__doc__ or "").strip().splitlines()[0])
        subject.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
        subject.add_argument(
            "--smoke",
            action="store_true",
            help="tiny sizes, to see that it works",
        )
        module.add_arguments(subject)
    arguments = parser.parse_args(argv)
    if arguments.json and not arguments.json.resolve().parent.is_dir():
        parser.error(f"the folder of {arguments.json} does not exist; make it first")
    try:
        measured = SUBJECTS[arguments.subject].run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
