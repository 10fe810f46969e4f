"""What the flat-minima study decides: its claims, fixed before any run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from implicit_bias.results.claims import Claim, Evidence, Finding
from implicit_bias.studies.flat_minima.rules import SMALLEST_GAP, SMALLEST_RATIO
from implicit_bias.studies.flat_minima.rules_constructed import minima_that_training_does_not_find
from implicit_bias.studies.flat_minima.rules_penalties import (
    penalty_replaces_small_batch,
    sam_is_not_always_better,
)
from implicit_bias.studies.flat_minima.rules_robustness import (
    ALIKE,
    SMALLEST_CORRELATION,
    norm_and_margin,
    script_repeated,
    two_classes_under_attack,
)
from implicit_bias.studies.flat_minima.rules_spectra import WITHIN, published_spectra

if TYPE_CHECKING:
    import xarray as xr

CHAPTER = "Chapter 11"


def _claims() -> Iterator[Claim]:
    def claim(
        name: str, kind: Any, source: str, sentence: str, published: Any, criterion: str,
        rule: Callable[[xr.Dataset], Finding | Evidence], smallest: float | None = None,
        unit: str = "1",
    ) -> Claim:  # fmt: skip
        return Claim(name, kind, source, sentence, published, criterion, rule, smallest, unit)

    yield claim(
        "johannsen.ext.curv-penalty", "statistical", "Johannsen 2026 (arXiv 2604.07603), extension",
        "Penalising curvature at a large batch size does what a small batch does.", None,
        "at equal epochs, step size and strength chosen on validation data, seed by seed, for each penalty: "
        f"λmax lowered by a factor above {1 + SMALLEST_RATIO} and test error by more than {SMALLEST_GAP} "
        "percentage points against the large batch without it; test error no more than "
        f"{SMALLEST_GAP} points above, and λmax at most {1 + SMALLEST_RATIO} times, those of the small batch",
        penalty_replaces_small_batch, None, "ratio",
    )  # fmt: skip
    yield claim(
        "dhand.obs-6.3", "statistical", "Dhand, section 6.3, observation",
        "Gradient descent finds flatter minima than random search or an adversary, and flat minima "
        "generalise better.", "gradient descent flatter",
        "at equal training loss, against poisoned minima and guessed networks: λmax above "
        f"{1 + SMALLEST_RATIO} times gradient descent's, and test error more than {SMALLEST_GAP} points "
        "above its own; for poisoned minima the adaptive sharpness, too",
        minima_that_training_does_not_find, None, "ratio",
    )  # fmt: skip
    yield claim(
        "ch11.W.4", "statistical", f"{CHAPTER}, example 4",
        "Heavy ball (A) ends with a top eigenvalue near 50, Adam (B) near 10, both spectra positive.",
        "A: 50, 20, 8, 3, …; B: 10, 5, 2.5, …; both 97 % training and 96 % test accuracy",
        f"λmax of A above {1 + SMALLEST_RATIO} times B's; each λmax within a factor of {WITHIN:g} of the "
        "published one; smallest eigenvalue above 0",
        published_spectra, None, "ratio",
    )  # fmt: skip
    yield claim(
        "ch11.A.19", "statistical", f"{CHAPTER}, A.19",
        "Minimising sharpness (SAM) does not generalise better than SGD on all data and settings.",
        "not always better",
        "on at least one of the tasks (clean labels at both batch sizes, large ρ, noisy labels, few "
        "examples) SAM's test error exceeds SGD's with its whole interval; refuted if SAM errs less on all",
        sam_is_not_always_better, 0.0, "percentage points",
    )  # fmt: skip
    yield claim(
        "ch11.C.19", "statistical", f"{CHAPTER}, C.19",
        "The small batch's flatter minimum is more accurate, clean and attacked, but not more robust "
        "relative to its clean accuracy.",
        "clean/FGSM accuracy 98/72 against 96/70 %; λmax 3 against 12; ratio 0.73 for both",
        f"two classes, ε = 0.1: λmax of the large batch above {1 + SMALLEST_RATIO} times the small one's; "
        f"errors, clean and under FGSM, more than {SMALLEST_GAP} points above; robustness ratios within "
        f"{ALIKE}; with one step size and with tuned ones",
        two_classes_under_attack, None, "ratio",
    )  # fmt: skip
    yield claim(
        "ch11.conn.cert", "statistical", f"{CHAPTER}, connection to certification",
        "Training that prefers small norms ends with larger margins, and so with larger certified radii.",
        "lower norm, larger margin",
        "Spearman correlation of ‖θ‖ over arms with the mean margin in the outputs and with the mean "
        f"certified Euclidean radius below −{SMALLEST_CORRELATION}; the strongest weight decay raises both "
        f"by a factor above {1 + SMALLEST_RATIO}",
        norm_and_margin,
    )  # fmt: skip
    yield claim(
        "ch11.S.15", "identity", f"{CHAPTER}, solution C.15",
        "The script shows accuracy under FGSM falling from 95 to 42 %.", "0.95 to 0.42",
        "accuracies of the script's computation, with its own seed, within 0.005 of the printed ones",
        script_repeated, None, "accuracy",
    )  # fmt: skip


CLAIMS = tuple(_claims())
"""All claims the study owns."""
