"""Provenance: complete, reproducible, and silent about persons and machines."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

import implicit_bias
from implicit_bias.results import provenance


def test_says_what_a_number_needs() -> None:
    # Breaks if a version, the device, the precision or the data's checksum is missing or made up.
    record = provenance.collect(data_checksum="abc")
    assert record["package"]["version"] == implicit_bias.__version__
    assert record["python"] == platform.python_version()
    assert set(record["libraries"]) == {"jax", "jaxlib", "numpy", "scipy", "optax", "flax"}
    assert record["libraries"]["jax"] == jax.__version__
    assert record["libraries"]["numpy"] == np.__version__
    assert record["device"] == {
        "backend": jax.default_backend(),
        "kind": jax.devices()[0].device_kind,
        "count": jax.device_count(),
    }
    assert record["precision"]["float64_enabled"] is True  # conftest.py enables it
    assert record["data_checksum"] == "abc"
    assert record["cpu"]


def test_follows_the_precision_setting() -> None:
    # Breaks if the settings are read at import.
    with jax.default_matmul_precision("highest"):
        assert provenance.collect()["precision"]["matmul"] == "highest"


def test_is_json_and_the_same_twice() -> None:
    # Breaks if a time or a random value is in it: results could not be identical.
    assert json.dumps(provenance.collect()) == json.dumps(provenance.collect())


def test_identifies_nobody() -> None:
    # Breaks if a path, the host's or the user's name is recorded.
    def texts(value: object) -> list[str]:
        if isinstance(value, dict):
            return [t for item in value.values() for t in texts(item)]
        return [value] if isinstance(value, str) else []

    record = provenance.collect(data_checksum="abc")
    secrets = {socket.gethostname(), os.path.expanduser("~"), os.getcwd(), getpass.getuser()}
    for text in texts(record):
        assert text not in secrets
        assert not text.startswith("/")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one committed package folder."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for name in [n for n in os.environ if n.startswith("GIT_")]:
        monkeypatch.delenv(name)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True)
    return package


def test_commit_and_dirty(checkout: Path) -> None:
    # Breaks if an edited or an added file goes unnoticed, or a file elsewhere counts.
    head = subprocess.run(
        ["git", "-C", checkout, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    (checkout.parent / "notes.txt").write_text("not code")
    assert provenance.git_state(checkout) == {"commit": head, "dirty": False}
    (checkout / "new.py").write_text("x = 1")
    assert provenance.git_state(checkout) == {"commit": head, "dirty": True}


def test_installed_inside_another_repository(checkout: Path) -> None:
    # Breaks if the surrounding project's commit is taken for the package's.
    installed = checkout.parent / ".venv" / "implicit_bias"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert provenance.git_state(installed) == {"commit": None, "dirty": None}


def test_git_variables_do_not_mislead(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks if a run started from a git hook records the hook's repository, or none.
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert provenance.git_state(checkout)["commit"] is not None


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks if a machine without git cannot run a study.
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state(tmp_path) == {"commit": None, "dirty": None}


def test_clock() -> None:
    # Breaks if seconds are not in seconds, run backwards, or the timing has no unit.
    clock = provenance.Clock.start()
    timing = clock.timing(training=2.5)
    assert 0 <= float(timing["wall_seconds"]) <= clock.seconds()
    assert float(timing["training"]) == 2.5
    assert timing["training"].attrs["units"] == "s"
    assert timing.attrs["started"].endswith("+00:00")
