"""The arguments of each command. Nothing heavy is imported here, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import implicit_bias
from implicit_bias.cli import commands, ledger_commands
from implicit_bias.errors import UserError, unknown

TARGET = "a study's name, a YAML config, or module:attribute (file.py:attribute) of your own study"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments.

    Returns:
        Their values, and as ``call`` the function of :mod:`implicit_bias.cli.commands` that does
        the work.

    Raises:
        UserError: They are wrong.
        SystemExit: After ``--help`` and ``--version``.
    """
    asked, rest = _parser().parse_known_args(arguments)
    if rest:
        command: _Parser = asked.parser
        option = next((word for word in rest if word.startswith("-")), None)
        if option is None:
            command.error(f"there is one argument too many: {rest[0]!r}")
        raise unknown(f"option of {command.prog}", option.partition("=")[0], command.options)
    asked.arguments = list(arguments)
    return asked


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would print over several lines, and takes no abbreviations."""

    def __init__(self, **settings: Any) -> None:
        self.options: list[str] = []
        super().__init__(**settings, allow_abbrev=False)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        self.options += [name for name in names if name.startswith("--")]
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="implicit-bias",
        description="What does training prefer? Studies with seed sweeps, controls and verdicts.",
        epilog="Start with: implicit-bias run batch-size",
    )
    parser.add_argument(
        "--version", action="version", version=f"implicit-bias {implicit_bias.__version__}"
    )
    top = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        name: str, call: Callable[[argparse.Namespace], None], text: str, to: Any = top
    ) -> _Parser:
        command: _Parser = to.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + "."
        )
        command.set_defaults(call=call, parser=command)
        return command

    command = add("list", commands.list_studies, "studies; or one study's settings and claims")
    command.add_argument("study", nargs="?", help=f"show its settings and claims; {TARGET}")
    _json(command)

    command = add("plan", commands.plan, "what a run would do, without doing it")
    _config(command)
    _layout(command)
    _json(command)

    command = add("run", commands.run, "run a study, or continue it")
    _config(command)
    command.add_argument(
        "--out",
        metavar="DIR",
        help="folder for the results; default runs/<study>-<hash of settings>",
    )
    command.add_argument(
        "--resume", action="store_true", help="insist that there is a run to continue"
    )
    command.add_argument(
        "--shard",
        type=_shard,
        metavar="i/n",
        help="run only the i-th of n parts of the seeds, i from 1 to n; put together with merge",
    )
    _layout(command)
    _json(command)
    command.add_argument("--quiet", action="store_true", help="say nothing but errors")

    command = add("merge", commands.merge, "put the shards of one sweep together")
    command.add_argument("directories", nargs="+", metavar="DIR", help="folders of the shards")
    command.add_argument("--out", metavar="DIR", required=True, help="folder for the whole")
    _json(command)

    command = add("report", commands.report, "make verdicts, figures and report of a run anew")
    command.add_argument("directory", metavar="DIR", help="folder of a finished run")
    _json(command)

    command = add("export", commands.export, "write the result of a run as tables")
    command.add_argument("directory", metavar="DIR", help="folder of a finished run")
    command.add_argument("--format", choices=("csv", "parquet"), default="csv")
    command.add_argument(
        "--out",
        metavar="FILE",
        help="the lanes' table, the others go beside it (default DIR/lanes.<format>)",
    )

    command = add(
        "verify", ledger_commands.verify, "test the documents' claims, and keep the ledger"
    )
    for name, what in (
        ("source", "johannsen, dhand or chapter11"),
        ("claim", "an id; `implicit-bias explain` lists them"),
        ("study", "a study's name"),
    ):
        command.add_argument(
            f"--{name}", nargs="+", action="extend", default=[], metavar=name.upper(),
            help=f"only these: {what}; default all",
        )  # fmt: skip
    command.add_argument(
        "--scale",
        choices=("smoke", "laptop", "full"),
        help="size of the runs; default smoke, and with --merge all",
    )
    command.add_argument(
        "--merge", nargs="+", action="extend", default=[], metavar="DIR",
        help="run nothing: put finished runs and ledgers together",
    )  # fmt: skip
    command.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the ledger and its runs; default ledger-<scale>, or ledger-merged",
    )
    command.add_argument(
        "--figures",
        nargs="?",
        const="pdf",
        choices=("pdf", "svg"),
        help="write the studies' figures as such files too; pdf where none is named",
    )
    command.add_argument("--all", action="store_true", help="print a row a claim, however many")
    command.add_argument(
        "--strict", action="store_true",
        help="end with status 2 if a study could not be run or a row lacks what its kind demands",
    )  # fmt: skip
    _layout(command)
    _json(command)

    command = add(
        "explain", ledger_commands.explain, "a claim: what was run, numbers, verdict; or the list"
    )
    command.add_argument("id", nargs="?", metavar="ID", help="the claim; default: list all")
    command.add_argument(
        "--ledger", metavar="DIR", help="folder of a ledger; default: the laptop runs shipped here"
    )
    _json(command)

    command = add("compare", ledger_commands.compare, "what changed between two ledgers")
    command.add_argument("before", metavar="DIR", help="folder of a ledger")
    command.add_argument("after", metavar="DIR", help="folder of another")
    command.add_argument("--across", action="store_true", help="compare ledgers of different sizes")
    _json(command)

    data = top.add_parser("data", help="datasets: list them, prepare them")
    below = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = add("list", commands.data_list, "datasets and what it takes to use them", below)
    _json(command)
    command = add("prepare", commands.data_prepare, "bring a dataset into the cache", below)
    command.add_argument("dataset", metavar="NAME", help="mnist, fashion_mnist, cifar10, or a file")
    command.add_argument("--from", dest="source", metavar="DIR", help="files that are already here")
    command.add_argument("--name", metavar="mine", help="name to load it by")
    command.add_argument("--force", action="store_true", help="prepare again what is there")

    command = add(
        "tune", commands.tune, "measure how the lanes of a config run fastest on this machine"
    )
    _config(command)
    _layout(command)
    _json(command)
    return parser


def _config(command: _Parser) -> None:
    command.add_argument("target", metavar="STUDY|CONFIG.yaml", help=TARGET)
    command.add_argument(
        "--scale", metavar="smoke|laptop|full", help="size of a study given by name; default smoke"
    )
    command.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="key=value",
        help="change a setting, e.g. --set model.widths=[64,64]; may be repeated",
    )
    command.add_argument("--seeds", metavar="N", help="independent repetitions")


def _layout(command: _Parser) -> None:
    command.add_argument(
        "--strategy",
        choices=("map", "vmap"),
        help="lanes one after another on each device, or in tiles at once; default by machine",
    )
    command.add_argument("--tile", type=_count, metavar="N", help="lanes at once under vmap")
    command.add_argument("--devices", type=_count, metavar="N", help="devices to use; default all")
    command.add_argument(
        "--memory",
        type=_gigabytes,
        metavar="GB",
        help="memory for a chunk: its lanes, and what is computed of them; default 3",
    )


def _json(command: _Parser) -> None:
    command.add_argument(
        "--json", action="store_true", help="standard output is one JSON object and nothing else"
    )


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; give a whole number >= 1")
    return value


def _gigabytes(text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1e-9 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"is {text!r}; give a positive number of gigabytes")
    return int(value * 1e9)


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    try:
        shard = int(index), int(count)
    except ValueError:
        shard = 0, 0
    if shard[0] == 0 < shard[1]:
        # Were it taken for the first, the last of those that count from 1 would be it once more.
        raise argparse.ArgumentTypeError(
            f"is {text!r}; give i/n with 1 <= i <= n: shards are counted from 1, the first is 1/{shard[1]}"
        )
    if not 1 <= shard[0] <= shard[1]:
        raise argparse.ArgumentTypeError(f"is {text!r}; give i/n with 1 <= i <= n, such as 2/4")
    return shard
