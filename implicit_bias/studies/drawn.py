"""Experiments on data of their own, solved with NumPy: they use neither the study's data nor its lanes."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from implicit_bias.studies.threads import one_thread
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment
from implicit_bias.training.measurement import FinishedLane


class Drawn(Experiment):
    """An experiment that draws all it needs from its seed: base of frozen, hashable records.

    Its linear algebra runs on one thread, as its matrices are small: see ``one_thread``.
    """

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure one seed; neither the pool nor the lanes are looked at."""
        del pool, lanes
        with one_thread():
            return self.of_seed(int(seed))

    @abc.abstractmethod
    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw and measure with the randomness of one seed; return ``variables`` by name."""
