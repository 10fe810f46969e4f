"""Finite networks against their infinite-width kernel: widths × seeds on digits, in one sweep.

Copy this file and change it: ``python scripts/ntk_vs_finite.py`` takes seconds.
"""

import jax.numpy as jnp
import numpy as np

import implicit_bias as ib
from implicit_bias.results.statistics import mean_interval
from implicit_bias.training import Budget, Lane, Recipe, make_plan, train
from implicit_bias.training.widths import bucketed

WIDTHS, SEEDS, STEP_SIZE, EPOCHS, BATCH = (32, 128, 512), range(5), 0.3, 20, 50

ib.runtime.configure()  # one device for each core; before the first array
data = ib.data.load("digits").flatten()
n, classes = data.n_train, data.n_outputs
dense = ib.models.Dense((1,), classes, parameterisation="ntk")
updates = EPOCHS * -(-n // BATCH)
cut = bucketed(dense, WIDTHS, inputs=data.x_train.shape[1], lanes=len(SEEDS), updates=updates,
               batch_size=BATCH)  # fmt: skip
lanes = []
for width in WIDTHS:  # centred: the function of the start is subtracted, as kernels begin at zero
    recipe = Recipe(
        model=ib.models.Scaled(cut.model(width)), loss=ib.losses.get("squared"),
        optimizer=ib.optimizers.get("sgd"), schedule=ib.optimizers.Schedule(),
        batch_size=BATCH, n_train=n,
    )  # fmt: skip
    settings = {"step_size": STEP_SIZE, **cut.settings(width)}
    lanes += [
        Lane(recipe, s, settings, Budget(updates), (updates,), {"width": width}) for s in SEEDS
    ]
error = {width: [] for width in WIDTHS}
for run in train(make_plan(lanes, data)):  # widths that share a program are padded: traced
    for lane, value in zip(run.lanes, 100 * run.logs["test_error"][:, -1], strict=True):
        error[lane.tags["width"]].append(value)

kernel = ib.kernels.infinite_kernel(dense)
x, x_test, y = (jnp.asarray(a) for a in (data.x_train, data.x_test, np.eye(classes)[data.y_train]))
predicted = ib.kernels.gradient_descent(
    kernel(x).ntk, y.astype(x.dtype), jnp.asarray([updates, 10**9]), STEP_SIZE,
    k_test_train=kernel(x_test, x).ntk,
).test  # fmt: skip
for width, values in error.items():
    e = mean_interval(values)
    print(f"width {width}: test error {e.value:.2f} % [{e.low:.2f}, {e.high:.2f}], {e.n} seeds")
for time, outputs in zip(("at the same time", "at the end"), predicted, strict=True):
    print(f"kernel {time}: test error {100 * np.mean(outputs.argmax(1) != data.y_test):.2f} %")
