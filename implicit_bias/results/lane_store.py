"""Finished lanes on disk: what makes a sweep resumable and extendable.

Every file holds some lanes, found by identity: a lane is never run twice, whichever run, chunk or
stage asks for it. Files are only ever added, each of them atomically.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results import checkpoint

PARAMS, MODEL_STATE = "params", "model_state"


class LaneStore:
    """The ``lanes`` folder of a run.

    Args:
        folder: Where the files are; made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, kind: str, identities: Sequence[str], arrays: Mapping[str, np.ndarray]) -> None:
        """Store rows of finished lanes.

        Args:
            kind: ``"trained"``, ``"params"``, or a measurement's name.
            identities: One for each row.
            arrays: By name, arrays with the lane as leading axis.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("".join(identities).encode()).hexdigest()[:16]
        checkpoint.save(
            self.folder / f"{kind}-{name}.ckpt", arrays, {"identities": list(identities)}
        )

    def rows(self, kind: str, wanted: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
        """Return the stored rows of the lanes that are there.

        Args:
            kind: As given to :meth:`add`.
            wanted: Identities.

        Returns:
            By identity, that lane's arrays by name, without the leading axis.
        """
        missing = set(wanted)
        found: dict[str, dict[str, np.ndarray]] = {}
        for path in sorted(self.folder.glob(f"{kind}-*.ckpt")):
            if not missing:
                break
            arrays, meta = checkpoint.load(path)
            for row, identity in enumerate(meta["identities"]):
                if identity in missing:
                    found[identity] = {name: array[row] for name, array in arrays.items()}
                    missing.remove(identity)
        return found

    def drop(self, kind: str) -> None:
        """Remove all rows of a kind."""
        for path in self.folder.glob(f"{kind}-*.ckpt"):
            path.unlink()

    def save_running(
        self, name: str, arrays: Mapping[str, np.ndarray], meta: dict[str, Any]
    ) -> None:
        """Store the chunk that is running, replacing its previous checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save(self.folder / f"running-{name}.ckpt", arrays, meta)

    def load_running(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return the checkpoint of a running chunk, or None."""
        path = self.folder / f"running-{name}.ckpt"
        return checkpoint.load(path) if path.exists() else None

    def drop_running(self) -> None:
        """Remove the checkpoints of running chunks."""
        self.drop("running")


def flatten_tree(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    """Flatten a pytree to named arrays, in tree order: ``params/000/layer_0/weight`` and so on."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        f"{prefix}/{index:03d}/{'/'.join(_step(step) for step in path)}": np.asarray(leaf)
        for index, (path, leaf) in enumerate(leaves)
    }


def leaves_of(prefix: str, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the leaves stored under a prefix, in tree order."""
    names = [name for name in arrays if name.startswith(f"{prefix}/")]
    # By number: as text, leaf 1000 would come before leaf 101.
    return [arrays[name] for name in sorted(names, key=lambda name: int(name.split("/")[1]))]


def load_params(run: str | Path, lane_id: str) -> dict[str, Any]:
    """Return the final parameters of one lane of a finished run, in one line.

    Args:
        run: Folder of a run made with ``keep_params``.
        lane_id: The lane's ``lane_id`` in the run's result.

    Returns:
        Nested dictionary of arrays, as the model's ``apply`` takes it.

    Raises:
        UserError: If the run kept no parameters of that lane.
    """
    identity = lane_id.split(":")[0]
    rows = LaneStore(Path(run) / "lanes").rows(PARAMS, [identity])
    if identity not in rows:
        raise UserError(
            f"{run} keeps no parameters of lane {lane_id!r}; run the study with "
            "--set keep_params=true, and take the lane_id from its result"
        )
    tree: dict[str, Any] = {}
    for name in sorted(rows[identity]):
        top, _, *path = name.split("/")
        if top != PARAMS:
            continue
        node = tree
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[path[-1]] = rows[identity][name]
    return tree


def _step(step: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(step, attribute):
            return str(getattr(step, attribute))
    return str(step)
