"""Training many lanes at once: recipes, plans, and the loop that runs them."""

from __future__ import annotations

from implicit_bias.training.budget import Budget as Budget
from implicit_bias.training.budget import Until as Until
from implicit_bias.training.lane import LaneExamples as LaneExamples
from implicit_bias.training.lane import LaneInputs as LaneInputs
from implicit_bias.training.lane import LaneState as LaneState
from implicit_bias.training.lane import Pool as Pool
from implicit_bias.training.plan import Plan as Plan
from implicit_bias.training.plan import Program as Program
from implicit_bias.training.planner import make_plan as make_plan
from implicit_bias.training.programs import Evaluation as Evaluation
from implicit_bias.training.programs import Evaluator as Evaluator
from implicit_bias.training.recipe import Lane as Lane
from implicit_bias.training.recipe import Recipe as Recipe
from implicit_bias.training.recipe import epochs as epochs
from implicit_bias.training.records import Progress as Progress
from implicit_bias.training.records import Snapshot as Snapshot
from implicit_bias.training.records import Trained as Trained
from implicit_bias.training.train import train as train
from implicit_bias.training.train import train_chunk as train_chunk
from implicit_bias.training.widths import WidthPlan as WidthPlan
from implicit_bias.training.widths import bucketed as bucketed
