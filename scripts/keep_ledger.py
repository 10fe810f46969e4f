"""Keep what finished runs of shipped configs say of the claims as the small files that come with the package.

python scripts/keep_ledger.py RUN [RUN ...] [--configs configs]

With each row goes when the run began, on what machine, and how long it took, all its sittings counted.
Writes ``configs/<study>/results/<config>.ledger.json``, which the README's table, ``implicit-bias explain``
and ``implicit_bias.ledger.shipped`` read; a run whose settings are no shipped config's is refused.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from implicit_bias import ledger
from implicit_bias.errors import UserError
from implicit_bias.ledger import Ledger
from implicit_bias.results import store


def with_cost(made: Ledger, run: Path) -> Ledger:
    """Add to the ledger of one run when it began, on what, and how long it took.

    Runs that were put together from shards have no time of their own, and get none here.

    Raises:
        UserError: The run's ``results.nc`` cannot be read.
    """
    about = store.provenance(store.load(run))
    device = about["device"]
    cost = {"machine": f"{about['cpu']}, {device['count']} {device['backend']} device(s)"}
    try:
        timing = store.load_timing(run)
    except UserError:
        pass
    else:
        seconds = round(float(timing["wall_seconds"]))
        cost |= {"date": timing.attrs["started"][:10], "seconds": seconds}
    rows = (replace(row, run={**row.run, **cost}) if row.run else row for row in made.rows)
    return replace(made, rows=tuple(rows))


def main() -> None:
    """Keep the ledgers of the runs that are named."""
    asked = argparse.ArgumentParser(description="Keep what finished runs say of the claims.")
    asked.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    asked.add_argument("--configs", default=Path("configs"), type=Path)
    given = asked.parse_args()
    entries = ledger.select()
    for run in given.runs:
        made = ledger.merged(entries, [run], run)
        if not any(row.config for row in made.rows):
            raise UserError(
                f"the settings of {run} are no shipped config's; run one of {given.configs}, unchanged"
            )
        for file in ledger.keep(with_cost(made, run), given.configs):
            print(file)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"keep_ledger: {error}", file=sys.stderr)
        sys.exit(2)
