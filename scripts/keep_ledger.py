"""Keep what finished runs of shipped configs say of the claims as the small files that come with the package.

python scripts/keep_ledger.py RUN [RUN ...] [--configs configs]

Writes ``configs/<study>/results/<config>.ledger.json``, which the README's table, ``implicit-bias explain``
and ``implicit_bias.ledger.shipped`` read; a run whose settings are no shipped config's is refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from implicit_bias import ledger
from implicit_bias.errors import UserError


def main() -> None:
    """Keep the ledgers of the runs that are named."""
    asked = argparse.ArgumentParser(description="Keep what finished runs say of the claims.")
    asked.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    asked.add_argument("--configs", default=Path("configs"), type=Path)
    given = asked.parse_args()
    entries = ledger.select()
    for run in given.runs:
        made = ledger.merged(entries, [run], run)
        files = ledger.keep(made, given.configs)
        if not files:
            raise UserError(
                f"the settings of {run} are no shipped config's; run one of {given.configs}, unchanged"
            )
        for file in files:
            print(file)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"keep_ledger: {error}", file=sys.stderr)
        sys.exit(2)
