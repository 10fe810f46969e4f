"""What the exact part of the early-stopping study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.early_stopping import rules_paths as paths
from implicit_bias.studies.early_stopping import rules_training as training
from implicit_bias.studies.early_stopping import rules_worked as worked

EXACT_CLAIMS = (
    Claim(
        "ch11.B.12",
        "statistical",
        "Chapter 11, problem B.12 and its proof",
        "With fixed features, descent from zero stopped at T is about the ridge solution with penalty "
        "1/(αT), both beside the same loss.",
        "approximately equal, λ = O(1/T)",
        f"gradient flow on every design: ‖w_t − w_λ‖ below {paths.NEAR:.2g} ‖w_λ‖ at every t; least "
        f"risk less than {paths.AS_GOOD:g} times ridge's; exponent in t of the penalty that matches "
        f"best below {paths.FALLS:g} until the path has ended",
        paths.equivalent,
    ),
    Claim(
        "ch11.B.12.steps",
        "statistical",
        "Chapter 11, problem B.12, which leaves step size and T open",
        "The same holds of descent, whatever its step size and number of updates.",
        "approximately equal",
        f"worst design and number of updates of each seed: distance below {paths.NEAR:.2g}",
        paths.any_step,
    ),
    Claim(
        "ch11.B.12.formula",
        "identity",
        "Chapter 11, problem B.12, proof",
        "Descent from zero is (I − (I − αXᵀX)^t)(XᵀX)⁻¹Xᵀy.",
        "equal",
        f"programmed updates and closed form, with the pseudo-inverse, within {paths.ROUNDING:g}, relative; "
        "and XᵀX of full rank on every design",
        paths.closed_form,
    ),
    Claim(
        "early-stopping.bounds",
        "identity",
        "Ali, Kolter & Tibshirani 2019, relative risk, and risks tuned to their best",
        "At t = 1/λ flow's shrinkage is at most 1.2985 times ridge's and its risk 1.6862 times, for "
        "every truth and design; on average over truths 1.2147 times at the best λ.",
        "1.2985, 1.6862, 1.2147",
        f"no ratio above its bound by more than {paths.ROUNDING:g}; each bound met within {paths.FOUND:g} "
        f"somewhere; constants as printed to {paths.PRINTED:g}",
        paths.bounds,
    ),
    Claim(
        "early-stopping.tuned",
        "identity",
        "Ali, Kolter & Tibshirani 2019, risks tuned to their best",
        "On average over truths of isotropic prior, flow's least risk is 1 to 1.2147 times ridge's.",
        "1 to 1.2147",
        "on every design, up to 1e-8",
        paths.tuned,
    ),
    Claim(
        "early-stopping.exact-risk",
        "required-control",
        "Ali, Kolter & Tibshirani 2019, estimation risk of gradient flow",
        "The exact risk of the flow is the mean over draws of the noise.",
        None,
        f"mean squared error at the best time, over draws and seeds, within "
        f"{paths.DRAWS:.0%} on every design",
        paths.exact_risk,
    ),
    Claim(
        "ch11.A.13",
        "statistical",
        "Chapter 11, question A.13",
        "Stopping where validation loss is least does not guarantee the least test loss; what is lost "
        "is small but not nothing, and the validation loss itself is too low.",
        "False (the statement that it is guaranteed)",
        f"the best time of an independent test set is missed by more than {training.OFTEN:.0%} of "
        "validation sets, small and large; expected test loss is above its least, by less than "
        f"{training.SMALL:.0%} with a hundred validation examples; and above the validation loss",
        training.no_guarantee,
    ),
    Claim(
        "ch11.A.13.infinite",
        "statistical",
        "Chapter 11, question A.13, explanation",
        "With infinitely many validation examples the guarantee would hold.",
        "a guarantee",
        f"exact losses choose another time than a test set in less than {training.OFTEN:.0%} of test sets",
        training.infinite_validation,
    ),
    Claim(
        "ch11.mot.earlystop",
        "statistical",
        "Chapter 11, role of optimisation in generalisation",
        "In a network's 100 epochs test loss falls for 20, and rises from 50 to 100: "
        "stopping at 20 avoids it.",
        "least at epoch 20",
        f"test loss, means over five epochs: higher by {training.RISE:.0%} at the end than around epoch "
        "20, with few and with many examples, noisy and clean; and than around 50",
        training.rises_again,
    ),
    Claim(
        "ch11.S.4",
        "statistical",
        "Chapter 11, solution C.4, printed output",
        "A network's output layer on 60 examples has its best epoch at 45 with test loss .0089, and "
        ".0412 when it is ended.",
        "best epoch 45, .0089 against .0412",
        f"losses less than {training.AS_PRINTED:g} times those printed; test loss at the end higher by "
        f"{training.FALL:.0%} than at the best epoch",
        training.patience_script,
    ),
    Claim(
        "ch11.S.4.trained",
        "statistical",
        "Chapter 11, solution C.4 and its discussion",
        "Stopping where validation loss is least lowers test loss, by 20 to 80 %.",
        "20 to 80 %",
        "on the script's data, all layers trained, 100 validation examples: test loss at the end higher "
        f"by {training.FALL:.0%} than at the best epoch",
        training.patience_trained,
    ),
    Claim(
        "ch11.S.17",
        "statistical",
        "Chapter 11, solution C.17, printed output",
        "In 100 epochs the output layer's norm grows 234 times at B = 32 and 188 times at B = 128: small "
        "batches grow faster.",
        "234.5 and 187.6 times",
        f"growth at least {1 / training.AS_PRINTED:g} of what is printed, loss at most "
        f"{training.AS_PRINTED:g} times; more growth at B = 32 by {training.FALL:.0%}",
        training.norm_script,
    ),
    Claim(
        "ch11.S.17.trained",
        "statistical",
        "Chapter 11, solution C.17, explanation",
        "The output layer's norm grows faster with small batches.",
        "1.25 times at epoch 50",
        f"all layers trained from one start: more growth at B = 32 by {training.FALL:.0%}, at equal epochs "
        "and at equal updates",
        training.norm_trained,
    ),
    Claim(
        "ch11.S.18",
        "statistical",
        "Chapter 11, solution C.18, printed output",
        "In 500 epochs a linear model on 1000 examples reaches training loss 1.2e-5, while test loss is "
        "U-shaped; the gap is least at epoch 42, where it is best to stop.",
        "train 1.2e-5, gap least at 42",
        f"training loss at most {training.AS_PRINTED:g} times that printed; test loss higher by "
        f"{training.RISE:.0%} at the end than its least of these epochs; at the least gap no higher than "
        "that",
        training.linear_script,
    ),
    Claim(
        "ch11.S.18.converged",
        "statistical",
        "Chapter 11, solution C.18, explanation",
        "Trained on, the linear model overfits: test loss rises again.",
        "12 times the gap",
        f"test loss at convergence higher by {training.RISE:.0%} than its least, on 1000 examples and on 60",
        training.linear_converged,
    ),
    Claim(
        "ch11.ml.1.ranking",
        "statistical",
        "Chapter 11, flatness proxies for checkpoint selection",
        "Of two checkpoints with equal loss, the one whose loss rises less under a random probe of the "
        "same norm has the smaller curvature; the ranking stays at twice the norm.",
        "pick A",
        f"more than {worked.RELIABLE:.0%} of probes rank rightly, by average and by largest curvature, "
        "at and off a minimum",
        worked.probe_ranks,
        unit="fraction",
    ),
    Claim(
        "ch11.ml.4.deviation",
        "statistical",
        "Chapter 11, noise-scale tuning",
        "At one step size batch 64 has 8 times the stochastic noise of batch 512, and twice that of 128.",
        8.0,
        f"within a factor of {worked.NOISE:g}: of the gradient's variance and of its standard "
        "deviation, drawn with replacement and without",
        worked.batch_noise,
        unit="|log ratio|",
    ),
    Claim(
        "ch11.notes",
        "statistical",
        "Chapter 11, implementation notes",
        "Configurations are compared at equal epochs or at equal updates, one of them; a network "
        "follows its kernel from 10,000 units on, and is compared with kernel regression directly.",
        "equal epochs or updates; 10,000 units",
        f"the smaller batch is ahead by {worked.AHEAD:.0%} by both comparisons; mean squared difference "
        f"above {worked.FOLLOWS:g} below 10,000 units, and less at the widest where outputs are "
        "compared directly",
        worked.fair_comparisons,
    ),
)
"""Claims of the exact part."""
