"""Claims about networks that are trained too long, or held back by a penalty."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.early_stopping.networks import rules_lanes as lanes
from implicit_bias.studies.early_stopping.networks import rules_sine as sine

NETWORK_CLAIMS = (
    Claim(
        "ch11.C.4",
        "statistical",
        "Chapter 11, exercise C.4",
        "A ReLU network of 301 parameters on 20 points of a sine, from a start near zero, has after 1000 "
        "iterations a training loss of .005 to .008, a test loss of .010 to .015, ‖W₁‖ near 2.5 and ‖W₂‖ "
        "near .4, and a small penalty lowers norms by a fifth and test loss by .002.",
        "losses .005–.008 and .010–.015; norms 2.5 and .4",
        f"losses within the published ranges widened by {100 * sine.SLACK:g} %, norms within "
        f"{100 * sine.NORM_OFF:g} %, all of them; with the penalty ‖W₁‖ lower by a ratio above "
        f"{1 + sine.PENALTY_NORM:g} and test loss by more than {sine.PENALTY_TEST:g}",
        sine.small_start,
    ),
    Claim(
        "ch11.C.4.longer",
        "required-control",
        "Chapter 11, exercise C.4, the time of training",
        "The published training loss is that of this network when it is trained for far longer.",
        None,
        f"training loss of the longer run below {(1 + sine.SLACK) * sine.TRAIN[1]:g}",
        sine.time_suffices,
        unit="half mean square",
    ),
    Claim(
        "ch11.C.4.capacity",
        "required-control",
        "Chapter 11, exercise C.4, why training loss does not vanish",
        "The training loss stays above zero as a network of this size cannot represent the points.",
        "training loss .005 at best",
        f"training loss of the best network that is known above {sine.CAPACITY:g}",
        sine.cannot_fit,
        unit="half mean square",
    ),
    Claim(
        "ch11.C.4.gradients",
        "identity",
        "Chapter 11, exercise C.4, gradients of its code",
        "The printed gradients are those of the loss.",
        None,
        f"relative error beside central differences of at most {sine.GRADIENT:g}",
        sine.printed_gradients,
    ),
    Claim(
        "ch11.C.8",
        "statistical",
        "Chapter 11, exercise C.8",
        "On 600 points of a sine, the test loss of a network of 50 hidden units is least after 50 to 70 of "
        "200 epochs, at .018, and then rises to .035, .015 above the training loss.",
        ".018 at epoch 65, .035 at epoch 200",
        f"in every design that converges in most seeds: a rise above {sine.RISE:g}, test less training "
        f"loss above {sine.LAST_GAP:g} at the end; the validation optimum at epochs {sine.BEST_EPOCHS[0]} to "
        f"{sine.BEST_EPOCHS[1]}, and test losses there and at the end within {100 * sine.SLACK:g} % of what "
        "is published",
        sine.turns_up,
        unit="mean square",
    ),
    Claim(
        "ch11.C.8.few",
        "required-control",
        "Chapter 11, exercise C.8, the design that shows what is claimed",
        "Trained on after its validation optimum, a network loses on test points.",
        "1.9 times",
        f"on few and noisy points, test loss at the end above {1 + sine.RATIO:g} times that at the "
        "validation optimum",
        sine.few_turn_up,
    ),
    Claim(
        "ch11.C.9",
        "statistical",
        "Chapter 11, exercise C.9",
        "Over penalties from 0 to 1e-2 a network's test loss is least in between, at 1e-4; ‖W‖ falls from 45 "
        "to 8, and at 1e-2 training accuracy, 88 %, lies below test accuracy, 95.8 %.",
        "test loss .35, .32, .28, .32, .45",
        f"test loss at λ = 1e-4 lower than at 0 by more than {lanes.GAIN:g} and than at 1e-2 by more than "
        f"{lanes.COST:g}; ‖W‖ at 0 more than {1 + lanes.NORM_RATIO:g} times that at 1e-2; test accuracy at "
        f"1e-2 more than {lanes.IMPOSSIBLE:g} point above training accuracy; on MNIST, test accuracy at "
        f"1e-4 of {lanes.ACCURACY[0]:g} to {lanes.ACCURACY[1]:g} % and test loss at 0 of "
        f"{lanes.LOSS[0]:g} to {lanes.LOSS[1]:g}",
        lanes.one_penalty_is_best,
        unit="nats",
    ),
    Claim(
        "ch11.W.10",
        "statistical",
        "Chapter 11, worked example 10",
        "After 100 epochs the gap between test and training loss is largest with small batches, smaller with "
        "middle ones, smallest with large ones and a penalty.",
        ".1, .05, .02",
        "each gap larger than the next by more than half of the published difference; on MNIST, each within "
        "a factor of 2 of what is published",
        lanes.small_batches_gap_most,
        unit="nats",
    ),
    Claim(
        "ch11.W.10.same-loss",
        "required-control",
        "Chapter 11, worked example 10, the batch size alone",
        "Small batches leave a larger gap because they are small, not because they train further.",
        None,
        f"without a penalty and at the training loss with which the largest batch ends, the gap of the "
        f"smallest larger by more than {lanes.MATCHED:g}",
        lanes.batches_alone_matter,
        smallest_effect=lanes.MATCHED,
        unit="nats",
    ),
    Claim(
        "ch11.C.10",
        "statistical",
        "Chapter 11, exercise C.10",
        "Trained on 700 images of CIFAR-10, a network of two hidden layers has its least test loss, .35, at "
        "epochs 40 to 60 and .55 after 200; the gap is .01 at epoch 50 and .30 at the end.",
        ".35 at epoch 45, .55 at epoch 200",
        f"least and last test loss at most {100 * lanes.OVER:g} % above those published, a rise above "
        f"{lanes.RISE:g}, the least at epochs {lanes.OPTIMUM[0]} to {lanes.OPTIMUM[1]}, a gap below "
        f"{lanes.CLOSE:g} at epoch 50 and of {lanes.FAR[0]:g} to {lanes.FAR[1]:g} at the end, and a test "
        "accuracy above the least that a loss of .35 allows",
        lanes.overfits_as_published,
        unit="nats",
    ),
    Claim(
        "ch11.C.10.bound",
        "identity",
        "A mistaken example's label has probability ½ at most",
        "A mean cross-entropy is at least ln 2 times the share of mistakes, so that one of .35 needs an "
        "accuracy of 49.5 %.",
        None,
        f"in no evaluation exceeds ln 2 × error the loss by more than {lanes.TOLERANCE:g}",
        lanes.loss_bounds_error,
        unit="nats",
    ),
)
"""Claims of the networks' part."""
