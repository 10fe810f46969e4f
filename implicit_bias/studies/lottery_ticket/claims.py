"""What the lottery-ticket study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.lottery_ticket.rules import (
    BETTER,
    PUBLISHED,
    SMALLEST_CORRELATION,
    WITHIN,
    beats_magnitude_at_init,
    beats_random_mask,
    flatness_goes_with_accuracy,
    mask_or_start,
    masks_hold,
    ticket_keeps_up,
)

CLAIMS = (
    Claim(
        "johannsen.lottery",
        "statistical",
        "Johannsen, abstract and lottery ticket experiments",
        "Subnetworks of a tenth of the weights, found by iterative magnitude pruning and trained again from "
        "their original initial weights, are nearly as accurate as the whole network.",
        f"within {WITHIN} percentage points",
        f"test error of the ticket at 10 % of the weights less than {WITHIN} points above the dense "
        "network's, paired by seed, after all updates",
        ticket_keeps_up,
        None,
        "percentage points",
    ),
    Claim(
        "johannsen.ctrl.random-mask",
        "required-control",
        "Johannsen, reply to the referee's third major comment",
        "The ticket beats a random mask of a tenth of the weights that is trained from the same initial "
        "weights.",
        "3 to 5 percentage points",
        f"at 10 % of the weights, test error of the random mask above the ticket's: by more than {BETTER} "
        f"points, which matters, and by more than {PUBLISHED:g}, the least that is published; after all "
        "updates",
        beats_random_mask,
        None,
        "percentage points",
    ),
    Claim(
        "johannsen.ctrl.mag-at-init",
        "required-control",
        "Johannsen, reply to the referee's third major comment",
        "The ticket beats the mask of the largest initial weights, trained from the same initial weights.",
        "3 to 5 percentage points",
        f"at 10 % of the weights, test error of that mask above the ticket's: by more than {BETTER} points, "
        f"which matters, and by more than {PUBLISHED:g}, the least that is published; after all updates",
        beats_magnitude_at_init,
        None,
        "percentage points",
    ),
    Claim(
        "johannsen.ctrl.mask-vs-init",
        "required-control",
        "Johannsen, third major comment of the referee, and the reply",
        "What the ticket keeps is owed to its mask, and not to the initial weights alone.",
        "the mask contributes",
        f"at 10 % of the weights, with as many in every layer, test error more than {BETTER} points above "
        "the ticket's with a random mask, and with the ticket's mask shuffled, on the original weights; and "
        f"the random mask's more than {BETTER} points above that of the ticket's mask on fresh weights",
        mask_or_start,
        BETTER,
        "percentage points",
    ),
    Claim(
        "johannsen.ext.flatness-all-regimes",
        "statistical",
        "Johannsen, conjecture beside the results",
        "Flatness goes with accuracy along pruning as it does between batch sizes: a common geometric cause.",
        "conjectured",
        "rank correlation of the largest Hessian eigenvalue of the surviving weights with test error, within "
        f"seeds, over levels from the dense network down, above {SMALLEST_CORRELATION}; for tickets, and for "
        "every control with three levels",
        flatness_goes_with_accuracy,
        SMALLEST_CORRELATION,
        "rank correlation",
    ),
    Claim(
        "lottery-ticket.ctrl.mask",
        "required-control",
        "Frankle & Carbin 2019, section 1",
        "Pruned weights stay pruned while the rest is trained, and as many are left as are reported.",
        "exactly",
        "after training, weights left within one of the asked number, and every pruned weight exactly zero, "
        "in all runs",
        masks_hold,
        None,
        "weights",
    ),
)
"""All claims of the study."""
