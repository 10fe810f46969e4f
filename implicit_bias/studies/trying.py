"""Trying: the experiment of a stage, seed after seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import jax
import numpy as np

from implicit_bias.results.lane_store import PARAMS
from implicit_bias.studies.workbench import Workbench
from implicit_bias.training import Lane
from implicit_bias.training.experiment import Experiment, Experimenter, Partner


class Trying:
    """Runs the experiment of one stage on the seeds that lack it.

    Args:
        bench: Store, data, layout, progress.
        name: Of the stage.
        experiment: What is done.
        digest: Of the run's settings; with the seed and the data it decides every number.
        dtype: Floating-point type of the data, where nothing is trained.
        preparing: Thread that compiles.
        made_by: What of the user's own files decides what a run computes, the lanes that are compared
            among them; empty where none does.
    """

    def __init__(
        self,
        bench: Workbench,
        name: str,
        experiment: Experiment,
        digest: str,
        dtype: str,
        preparing: Executor,
        made_by: str = "",
    ) -> None:
        self.bench, self.name, self.experiment = bench, name, experiment
        self.digest, self.dtype, self.preparing = digest, dtype, preparing
        self.made_by = made_by
        self.experimenter: Experimenter | None = None

    @property
    def kind(self) -> str:
        """Name of what trials leave."""
        return f"trial-{self.name}"

    def identity(self, seed: int) -> str:
        """Return a short hash of what decides the numbers of a seed."""
        name = self.name + self.made_by
        content = [name, self.digest, self.bench.dataset.checksum, seed]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def missing(self, seeds: Sequence[int]) -> list[int]:
        """Return the seeds that are not tried yet."""
        names = {seed: self.identity(seed) for seed in seeds}
        have = self.bench.store.rows(self.kind, names.values())
        return [seed for seed, name in names.items() if name not in have]

    def prepare(self, lanes: Sequence[Lane]) -> None:
        """Start to compile, if the lanes of any seed that are known already are all it needs."""
        if self.experimenter is not None or not self.experiment.compiled:
            return
        seeds = sorted({lane.seed for lane in lanes})
        try:
            partners = self.experiment.partners(_of_seed(lanes, seeds[0] if seeds else 0))
        except KeyError:
            return
        self.experimenter = self._experimenter(partners)

    def __call__(self, seeds: Sequence[int], lanes: Sequence[Lane], trained_kind: str) -> None:
        """Try the seeds that are not tried yet.

        Args:
            seeds: The seeds of this run.
            lanes: All lanes of the stages before; arms that share a run have one each.
            trained_kind: Name of what their training left.
        """
        bench, missing = self.bench, self.missing(seeds)
        if not missing:
            return
        bench.reporter.begin(f"{self.name}: experiment", len(missing), "seed")
        partners = {seed: self.experiment.partners(_of_seed(lanes, seed)) for seed in missing}
        if self.experimenter is None:
            self.experimenter = self._experimenter(partners[missing[0]])
        done: list[int] = []
        parts: list[dict[str, np.ndarray]] = []

        def flush() -> None:
            if done:
                arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                bench.store.add(self.kind, [self.identity(seed) for seed in done], arrays)
                done.clear()
                parts.clear()

        bench.begin()
        size = self.experimenter.at_once
        for first in range(0, len(missing), size):
            some = missing[first : first + size]
            finished = [self._finished(partners[seed], trained_kind) for seed in some]
            usable = [all(good for _, good in each.values()) for each in finished]
            given = [{name: partner for name, (partner, _) in each.items()} for each in finished]
            try:
                # A seed can take minutes, and a part of one is of no use.
                with bench.interrupted.at_once():
                    values = self.experimenter(some, given, usable)
            except KeyboardInterrupt:
                flush()
                raise
            values["diverged"] = ~np.asarray(usable)
            done += some
            parts.append(values)
            bench.reporter.advance(first + len(some))
            if bench.must_save():
                flush()
                bench.saved()
        flush()
        bench.reporter.end()

    def _finished(
        self, partners: Mapping[str, Lane], trained_kind: str
    ) -> dict[str, tuple[Partner, bool]]:
        """Return stored partners of one seed, and whether each is finite."""
        store, checksum = self.bench.store, self.bench.dataset.checksum
        names = {role: lane.identity(checksum) for role, lane in partners.items()}
        params = store.rows(PARAMS, names.values())
        trained = store.rows(trained_kind, names.values())
        return {
            role: (
                Partner(lane, *self.bench.stored_tree(lane, params[names[role]])),
                not bool(trained[names[role]]["diverged"]),
            )
            for role, lane in partners.items()
        }

    def _experimenter(self, partners: Mapping[str, Lane]) -> Experimenter:
        dtype = next((lane.recipe.dtype for lane in partners.values()), self.dtype)
        devices = self.bench.devices
        return Experimenter(
            self.experiment,
            self.bench.dataset,
            partners,
            devices=devices,
            dtype=dtype,
            pool=self.bench.pool(str(jax.dtypes.canonicalize_dtype(dtype)), devices),
            slots=self.bench.slots,
            compiling=self.preparing,
        )


def _of_seed(lanes: Sequence[Lane], seed: int) -> list[Lane]:
    return [lane for lane in lanes if lane.seed == seed]
