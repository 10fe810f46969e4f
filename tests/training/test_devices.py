"""One, two and eight devices: the same bits. Each number of devices needs a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CHILD = """
import hashlib, json, sys
from implicit_bias import runtime
runtime.configure(cpu_devices=int(sys.argv[1]))
import jax, numpy as np
jax.config.update("jax_disable_most_optimizations", True)
from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.data.augmentation import Augmentation
from implicit_bias.training import Budget, Lane, Recipe, make_plan, train_chunk

rng = np.random.default_rng(0)
x, y = rng.normal(size=(60, 8, 8, 2)).astype("float32"), np.arange(60) % 3
data = Dataset("x", "classification", 3, x[:50], y[:50], x[50:], y[50:])
found = {}
for name, model in {
    "convolutional": models.conv_net((4, 8), 3, head="mean", pool=2),
    "normalised": models.conv_net((4,), 3, head="mean", norm="batch"),
}.items():
    recipe = Recipe(
        model, losses.get("cross_entropy"), optimizers.get("heavy_ball"), optimizers.Schedule(),
        batch_size=16, n_train=40, n_valid=5, augmentation=Augmentation(padding=2),
    )
    lanes = [
        Lane(recipe, seed, {"step_size": 0.1, "momentum": 0.9}, Budget(7), (0, 7)) for seed in range(9)
    ]
    (program,) = make_plan(lanes, data).programs
    done = train_chunk(program, lanes, data, segment_updates=1 + program.layout.devices)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((done.params, done.model_state, done.logs)):
        digest.update(np.asarray(leaf).tobytes())
    moved = any(np.ptp(leaf) > 0 for leaf in jax.tree.leaves(done.model_state))
    found[name] = [digest.hexdigest(), program.layout.devices, bool(moved)]
print(json.dumps(found))
"""


# Breaks if a lane's numbers depend on how many devices there are, on the device it is on, or on the
# number of threads that a product is spread over: for convolutions, batch normalisation with its state,
# and augmentation; segments differ too.
def test_devices_change_no_bit():
    children = {
        count: subprocess.Popen(
            [sys.executable, "-c", CHILD, str(count)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2], env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        for count in (1, 2, 8)
    }  # fmt: skip
    found = {}
    for count, child in children.items():
        written, told = child.communicate()
        assert child.returncode == 0, told
        found[count] = json.loads(written)
    for name, (digest, _, moved) in found[1].items():
        assert [found[count][name][1] for count in (1, 2, 8)] == [1, 2, 8]
        assert {found[count][name][0] for count in (2, 8)} == {digest}, name
        assert moved == (name == "normalised")
