"""What the step-size study decides: its claims, fixed before any run."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.step_size import rules_images as images
from implicit_bias.studies.step_size import rules_long as long
from implicit_bias.studies.step_size import rules_optimisers as dense
from implicit_bias.studies.step_size import rules_scripts as scripts
from implicit_bias.studies.step_size import rules_steps as steps

POINTS = "percentage points"
CHAPTER = "Chapter 11"

CLAIMS = (
    Claim(
        "dhand.E4", "statistical", "Dhand, section 10.4, experiment 4",
        "For ResNet-18 on CIFAR-10, larger step sizes end in flatter minima, sharpness and test error are "
        "negatively correlated, and the best step size, 0.1, lies slightly below the edge of stability.",
        "ρ = −0.89; best η = 0.1",
        f"exponent of λmax in the step size below −{steps.SMALLEST_EXPONENT:g}; Spearman correlation of λmax "
        f"and test error below −{steps.SMALLEST_CORRELATION:g}, as stated; test error at every other step "
        f"size more than {steps.SMALLEST_GAP:g} points above that at {steps.BEST:g}; and η λmax there "
        f"between {steps.EDGE[0]:g} and {steps.EDGE[1]:g}",
        steps.as_published,
    ),
    Claim(
        "dhand.E4.ctrl.sign", "required-control", "Dhand, section 10.4, as its text needs it",
        "Flatter is better: sharper networks have the larger test error.", "ρ > 0",
        f"Spearman correlation of λmax and test error above {steps.SMALLEST_CORRELATION:g}, over all step "
        "sizes and within them",
        steps.flatter_is_better, steps.SMALLEST_CORRELATION, "correlation",
    ),
    Claim(
        "dhand.E4.ctrl.matched", "required-control", "Dhand, section 10.4, as its text needs it",
        "Larger step sizes are flatter also where all networks have one training loss.", None,
        f"exponent of λmax in the step size below −{steps.SMALLEST_EXPONENT:g} over the step sizes at which "
        f"every seed reaches the training loss, {steps.FEWEST} at least",
        steps.flatter_at_one_loss,
    ),
    Claim(
        "ch11.C.12", "statistical", f"{CHAPTER}, exercise C.12",
        "On MNIST, momentum ends best and Adam worst; SGD, momentum and Adam need 35, 32 and 25 epochs to 95 "
        "% and end with norms of 35, 32 and 50.",
        "97.8, 98.0, 97.5 %; 35, 32, 25 epochs; norms 35, 32, 50",
        f"at the stated step sizes, momentum more than {dense.MOMENTUM_GAIN:g} points above SGD and SGD more "
        f"than {dense.ADAM_COST:g} above Adam; epochs to {dense.LEVEL:g} % in the stated order; ‖W‖ of Adam "
        f"more than {1 + dense.NORM_RATIO:g} times SGD's; accuracies within {dense.POINTS:g} points, epochs "
        f"and norms within {100 * dense.SHARE:g} % of those published",
        dense.as_published,
    ),
    Claim(
        "ch11.C.12.ctrl.tuned", "required-control",
        f"{CHAPTER}, exercise C.12, as a fair comparison needs it",
        "Momentum ends above SGD and SGD above Adam also with each optimiser's step size chosen on "
        "validation data.", "98.0 > 97.8 > 97.5 %",
        f"the same differences, above {dense.MOMENTUM_GAIN:g} and {dense.ADAM_COST:g} points, at the step "
        "size of least validation error of each seed, from grids of equally many",
        dense.order_when_tuned, unit=POINTS,
    ),
    Claim(
        "ch11.C.12.ctrl.momentum", "required-control", "Polyak 1964; effective step size η/(1 − β)",
        "Momentum β at step size η is as fast as SGD at η/(1 − β): what it gains at equal η is the longer "
        "step.", "η/(1 − β)",
        "mean log training loss over the first three epochs: SGD at η/(1 − β) within ln 1.25 of momentum, "
        f"and SGD at η more than {1 + dense.FASTER:g} times as large as momentum",
        dense.momentum_is_a_longer_step,
    ),
    Claim(
        "ch11.S.8", "statistical", f"{CHAPTER}, solution C.8",
        "A script prints that SGD, momentum and Adam reach 95 % training accuracy at epochs 31, 28 and 19, "
        "with 89 to 90 % on the test set and norms of 8.1, 7.9 and 8.3.",
        "31, 28, 19 epochs; 89–90 %",
        f"run as written on fresh draws: each optimiser converges in more than {scripts.OFTEN:g} of the "
        f"draws, and test accuracy and norm are above {scripts.AS_PRINTED:g} of those printed",
        scripts.optimisers_as_printed,
    ),
    Claim(
        "ch11.S.8.ctrl.trained", "required-control", "Zhang et al. 2017: networks memorise random labels",
        "Trained in all layers, the script's network fits random labels and is right by chance on others.",
        "10 % on the test set",
        f"momentum and Adam reach 95 % on the training set in more than {scripts.OFTEN:g} of the draws, and "
        f"their test accuracy lies within {scripts.CHANCE:g} of 0.1",
        scripts.optimisers_when_trained,
    ),
    Claim(
        "ch11.S.9", "statistical", f"{CHAPTER}, solution C.9",
        "A script prints that a wide network reaches 100 % training accuracy, with 0.09 on the test set for "
        "random labels and 0.76 for true ones.",
        "1.00; 0.09 and 0.76",
        f"run as written on fresh draws: training accuracy above {scripts.FIT:g} at the last print and more "
        f"than {scripts.OFTEN:g} above that at the first; test accuracy within {scripts.CHANCE:g} of 0.1 for "
        f"random labels, above {scripts.AS_PRINTED:g} of 0.76 for true ones",
        scripts.memory_as_printed,
    ),
    Claim(
        "ch11.S.9.ctrl.trained", "required-control", f"{CHAPTER}, solution C.9, as its text describes it",
        "Trained, a network fits both kinds of labels, and is right by chance for random ones, in about 75 % "
        "for true ones.", "0.10 and 0.75",
        f"training accuracy above {scripts.FIT:g}; test accuracy within {scripts.CHANCE:g} of 0.1 for random "
        "labels, between 0.7 and 0.8 for true ones",
        scripts.memory_when_trained,
    ),
    Claim(
        "ch11.conn.optim", "statistical", f"{CHAPTER}, connections, optimisers",
        "For ResNet-50 on CIFAR-10, SGD reaches 94 %, Adam 91 and AdamW 93; with batches of 1024 instead of "
        "128 SGD falls to 91 % and Adam stays.",
        "94, 91, 93 %; 91, 91 %",
        f"at the stated step sizes and small batches, SGD more than {images.SGD_LEAD:g} points above Adam "
        f"and AdamW more than {images.ADAMW_LEAD:g}; with large batches, SGD more than {images.BATCH_COST:g} "
        "points lower, and by as much more than Adam",
        images.optimisers_as_published, unit=POINTS,
    ),
    Claim(
        "ch11.conn.optim.ctrl.tuned", "required-control", f"{CHAPTER}, as a fair comparison needs it",
        "The same holds with each optimiser's step size, and AdamW's decay, chosen on validation data for "
        "each batch size.", "94, 91, 93 %; 91, 91 %",
        "the same differences, at the step size (and decay) of least validation error of each seed and batch "
        "size, from grids of equally many step sizes",
        images.optimisers_when_tuned, unit=POINTS,
    ),
    Claim(
        "ch11.W.6", "statistical", f"{CHAPTER}, worked example 6",
        "A residual network fits CIFAR-10 to 99 % and more and reaches 94 to 95 % on the test set; small "
        "steps and a penalty keep it from fitting; noisy labels are fitted at a price; a fully connected "
        "network of the same size does worse.",
        "99+ %; 94–95 %",
        f"training accuracy above {images.FIT:g} % as stated and with noisy labels, below it with small "
        f"steps and with the penalty; test accuracy more than {images.WORSE:g} point lower with noisy labels "
        "and in the fully connected network; at full size, test accuracy between 94 and 95 %",
        images.variants_as_published,
    ),
    Claim(
        "ch11.W.8", "statistical", f"{CHAPTER}, worked example 8",
        "Small batches end 1.1 points above large ones, with a higher training loss and a smaller norm; "
        "weight decay of 1e-4 lifts large batches by 1.4 points; norms are .2, .35 and .15.",
        "95.2, 94.1, 95.5 %; norms .2, .35, .15",
        f"test accuracy of small batches more than {images.SMALL_LEAD:g}, of decay more than "
        f"{images.DECAY_LEAD:g} points above large batches; training loss of small batches more than "
        f"{1 + images.LOSS_RATIO:g} times theirs; norm of large batches more than "
        f"{1 + images.NORM_RATIOS['small batch']:g} times that of small ones and "
        f"{1 + images.NORM_RATIOS['large batch, decay']:g} times that with decay; all norms below "
        f"{images.LONGEST:g}",
        images.decay_as_published,
    ),
    Claim(
        "ch11.W.8.ctrl.start", "required-control", f"{CHAPTER}, worked example 8, its network as drawn",
        "ResNet-18 for CIFAR-10 has 35 million parameters, of norms of .2 to .35.",
        "35 million; .15 to .35",
        f"parameters within {100 * images.OFF:g} % of {images.PARAMETERS / 1e6:g} million; initial norm "
        f"below {images.LONGEST:g}",
        images.start_as_published,
    ),
    Claim(
        "ch11.W.9", "statistical", f"{CHAPTER}, worked example 9",
        "Trained for 500 epochs, ResNet-18 on CIFAR-10 has its least test loss at about epoch 120; stopping "
        "there gives 95 % instead of 94.8.",
        "epoch 120 of 500; 95 vs 94.8 %",
        f"stopping by validation loss gains more than {long.STOPPING:g} points over the end; test loss is "
        f"least at {100 * long.SHARE[0]:g} to {100 * long.SHARE[1]:g} % of the run, and at the end more "
        f"than {1 + long.RISE:g} times that",
        long.long_as_published,
    ),
    Claim(
        "ch11.W.9.ctrl.decay", "required-control", f"{CHAPTER}, worked example 9, as its text needs it",
        "The best epoch belongs to network and data: it is the same whether the step size falls or stays.",
        "epoch 120",
        "log ratio of the epochs of least test loss, with a step size that falls and with one that stays, "
        "within ln 1.25 of 0",
        long.stopping_depends_on_decay,
    ),
    Claim(
        "ch11.W.9.ctrl.second", "required-control", "Nakkiran et al. 2020, section 6",
        "Along training, test error rises and then falls again.", "epoch-wise double descent",
        f"rise from a minimum to a later peak, and fall from it to the end, both more than {long.SECOND:g} "
        "points, with a step size that falls and with one that stays",
        long.second_descent, long.SECOND, POINTS,
    ),
)  # fmt: skip
"""All claims of the study."""
