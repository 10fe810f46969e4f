"""What networks decide about double descent, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.double_descent.rules import (
    FACTOR,
    FEATURE_FACTOR,
    SMALLEST_GAP,
    SMALLEST_RATIO,
    batch_effect_across_scale,
    features_peak,
    flatter_beyond,
    longer_training_hurts_then_helps,
    lowered_by_ensembling,
    more_data_hurt,
    peak_at_threshold,
    removed_by_decay,
    removed_by_stopping,
    two_descents,
    two_descents_of_channels,
)

CROSSWISE = (
    "each seed at the places that the mean curve of the other seeds has, smoothed over neighbours"
)
"""How minimum and peak are chosen, as criteria say it."""

NETWORK_CLAIMS = (
    Claim(
        "johannsen.double-descent",
        "statistical",
        "arXiv 2604.07603, abstract",
        "As a network grows, its test error descends twice, with a peak where it begins to fit all examples.",
        "two descents",
        f"at each level of label noise, test error of the narrowest width more than {SMALLEST_GAP:g} point "
        "above the minimum before the peak, the peak as much above that minimum, and as much above the "
        f"widest width; {CROSSWISE}",
        two_descents,
        SMALLEST_GAP,
        "percentage points",
    ),
    Claim(
        "double-descent.ctrl.threshold",
        "required-control",
        "Belkin, Hsu, Ma & Mandal 2019",
        "The peak lies where parameters equal examples times outputs.",
        "n·K parameters",
        "at the highest label noise, of each seed the width at which the smoothed curve stands highest above "
        "its least value at smaller widths, not the widest: geometric mean over seeds, with its whole "
        f"interval, within a factor {FACTOR:g} of the predicted width; for test error and for test loss",
        peak_at_threshold,
        None,
        "ratio",
    ),
    Claim(
        "double-descent.ctrl.decay",
        "required-control",
        "Nakkiran, Venkat, Kakade & Ma 2021",
        "The best weight decay for each width removes the peak.",
        "no peak",
        "given a peak as trained: with the decay of least validation error, none among them, the rise to "
        f"the peak is more than {SMALLEST_GAP:g} point smaller, and what is left of it less "
        f"than {SMALLEST_GAP:g} point; at control widths, {CROSSWISE}, but not smoothed",
        removed_by_decay,
        None,
        "percentage points",
    ),
    Claim(
        "double-descent.ctrl.stopping",
        "required-control",
        "Nakkiran et al. 2020, section 1",
        "Stopping at the best time removes the peak.",
        "no peak",
        "the same, each network at its evaluation of least error on clean validation labels",
        removed_by_stopping,
        None,
        "percentage points",
    ),
    Claim(
        "double-descent.ctrl.ensembling",
        "required-control",
        "Nakkiran et al. 2020, appendix E; Geiger et al. 2020",
        "The mean of several networks' outputs lowers the peak.",
        "a lower peak",
        "at the peak, the ensemble of a seed's networks from different initial weights errs more than "
        f"{SMALLEST_GAP:g} point less than they do on average, and climbs by that much less; at control "
        f"widths, {CROSSWISE}, but not smoothed",
        lowered_by_ensembling,
        SMALLEST_GAP,
        "percentage points",
    ),
    Claim(
        "double-descent.ctrl.samples",
        "required-control",
        "Nakkiran et al. 2020, section 7",
        "For a network of one width, more examples can hurt.",
        "test error rises with n",
        f"test error rises by more than {SMALLEST_GAP:g} point somewhere as examples are added; "
        f"{CROSSWISE}, but not smoothed",
        more_data_hurt,
        SMALLEST_GAP,
        "percentage points",
    ),
    Claim(
        "double-descent.ctrl.time",
        "required-control",
        "Nakkiran et al. 2020, section 6",
        "For a network beyond the threshold, test error descends twice along training.",
        "two descents",
        f"of the first width beyond {FACTOR:g} times the threshold, at the highest label noise: error at the "
        f"start more than {SMALLEST_GAP:g} point above the minimum, then as large a rise, and as large a "
        f"fall to the end; {CROSSWISE}",
        longer_training_hurts_then_helps,
        SMALLEST_GAP,
        "percentage points",
    ),
    Claim(
        "double-descent.ctrl.features",
        "required-control",
        "Belkin, Hsu, Ma & Mandal 2019",
        "Least squares on random features of the same data peaks where features equal examples, and the best "
        "ridge removes the peak.",
        "N = n",
        "number of features with the largest test loss, of each seed: geometric mean, with its whole "
        f"interval, within a factor {FEATURE_FACTOR:g} of the number of examples; and there, test loss "
        f"without ridge above {1 + SMALLEST_RATIO} times that with the ridge of least validation loss",
        features_peak,
        None,
        "ratio",
    ),
    Claim(
        "double-descent.ctrl.flatness",
        "statistical",
        "arXiv 2604.07603, discussion of a common geometric cause, along the curve",
        "Networks at the peak are sharper than those before and beyond it.",
        None,
        "at the highest label noise, λmax at the peak of the test error above "
        f"{1 + SMALLEST_RATIO} times that of the narrowest and of the widest network; {CROSSWISE}",
        flatter_beyond,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "double-descent.ctrl.channels",
        "required-control",
        "Nakkiran et al. 2020, section 5, at reduced size",
        "Convolutional networks of more and more channels descend twice under label noise.",
        "two descents with noise",
        "as for johannsen.double-descent, along channels",
        two_descents_of_channels,
        SMALLEST_GAP,
        "percentage points",
    ),
    Claim(
        "johannsen.ext.scaling",
        "statistical",
        "arXiv 2604.07603, open question on width and depth",
        "Small batches end flatter than large ones whatever the network's width and depth. The paper asks "
        "how the effect depends on them, and takes no position.",
        None,
        f"λmax of the large batch above {1 + SMALLEST_RATIO} times the small one's at every width and depth, "
        "at equal step size and epochs; how the ratio changes with width and depth is reported with "
        "intervals",
        batch_effect_across_scale,
        SMALLEST_RATIO,
        "ratio",
    ),
)
"""All claims of the study but those of linear regression."""
