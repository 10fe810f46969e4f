"""A batched sweep: 20 seeds × 5 step sizes × 2 batch sizes on digits, in one go.

Copy this file and change it: ``python scripts/sweep_seeds.py`` takes seconds.
"""

import implicit_bias as ib
from implicit_bias.results.statistics import mean_interval
from implicit_bias.training import Budget, Lane, Recipe, epochs, make_plan, train

STEP_SIZES, SEEDS = (0.003, 0.01, 0.03, 0.1, 0.3), range(20)

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
    end = epochs(20, recipe)
    settings = [{"step_size": eta, "momentum": 0.9} for eta in STEP_SIZES]
    lanes += [Lane(recipe, seed, s, Budget(end), (end,)) for s in settings for seed in SEEDS]

plan = make_plan(lanes, data)
print(plan.describe())
for run in train(plan):  # a batch size is one compiled program; all else is traced
    error = 100 * run.logs["test_error"][:, -1].reshape(len(STEP_SIZES), len(SEEDS))
    for eta, row in zip(STEP_SIZES, error, strict=True):
        e = mean_interval(row)
        cell = f"batch {run.lanes[0].recipe.batch_size}, step size {eta}"
        print(f"{cell}: test error {e.value:.2f} % [{e.low:.2f}, {e.high:.2f}], {e.n} seeds")
