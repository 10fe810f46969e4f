"""``run.json``: whose folder this is, how its lanes run, and whether the run is complete."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

import implicit_bias
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.studies.base import Study
from implicit_bias.studies.settings import StudySettings
from implicit_bias.training.planner import DEFAULT_MEMORY


@dataclass(frozen=True)
class How:
    """How a study runs on this machine; nothing here changes what it measures.

    Attributes:
        strategy: ``"map"`` or ``"vmap"``; by default what the committed table says.
        tile: Lanes of one batched computation under ``"vmap"``.
        devices: Devices used; by default all.
        memory: Bytes that a chunk, its lanes and what is computed of them, may take.
    """

    strategy: str | None = None
    tile: int | None = None
    devices: int | None = None
    memory: int = DEFAULT_MEMORY


class Record:
    """``run.json``: whose folder this is, and whether the run is complete.

    Args:
        out: Folder of the run.
        study: What is run.
        settings: Its settings.
        scale: Name of the size.
        shard: Which seeds, None for all.
        dataset: Its data.
        made_by: What of the user's own files decides what a run computes; empty where none does.
    """

    def __init__(
        self,
        out: Path,
        study: Study,
        settings: StudySettings,
        scale: str,
        shard: tuple[int, int] | None,
        dataset: Dataset,
        made_by: str = "",
    ) -> None:
        self.path = out / "run.json"
        self.out = out
        self.settings = settings
        self.content: dict[str, Any] = {
            "study": study.name,
            "origin": study.origin or study.name,
            "scale": scale,
            "digest": settings.digest(),
            "version": implicit_bias.__version__,
            "shard": list(shard) if shard else None,
            "data_checksum": dataset.checksum,
            "settings": settings.to_json(),
            "made_by": made_by,
        }

    def read(self) -> dict[str, Any] | None:
        """Return what is recorded, None if there is nothing.

        Raises:
            UserError: The file cannot be read.
        """
        try:
            content: dict[str, Any] = json.loads(self.path.read_text())
            if not isinstance(content, dict) or "layout" not in content:
                raise ValueError("it is no record of a run")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); remove the folder or name another with --out"
            ) from error
        return content

    def check(self, resume: bool, how: How) -> How:
        """Refuse a folder that is not this run's; return the layout with which the run began.

        All lanes of a run have one layout, because rounding depends on it.

        Raises:
            UserError: It is no folder, or a run with other settings or another layout, or one that is to be
                resumed is not there.
        """
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is a file; name a folder")
        for parent in self.out.parents:
            if parent.exists() and not parent.is_dir():
                raise UserError(
                    f"--out {self.out} lies in {parent}, which is a file; name a folder"
                )
        previous = self.read()
        if previous is None:
            if resume:
                raise UserError(f"there is no run to resume in {self.out}; run without --resume")
            # A run that was killed while it wrote its first file leaves half of it.
            ours = (".lock", ".run.json.*.partial")
            if any(not any(map(path.match, ours)) for path in self.out.glob("*")):
                raise UserError(
                    f"--out {self.out} holds files but no run of this program; name an empty folder"
                )
            return how
        for key in ("study", "version", "data_checksum", "shard", "digest"):
            if previous.get(key) != self.content[key]:
                others = {"digest": "other settings", "data_checksum": "other data"}
                what = others.get(key, f"{key} {previous.get(key)!r}")
                raise UserError(
                    f"{self.out} holds a run with {what}; name another folder with --out, "
                    "or remove it"
                )
        layout = previous["layout"]
        for key in ("strategy", "tile"):
            asked, used = getattr(how, key), layout[key]
            if asked is not None and asked != used:
                raise UserError(
                    f"{self.out} was run with {key} {used or 'by default'}, and rounding depends on "
                    f"it; leave out --{key}, or name another folder with --out"
                )
        backend = jax.default_backend()
        if layout.get("backend", backend) != backend:
            raise UserError(
                f"{self.out} was run on {layout['backend']}, and rounding depends on it; go on there, "
                "or name another folder with --out"
            )
        return dataclasses.replace(how, strategy=layout["strategy"], tile=layout["tile"])

    def outdated(self) -> bool:
        """Say whether files of the user's made the run that have changed since where it matters."""
        previous = self.read()
        return previous is not None and previous.get("made_by", "") != self.content["made_by"]

    def is_done(self) -> bool:
        """Say whether all that is asked for is there."""
        previous = self.read()
        return (
            previous is not None
            and previous["complete"]
            and not self.outdated()
            and previous["seeds"] >= self.settings.seeds
            and (previous["settings"]["keep_params"] or not self.settings.keep_params)
            # Whoever removed a damaged result has it put together again.
            and (self.out / "results.nc").exists()
        )

    def report_files(self, code: str) -> list[Path] | None:
        """Return the files of the report, if the given code made them and all are there."""
        made = (self.read() or {}).get("presented", {})
        files = [self.out / name for name in made.get("files", [])]
        whole = made.get("code") == code and files and all(file.is_file() for file in files)
        return files if whole else None

    def note_report(self, code: str, files: Sequence[Path]) -> None:
        """Record which code made which files of the report, beside what is recorded."""
        content = self.read()
        if content is not None:
            names = [file.relative_to(self.out).as_posix() for file in files]
            content["presented"] = {"code": code, "files": names}
            write_atomic(self.path, json.dumps(content, indent=1, sort_keys=True))

    def write(self, how: How, *, complete: bool) -> None:
        """Record the run."""
        content = {
            **self.content,
            "seeds": self.settings.seeds,
            "layout": {
                "strategy": how.strategy,
                "tile": how.tile,
                "backend": jax.default_backend(),
            },
            "complete": complete,
        }
        write_atomic(self.path, json.dumps(content, indent=1, sort_keys=True))
