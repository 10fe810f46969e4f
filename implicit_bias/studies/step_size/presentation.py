"""Figures in order, and methods of the step-size study."""

from __future__ import annotations

from implicit_bias.studies.base import Drawing
from implicit_bias.studies.rows import has, if_run
from implicit_bias.studies.step_size.drawings import (
    draw_long,
    draw_norm_accuracy,
    draw_optimisers,
    draw_steps,
    draw_tuning,
    draw_variants,
)

METHODS = """\
Every lane is one training run. A seed decides initial weights, training, validation and test examples,
their order and all other draws, and the same seeds run everywhere, so that comparisons are paired by
seed. Momentum is heavy-ball momentum without dampening: at equal step size its steps are 1/(1 − β)
times as long for a constant gradient. AdamW's decay is multiplied by the step size.

Where a step size is chosen, each seed takes that of least validation error at the end (of equal ones
that of least validation loss), from as many for every optimiser; choosing is part of what a seed
repeats. A step size that falls is divided by ten after so many epochs.

λmax is the largest eigenvalue of the Hessian of the mean training loss, by Lanczos from two starts; a
network with batch normalisation is taken with its running statistics. η λmax is given beside it, as
plain gradient descent is stable where it is below 2: if training comes to that edge, larger steps end
where λmax is smaller whatever that means for test examples. In arm matched each lane stops at the
first epoch at whose end the whole training loss is at or below one level.

Norms: ‖W‖ is over arrays of two or more axes, ‖θ‖ over all parameters. Intervals of verdicts hold
simultaneously over all comparisons of the run. Intervals of differences of accuracy cover new seeds and
new test examples; where which examples were mistaken was not kept, two networks' mistakes count as
independent, which is too wide where they agree.

The two scripts are run as they are written on fresh draws; of the one that trains nothing, only the
epochs are gone through at which it prints, since the others change nothing. The start of ResNet-18 at
its full size is drawn, not trained. What residual networks do is judged at the size of the run, which
each verdict names; published accuracies are asked for from 45,000 training images on."""

DRAWINGS = (
    Drawing(
        "optimisers",
        "SGD, momentum and Adam at the stated step sizes: test accuracy, losses, and norm of the weights.",
        draw_optimisers,
        if_run("optimisers"),
    ),
    Drawing(
        "norm_accuracy",
        "Test accuracy at the end against the norm of the weights, and against the step size.",
        draw_norm_accuracy,
        if_run("optimisers"),
    ),
    Drawing(
        "steps",
        "λmax, η λmax and test error against the step size of plain SGD, and test error against λmax.",
        draw_steps,
        if_run("steps"),
    ),
    Drawing(
        "tuning",
        "Test accuracy against the step size by optimiser, in small and in large batches.",
        draw_tuning,
        if_run("tuning"),
    ),
    Drawing(
        "variants",
        "Variants of one protocol, and small batches against weight decay: accuracies and norms.",
        draw_variants,
        lambda result: has(result, "variants") or has(result, "decay"),
    ),
    Drawing(
        "long",
        "Many epochs with a step size that falls and one that stays: losses and test error.",
        draw_long,
        if_run("long"),
    ),
)
