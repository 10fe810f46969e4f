"""Every command that a reader is told to type is one that works; quick ones are run."""

from __future__ import annotations

import re
import tomllib
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from implicit_bias import data, ledger, studies
from implicit_bias.cli import arguments, main
from implicit_bias.data.sources import TITLES
from implicit_bias.errors import UserError
from implicit_bias.studies import runner
from implicit_bias.studies.config import config_root, load_config, sizes
from implicit_bias.studies.record import How
from tests.documents.markdown import FILES, README, ROOT, blocks, commands, shell, spoken

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PLACEHOLDERS = {"STUDY", "CONFIG", "my.py:STUDY"}
"""Names that stand for the reader's own."""
TOOLS = {"pytest", "ruff", "mypy", "pip", "implicit-bias", "python", "python3"}

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the configs, the scripts, the tests and the README's own study; JAX as it was."""
    for name in ("configs", "scripts", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "momentum.py").write_text(blocks(README, "python")[0].text)
    (tmp_path / "momentum.yaml").write_text(blocks(README, "yaml")[0].text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMPLICIT_BIAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IMPLICIT_BIAS_COMPILATION_CACHE", "off")
    before = jax.config.read("jax_enable_x64")
    yield tmp_path
    jax.config.update("jax_enable_x64", before)


def check_ours(words: list[str]) -> None:
    """Parse the arguments of the command, and look up what they name."""
    asked = arguments.parse(words)
    target = getattr(asked, "target", getattr(asked, "study", None))
    if isinstance(target, str) and target not in PLACEHOLDERS:
        overrides = list(getattr(asked, "overrides", []))
        if getattr(asked, "seeds", None) is not None:
            overrides.append(f"seeds={asked.seeds}")
        load_config(target, getattr(asked, "scale", None), overrides)
    if words[0] == "verify":
        assert ledger.select(asked.source, asked.claim, asked.study)
    if words[0] == "explain" and asked.id is not None:
        ledger.get(asked.id)
    if words[:2] == ["data", "prepare"]:
        assert asked.dataset in TITLES or asked.dataset == "mine.npz"


@pytest.mark.parametrize(("where", "command"), commands(), ids=lambda value: str(value)[:60])
def test_a_command_is_one_that_works(where: str, command: list[str], folder: Path) -> None:
    # Breaks if an option, a study, a size, a setting, a claim, a script or an extra is renamed, and what
    # readers are told is not.
    tool, words = command[0].rpartition("/")[2], command[1:]
    assert tool in TOOLS, f"{where}: nobody checks {command[0]}"
    paths = [word for word in words if word.partition("/")[0] in ("tests", "scripts", "configs")]
    for path in paths:
        assert (folder / path).exists(), f"{where}: there is no {path}"
    if tool == "implicit-bias":
        check_ours(words)
    if tool == "pip":
        for extra in re.findall(r"\[(\w+)\]", " ".join(words)):
            assert extra in EXTRAS, f"{where}: there is no extra {extra}"
    if tool == "python" and words[0] == "scripts/benchmark.py":
        assert (folder / "scripts/benchmarks" / f"{words[1]}.py").exists()


def options(parser: ArgumentParser) -> set[str]:
    """Return every option of a command and of those below it."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            found = found.union(*map(options, action.choices.values()))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_options_named_in_the_text_are_there(file: Path) -> None:
    # Breaks if an option is renamed that the text explains.
    named = {code.split()[0].partition("=")[0] for code in spoken(file) if code.startswith("--")}
    scripts = " ".join(path.read_text() for path in (ROOT / "scripts").rglob("*.py"))
    known = options(arguments._parser())
    assert {name for name in named - known if f'"{name}"' not in scripts} == set()


@pytest.mark.parametrize("study", studies.names())
def test_a_config_says_the_command_that_runs_it(study: str, folder: Path) -> None:
    # Breaks if a header's command runs another file, or none.
    for name, path in sizes(study).items():
        head = re.findall(r"^# Command: (.+)$", path.read_text(), re.MULTILINE)
        assert len(head) == 1, path
        # What follows the command in words is in brackets or behind a semicolon.
        asked = [words[1:] for words in shell(re.split(r"[;(,]", head[0])[0])]
        for words in asked:
            check_ours(words)
        run = arguments.parse(asked[-1])
        given = Path(run.target)
        meant = given if given.suffix else sizes(run.target)[run.scale or "smoke"]
        assert meant.resolve() == path.resolve(), f"{path}: {head[0]}"
        assert name == path.stem


def runs() -> list[tuple[str, str | None]]:
    """Return target and size of every run that the files speak of, each once."""
    asked = [arguments.parse(words[1:]) for _, words in commands() if words[1:2] == ["run"]]
    return sorted({(run.target, run.scale) for run in asked} - {("my.py:STUDY", None)}, key=str)


@pytest.mark.parametrize(("target", "scale"), runs())
def test_a_run_can_be_planned(target: str, scale: str | None, folder: Path) -> None:
    # Breaks if a study refuses its settings or its data. Without data that are not embedded the lanes are not
    # known; the settings are read, and what to type first is said.
    study, settings, _ = load_config(target, scale)
    name = settings.data.name
    if name in TITLES:
        with pytest.raises(UserError, match=f"implicit-bias data prepare {name}"):
            runner.plan_study(study, settings, How())
    else:
        assert runner.plan_study(study, settings, How()).describe()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("explain ch11.B.12", "early-stopping"),
        ("list momentum.py:STUDY", "momentum.flat"),
        ("list", "edge-of-stability"),
        ("data list", "digits"),
        ("plan momentum.yaml", "24 lanes in 1 compiled program"),
    ],
)
def test_quick_commands_run(words: str, said: str, folder: Path, capsys: Captured) -> None:
    # Breaks if a command of the README ends in an error.
    assert main(words.split()) == 0
    assert said in capsys.readouterr().out
    assert config_root() == ROOT / "configs"
    assert data.available()
