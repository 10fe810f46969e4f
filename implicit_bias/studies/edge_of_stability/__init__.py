"""The edge-of-stability study: sharpness of full-batch training against what stability allows."""

from __future__ import annotations

from implicit_bias.studies.base import Stage, Study, Trials
from implicit_bias.studies.edge_of_stability.arms import derive, lanes, probe
from implicit_bias.studies.edge_of_stability.claims import CLAIMS
from implicit_bias.studies.edge_of_stability.linear import LinearFlow
from implicit_bias.studies.edge_of_stability.presentation import DRAWINGS, METHODS, tables
from implicit_bias.studies.edge_of_stability.settings import EdgeOfStabilitySettings

STUDY = Study(
    name="edge-of-stability",
    title="Sharpness at the edge of stability",
    settings=EdgeOfStabilitySettings,
    stages=(
        Stage("arms", lanes, measured=False),
        Trials("least-squares", lambda settings, dataset: LinearFlow()),
    ),
    claims=CLAIMS,
    probe=probe,
    derive=derive,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
