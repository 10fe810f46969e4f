"""What the host loop hands out: progress, snapshots, finished lanes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from implicit_bias.training.recipe import Lane


@dataclass(frozen=True)
class Snapshot:
    """A chunk between two segments: enough to continue it bit for bit.

    Attributes:
        step: Updates done.
        state: State of every slot (lanes and padding), stacked on the host.
        finished: (slots,) lanes that will run no more.
        diverged: (slots,) lanes whose parameters stopped being finite.
        reached: (slots,) lanes that met their target loss, or another reason to stop early.
        updates: (slots,) number of each lane's last update.
        stop_loss: (slots,) training loss at the evaluation that stopped the lane early, else NaN.
        logs: (slots, probes, quantities) values logged so far; NaN where not reached.
        probed: Values of the probe so far, by name, (slots, probes, ...); NaN where not reached.
        carried: What the probe carries, of every slot.
    """

    step: int
    state: Any
    finished: np.ndarray
    diverged: np.ndarray
    reached: np.ndarray
    updates: np.ndarray
    stop_loss: np.ndarray
    logs: np.ndarray
    probed: Mapping[str, np.ndarray] = field(default_factory=dict)
    carried: Any = ()


@dataclass(frozen=True)
class Progress:
    """What the host loop tells its hook after each segment.

    Attributes:
        done: Updates done, summed over the lanes of the chunk.
        total: Updates at most to do, summed over the lanes of the chunk.
        active: Lanes still running.
        batch_loss: Mean batch loss of the segment over active lanes.
        snapshot: Call it to copy the chunk to the host; costs a transfer.
    """

    done: int
    total: int
    active: int
    batch_loss: float
    snapshot: Callable[[], Snapshot]


@dataclass(frozen=True)
class Trained:
    """Finished lanes, in the order they were given.

    Attributes:
        lanes: The lanes.
        params: Final parameters; every leaf has the lane as leading axis. NaN for a diverged lane.
        model_state: Final normalisation statistics, likewise.
        updates: (lanes,) number of the last update, 0 for diverged lanes.
        diverged: (lanes,) whether the parameters stopped being finite.
        reached: (lanes,) whether the target loss, or another reason to stop early, was met.
        stop_loss: (lanes,) training loss at the evaluation that stopped the lane early, else NaN.
        log_steps: (lanes, probes) updates at which logs were taken, −1 where there is none.
        logs: By quantity, (lanes, probes) values; NaN where not reached.
        probed: By quantity of the probe, (lanes, probes, ...) values; NaN where not reached.
    """

    lanes: tuple[Lane, ...]
    params: Any
    model_state: Any
    updates: np.ndarray
    diverged: np.ndarray
    reached: np.ndarray
    stop_loss: np.ndarray
    log_steps: np.ndarray
    logs: Mapping[str, np.ndarray]
    probed: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        quantities = ", ".join([*self.logs, *self.probed])
        return (
            f"Trained({len(self.lanes)} lanes, {int(np.sum(self.diverged))} diverged, "
            f"{int(np.sum(self.reached))} stopped early; logs of {quantities})"
        )


Hook = Callable[[Progress], None]
