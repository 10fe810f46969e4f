"""What the attention study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.attention import rules, rules_few

ATTENTION = "Dhand, section 9.3, attention"
EXAMPLE = "Chapter 11, worked example 12"

_OF_ATTENTION = (
    Claim(
        "dhand.arch-9.3-rank",
        "statistical",
        ATTENTION,
        "Training makes attention matrices low in rank.",
        "low rank",
        f"effective rank after training below {rules.LOWER} of that of the same network before it, "
        "on average over layers and heads, at every width",
        rules.rank_falls,
    ),
    Claim(
        "dhand.arch-9.3-rank.absolute",
        "statistical",
        f"{ATTENTION}, without a comparison",
        "Trained attention matrices are of low rank.",
        "low rank",
        f"effective rank below {rules.LOW} of the number of positions, on average over layers and "
        "heads, at every width",
        rules.rank_is_low,
    ),
    Claim(
        "dhand.arch-9.3-rank.start",
        "required-control",
        f"{ATTENTION}, told from the start",
        "That training lowers the rank does not depend on how spread the logits were at the start.",
        None,
        f"effective rank, mean over layers, after training below {rules.LOWER} of that before, at every "
        "gain of the initial logits",
        rules.rank_falls_from_any_start,
    ),
    Claim(
        "dhand.arch-9.3-sparse",
        "statistical",
        ATTENTION,
        "Training makes attention sparse.",
        "sparse",
        f"entropy of rows, relative to looking everywhere alike, falls by more than {rules.DROP}, and the "
        f"mass of the largest weights rises by more than {rules.RISE}, on average over layers and "
        "heads, at every width",
        rules.attention_turns_sparse,
    ),
    Claim(
        "dhand.arch-9.3-sparse.absolute",
        "statistical",
        f"{ATTENTION}, without a comparison",
        "Trained attention is sparse.",
        "sparse",
        f"relative entropy of rows below {rules.SPARSE}, on average over layers and heads, at every width",
        rules.attention_is_sparse,
    ),
    Claim(
        "dhand.arch-9.3-sparse.structure",
        "required-control",
        f"{ATTENTION}, told from fitting as such",
        "Attention turns sparse because data have structure.",
        None,
        f"entropy falls by more than {rules.DROP} more than under training on labels drawn at random, on "
        "average over layers and heads",
        rules.sparse_for_structure,
    ),
    Claim(
        "dhand.arch-9.3-sparse.relevant",
        "statistical",
        ATTENTION,
        "Attention comes to look at the tokens that matter.",
        "relevant tokens",
        "mass on the positions that the next token of the chain depends on, in the layer that gives them "
        f"most, rises by more than {rules.RISE}",
        rules.looks_where_it_matters,
        rules.RISE,
    ),
    Claim(
        "attention.ctrl.learnt",
        "required-control",
        "Cover and Thomas 2006, section 4.2",
        "Networks whose attention is judged learnt what there is to learn.",
        None,
        f"least test loss misses less than {rules.LEARNT} of the way from guessing to the least possible",
        rules.has_learnt,
    ),
    Claim(
        "attention.ctrl.collapse",
        "required-control",
        "Dong, Cordonnier and Loukas 2021, section 2",
        "Untrained stacks of attention alone make all positions one; skips prevent it.",
        None,
        f"relative distance from one vector at the last layer: below {rules.COLLAPSED} without skips, "
        f"and above {rules.KEPT} with them",
        rules.positions_collapse,
    ),
    Claim(
        "attention.id.rows",
        "identity",
        "Roy and Vetterli 2007, definition 1",
        "Rows of attention add up to 1; effective ranks lie from 1 to the number of positions, relative "
        "entropies from 0 to 1.",
        None,
        f"largest deviation at most {rules.ROUNDING}",
        rules.rows_are_laws,
    ),
    Claim(
        "attention.id.beginnings",
        "identity",
        "Gibbs' inequality",
        "No causal network's training loss or error lies below what sequences that begin alike and go on "
        "differently allow.",
        None,
        f"shortfall at most {rules.FLOOR_SLACK}",
        rules.nothing_beats_the_beginnings,
    ),
)

_REDUCED = (
    "reduced from 110 million numbers and 10 million tokens to as many numbers for each token, 11, and as "
    "many epochs, 50 (10 million tokens are those of no WikiText, which have 2 and 103 million; the 95 to "
    "98 % named are of image data)"
)

_OF_FEW = (
    Claim(
        "ch11.W.12",
        "statistical",
        EXAMPLE,
        "A transformer with far more numbers than tokens predicts nearly every next token of its training "
        "set, and stays much better than guessing on others.",
        "100 % of training tokens, test loss much lower than random guessing",
        f"training accuracy above {rules_few.PERFECT}, and test loss at the end below "
        f"{rules_few.FAR_BELOW} of that of guessing; {_REDUCED}",
        rules_few.memorises_and_predicts,
    ),
    Claim(
        "ch11.W.12.attainable",
        "required-control",
        f"{EXAMPLE}, relative to what is possible",
        "It predicts nearly all of what the beginnings of its training sequences determine.",
        "100 %",
        f"training accuracy above {rules_few.PERFECT} of the largest that any causal network can have",
        rules_few.memorises_what_can_be,
    ),
    Claim(
        "ch11.W.12.benign",
        "statistical",
        EXAMPLE,
        "Its overfitting is benign.",
        "benign overfitting",
        f"test loss rises after its least by less than {rules_few.BENIGN} of the way from the least "
        "possible loss to guessing",
        rules_few.overfits_benignly,
    ),
    Claim(
        "ch11.W.12.shuffled",
        "statistical",
        EXAMPLE,
        "With labels drawn at random it fits its training set as well, and its test accuracy is that of "
        "chance.",
        "100 % and chance",
        f"training accuracy above {rules_few.PERFECT}; test accuracy within {rules_few.CHANCE} of chance",
        rules_few.memorises_noise,
    ),
    Claim(
        "ch11.W.12.small",
        "statistical",
        EXAMPLE,
        "A smaller network generalises better.",
        "1 instead of 110 million numbers",
        f"its test loss is lower by more than {rules_few.GAP} nats, at the end and at the least validation "
        "loss",
        rules_few.smaller_generalises,
        rules_few.GAP,
        "nats",
    ),
    Claim(
        "ch11.W.12.shift",
        "statistical",
        EXAMPLE,
        "In another language it predicts worse.",
        "degrades",
        f"test loss with each token under the name of the next is larger by more than {rules_few.GAP} nats",
        rules_few.other_language_is_harder,
        rules_few.GAP,
        "nats",
    ),
    Claim(
        "ch11.W.12.sgd",
        "statistical",
        EXAMPLE,
        "Stochastic gradient descent needs its step size chosen with more care than Adam, and generalises "
        "worse.",
        "less stable",
        "over a grid of step sizes as wide for both, the mean of the training loss less its least is "
        f"larger by more than {rules_few.GAP} nats; and so is the least test loss at each one's best step "
        "size",
        rules_few.adam_is_steadier,
        rules_few.GAP,
        "nats",
    ),
)

CLAIMS = (*_OF_ATTENTION, *_OF_FEW)
"""All claims of the study."""
