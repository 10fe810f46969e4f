"""A batched sweep: 20 seeds × 5 step sizes × 2 batch sizes on digits, in one go.

Copy this file and change it. Run it with ``python scripts/sweep_seeds.py``; it takes seconds.
"""

import numpy as np

import implicit_bias as ib
from implicit_bias.results.statistics import mean_interval
from implicit_bias.training import Budget, Lane, Recipe, epochs, make_plan, train

ib.runtime.configure()  # one device for each core; before the first array
data = ib.data.load("digits")
lanes = []
for batch_size in (16, 128):
    recipe = Recipe(
        model=ib.models.Dense((64,), outputs=10),
        loss=ib.losses.get("cross_entropy"),
        optimizer=ib.optimizers.get("heavy_ball"),
        schedule=ib.optimizers.Schedule(),
        batch_size=batch_size,
        n_train=1000,
    )
    updates = epochs(20, recipe)
    for step_size in (0.003, 0.01, 0.03, 0.1, 0.3):
        for seed in range(20):
            settings = {"step_size": step_size, "momentum": 0.9}
            lanes.append(Lane(recipe, seed, settings, Budget(updates), probes=(updates,)))

plan = make_plan(lanes, data)
print(plan.describe())
for run in train(plan):  # a batch size is one compiled program; all else is traced
    error = 100 * run.logs["test_error"][:, -1]
    for step_size in dict.fromkeys(lane.settings["step_size"] for lane in run.lanes):
        rows = [i for i, lane in enumerate(run.lanes) if lane.settings["step_size"] == step_size]
        e = mean_interval(error[rows])
        lost = int(np.sum(run.diverged[rows]))
        print(f"batch {run.lanes[0].recipe.batch_size:3}, step size {step_size:5}: test error "
              f"{e.value:.2f} % [{e.low:.2f}, {e.high:.2f}], {e.n} seeds, {lost} diverged")  # fmt: skip
