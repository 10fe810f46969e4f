"""The repository's Markdown files, taken apart: blocks of code, commands, words in code, links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FILES = (
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "configs/README.md",
    ROOT / "scripts/README.md",
    *sorted(ROOT.glob("configs/*/README.md")),
)
"""Everything that tells a reader what to type."""

VARIABLES = {"$SLURM_ARRAY_TASK_ID": "2", "$SLURM_ARRAY_TASK_COUNT": "5"}
"""What a scheduler would say."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language and its text."""

    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def blocks(file: Path, language: str) -> list[Block]:
    """Return the blocks of a language in a file."""
    text = file.read_text(encoding="utf-8")
    return [
        Block(file, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in _FENCE.finditer(text)
        if found[1] == language
    ]


def spoken(file: Path) -> list[str]:
    """Return what stands between backticks outside blocks."""
    prose = _FENCE.sub("", file.read_text(encoding="utf-8"))
    return [found.replace("\n", " ") for found in re.findall(r"`([^`]+)`", prose)]


def links(file: Path) -> list[str]:
    """Return the targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", file.read_text(encoding="utf-8")))


def shell(text: str) -> list[list[str]]:
    """Split lines of shell into commands of words; comments go, lines may be continued."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    commands: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        command: list[str] = []
        for word in shlex.split(line, comments=True):
            if word == "&&":
                commands.append(command)
                command = []
            elif command or not re.match(r"[A-Z_]+=", word):  # settings of the environment
                command.append(word)
        commands.append(command)
    return [command for command in commands if command]


def commands() -> list[tuple[str, list[str]]]:
    """Return every command of the files with the place where it stands."""
    found: list[tuple[str, list[str]]] = []
    for file in FILES:
        for block in blocks(file, "sh"):
            found += [(str(block), command) for command in shell(block.text)]
        where = str(file.relative_to(ROOT))
        tools = ("implicit-bias ", "python scripts/", "pip install ")
        found += [
            (where, command)
            for code in spoken(file)
            if code.startswith(tools) and not code.endswith("…")
            for command in shell(code)
        ]
    return found
