"""``elapsed.json``: how long a run has taken, over all its sittings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.provenance import Clock

if TYPE_CHECKING:
    import xarray as xr

FILE = "elapsed.json"


class Elapsed:
    """The time of a run that may be killed and go on; what was not noted before a kill is lost.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._clock = Clock.start()
        try:
            noted = json.loads(self._file.read_text(encoding="utf-8"))
            self._started, self._earlier = str(noted["started"]), float(noted["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            # A first sitting; of a spoilt file only the time is lost.
            self._started, self._earlier = self._clock.started, 0.0

    def seconds(self) -> float:
        """Return the seconds of all sittings so far."""
        return self._earlier + self._clock.seconds()

    def note(self) -> None:
        """Keep the time so far.

        Raises:
            UserError: The file cannot be written.
        """
        content = {"started": self._started, "seconds": self.seconds()}
        write_atomic(self._file, json.dumps(content))

    def timing(self, **parts: float) -> xr.Dataset:
        """Note the time, and make the timing that ``store.save`` puts beside a result.

        Args:
            **parts: Seconds that this sitting spent on parts of the run, by name.

        Returns:
            Scalars in seconds: ``wall_seconds`` of all sittings and one per part; the first one's
            ``started`` as attribute.
        """
        self.note()
        timing = self._clock.timing(**parts)
        timing["wall_seconds"] = timing["wall_seconds"].copy(data=self.seconds())
        return timing.assign_attrs(started=self._started)
