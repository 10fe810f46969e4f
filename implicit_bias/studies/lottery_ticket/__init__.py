"""The lottery-ticket study: sparse networks that train as well as the whole, and every control."""

from __future__ import annotations

from implicit_bias.studies.base import Rounds, Study, Trials
from implicit_bias.studies.lottery_ticket.arms import lanes, measurement, stability
from implicit_bias.studies.lottery_ticket.chosen import derive
from implicit_bias.studies.lottery_ticket.claims import CLAIMS
from implicit_bias.studies.lottery_ticket.presentation import DRAWINGS, METHODS
from implicit_bias.studies.lottery_ticket.rows import STABILITY
from implicit_bias.studies.lottery_ticket.settings import LotterySettings
from implicit_bias.studies.lottery_ticket.tables import tables

STUDY = Study(
    name="lottery-ticket",
    title="Lottery tickets and their controls",
    settings=LotterySettings,
    stages=(Rounds("rounds", lanes), Trials(STABILITY, stability)),
    claims=CLAIMS,
    measurement=measurement,
    derive=derive,
    tables=tables,
    drawings=DRAWINGS,
    methods=METHODS,
)
"""The study, as the command finds it."""
