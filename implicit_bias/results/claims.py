"""Claims and what the data say about them.

A claim is data plus a rule that was fixed before the run. Its verdict is on the position of the
document it comes from: ``supported`` means that the document is right, not that a null hypothesis
fell.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.statistics import Comparison, Estimate, simultaneous

if TYPE_CHECKING:
    import xarray as xr

Kind = Literal["statistical", "identity", "definition", "required-control", "ill-posed"]
Verdict = Literal["supported", "refuted", "conditional", "inconclusive", "not-decided"]


class NotDecidable(Exception):
    """A rule cannot judge this dataset, e.g. because an arm was not run.

    Attributes:
        reason: Why, for the reader of the report.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Finding:
    """What a dataset says about a claim.

    Attributes:
        verdict: On the document's position.
        effect: The measured effect, or the measured error of an identity or definition.
        interval: Its interval, or the tolerance range (−tolerance, tolerance).
        n_seeds: Number of independent seeds (pairs) behind it; 0 if none.
        condition: For a conditional verdict: where the claim holds and where not.
        reason: Anything else the reader must know; for ``not-decided``, why.
        details: Further values, for the report; JSON values and NumPy numbers.
        id: The claim's id; filled in by ``evaluate``, like the three below.
        kind: The claim's kind.
        criterion: The claim's criterion.
        unit: Unit of the effect.
    """

    verdict: Verdict
    effect: float | None = None
    interval: tuple[float, float] | None = None
    n_seeds: int = 0
    condition: str = ""
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    kind: Kind = "statistical"
    criterion: str = ""
    unit: str = "1"

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise ValueError(f"verdict is {self.verdict!r}; it must be one of {get_args(Verdict)}")
        if self.verdict == "conditional" and not self.condition:
            raise ValueError("a conditional verdict must say its condition")
        if self.verdict == "not-decided" and not self.reason:
            raise ValueError("a claim that is not decided must say why")


@dataclass(frozen=True)
class Evidence:
    """Comparisons that a rule leaves to be judged together with those of the study's other claims.

    Attributes:
        comparisons: One per arm (or condition) of the claim, named as the condition's text should
            name it.
        headline: The arm whose effect and interval stand for the claim; the first if empty.
        n_seeds: Number of seeds, where it is not the estimate's ``n`` (correlations over lanes).
        reason: Anything the reader must know.
        details: Further values, for the report.
    """

    comparisons: Mapping[str, Comparison]
    headline: str = ""
    n_seeds: int | None = None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.comparisons:
            raise ValueError("evidence needs at least one comparison")
        if self.headline and self.headline not in self.comparisons:
            raise ValueError(f"headline {self.headline!r} is none of {list(self.comparisons)}")


@dataclass(frozen=True)
class Claim:
    """A statement of a document, and the rule that judges it.

    Attributes:
        id: Stable name, e.g. ``"johannsen.batch-size"``.
        kind: ``statistical`` (judged by an interval), ``identity`` or ``definition`` (by an error
            and its tolerance), ``required-control`` (something the document's method needs in order
            to mean anything), or ``ill-posed`` (cannot be judged as stated; the rule says why).
        source: Where the document says it.
        sentence: What it says, in our own words.
        published: The value or statement published; ``None`` if it gives none.
        criterion: In words, what the rule demands, fixed before the run.
        rule: From a result to a finding, or to evidence to be judged with the other claims'. Raises
            ``NotDecidable`` where the result lacks what it needs.
        smallest_effect: The smallest effect that matters, in ``unit``; the rule's comparisons must
            use it. ``None`` where the claim has no such thing.
        unit: Unit of the effect, ``"1"`` for a plain number.
    """

    id: str
    kind: Kind
    source: str
    sentence: str
    published: float | str | None
    criterion: str
    rule: Callable[[xr.Dataset], Finding | Evidence]
    smallest_effect: float | None = None
    unit: str = "1"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"claim {self.id}: kind is {self.kind!r}, not one of {get_args(Kind)}")
        if not (self.id and self.source and self.sentence and self.criterion):
            raise ValueError(f"claim {self.id!r} needs an id, a source, a sentence and a criterion")


def judge(
    estimate: Estimate, smallest_effect: float, direction: int = 1, origin: float = 0.0
) -> Verdict:
    """Judge a claim of the form "the effect exceeds the smallest one that matters".

    Args:
        estimate: The effect and its interval.
        smallest_effect: The smallest effect that matters, ≥ 0, in the estimate's unit.
        direction: +1 if the claim is that the effect lies above ``origin + smallest_effect``, −1 if
            below ``origin − smallest_effect``.
        origin: The value that means no effect: 0 for a difference, 1 for a ratio.

    Returns:
        ``supported`` if the whole interval lies beyond that, ``refuted`` if the whole interval lies
        short of it, ``inconclusive`` otherwise, which includes an interval that touches it.

    Example:
        >>> judge(Estimate(0.5, 0.2, 0.8, n=5, level=0.95, method="t"), smallest_effect=0.1)
        'supported'
    """
    boundary = origin + direction * smallest_effect
    above, below = estimate.above(boundary), estimate.below(boundary)
    beyond, short = (above, below) if direction > 0 else (below, above)
    return "supported" if beyond else "refuted" if short else "inconclusive"


def combine_arms(verdicts: Mapping[str, Verdict]) -> tuple[Verdict, str]:
    """Judge a claim from its verdict in each arm.

    ======================================================  ==============
    Verdicts of the arms                                    Of the claim
    ======================================================  ==============
    all supported                                           supported
    all refuted                                             refuted
    all not-decided                                         not-decided
    some supported and some refuted, whatever the others    conditional
    any conditional                                         conditional
    otherwise (some inconclusive or not decided)            inconclusive
    ======================================================  ==============

    Args:
        verdicts: Verdict by arm.

    Returns:
        The claim's verdict, and, unless all arms agree, which arms say what (``say_arms``).

    Raises:
        ValueError: There are no arms.
    """
    if not verdicts:
        raise ValueError("there are no arms to combine")
    given = set(verdicts.values())
    if len(given) == 1 and "conditional" not in given:
        return next(iter(given)), ""
    split = {"supported", "refuted"} <= given or "conditional" in given
    return ("conditional" if split else "inconclusive"), say_arms(verdicts)


def say_arms(verdicts: Mapping[str, Verdict]) -> str:
    """Say which arms have which verdict: ``supported: a; b, at equal epochs. Refuted: c``.

    Semicolons and full stops part them, since names have commas.

    Args:
        verdicts: Verdict by arm.
    """
    groups: list[str] = []
    for verdict in get_args(Verdict):
        arms = [arm for arm, said in verdicts.items() if said == verdict]
        if arms:
            word = verdict.replace("-", " ")
            groups.append(f"{word.capitalize() if groups else word}: {'; '.join(arms)}")
    return ". ".join(groups)


def identity(
    error: Any, tolerance: float, *, n_seeds: int = 0, reason: str = "", **details: Any
) -> Finding:
    """Judge something that must hold exactly, up to rounding or discretisation.

    Args:
        error: The measured error, or several, of which the one largest in magnitude counts.
        tolerance: What is allowed, > 0, fixed before the run.
        n_seeds: Number of seeds measured.
        reason: Anything the reader must know, such as where the tolerance comes from.
        **details: Further values, for the report.

    Returns:
        ``supported`` if |error| ≤ tolerance, ``refuted`` otherwise; the interval is the tolerance
        range.

    Raises:
        ValueError: The tolerance is not a positive number.
        NotDecidable: An error is not a number, or there is none.
    """
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance is {tolerance}; it must be greater than 0")
    errors = np.asarray(error, np.float64).ravel()
    if not errors.size or np.isnan(errors).any():
        raise NotDecidable("the error could not be measured (no value, or not a number)")
    worst = float(errors[np.argmax(np.abs(errors))])
    return Finding(
        verdict="supported" if abs(worst) <= tolerance else "refuted",
        effect=worst,
        interval=(-tolerance, tolerance),
        n_seeds=n_seeds,
        reason=reason,
        details=details,
    )


def evaluate(claims: Iterable[Claim], dataset: xr.Dataset, alpha: float = 0.05) -> list[Finding]:
    """Judge a study's claims.

    The comparisons of all claims that leave evidence are judged together, with intervals that hold
    simultaneously (``statistics.simultaneous``); each comparison's own interval is kept in the
    details.

    Args:
        claims: The study's claims, with different ids.
        dataset: The study's result.
        alpha: Probability of any wrong interval among the study's comparisons.

    Returns:
        A finding per claim, in order. A rule that raises ``NotDecidable`` gives ``not-decided``;
        any other exception is a mistake in the rule and is not caught.

    Raises:
        UserError: Two claims have one id, a comparison uses another smallest effect than its claim, or
            a rule returns neither a finding nor evidence.
    """
    claims = list(claims)
    if len({claim.id for claim in claims}) != len(claims):
        ids = [claim.id for claim in claims]
        twice = next(one for one in ids if ids.count(one) > 1)
        raise UserError(f"two claims have the id {twice!r}; name each once")
    outcomes: dict[str, Finding | Evidence] = {}
    comparisons: dict[tuple[str, str], Comparison] = {}
    for claim in claims:
        try:
            outcome = claim.rule(dataset)
        except NotDecidable as missing:
            outcome = Finding(verdict="not-decided", reason=missing.reason)
        if not isinstance(outcome, (Finding, Evidence)):
            raise UserError(
                f"the rule of claim {claim.id} returns {type(outcome).__name__}; return a Finding or "
                "an Evidence of results.claims"
            )
        outcomes[claim.id] = outcome
        if isinstance(outcome, Evidence):
            for arm, comparison in outcome.comparisons.items():
                fixed = claim.smallest_effect
                if fixed is not None and comparison.smallest_effect != fixed:
                    raise UserError(
                        f"claim {claim.id}, {arm}: its rule compares with {comparison.smallest_effect:g}, "
                        f"but the claim's smallest_effect is {fixed:g}; write the same number in both"
                    )
                comparisons[claim.id, arm] = comparison
    adjusted = simultaneous(comparisons, alpha)

    findings = []
    for claim in claims:
        outcome = outcomes[claim.id]
        if isinstance(outcome, Evidence):
            made = {arm: adjusted[claim.id, arm] for arm in outcome.comparisons}
            outcome = _weigh(outcome, made, alpha)
        findings.append(
            replace(
                outcome,
                id=claim.id,
                kind=claim.kind,
                criterion=claim.criterion,
                unit=claim.unit,
            )
        )
    return findings


def to_json(
    findings: Sequence[Finding], claims: Iterable[Claim] | None = None
) -> list[dict[str, Any]]:
    """Describe findings as JSON values.

    Args:
        findings: From ``evaluate``.
        claims: The claims judged; if given, what they say is added to each entry.

    Returns:
        A list of objects with ``id``, ``kind``, ``verdict``, ``effect``, ``interval`` (two numbers,
        or null), ``n_seeds``, ``criterion``, ``condition``, ``reason`` and ``details``; with
        ``claims`` also ``source``, ``sentence``, ``published``, ``smallest_effect`` and ``unit``.
        JSON has no infinity and no NaN: an infinite end of an interval is null (that side is
        unbounded), and so is a missing value.
    """
    said = {claim.id: claim for claim in claims or ()}
    entries = []
    for finding in findings:
        names = ("id", "kind", "verdict", "effect", "interval", "n_seeds", "criterion")
        entry = {
            name: getattr(finding, name) for name in (*names, "condition", "reason", "details")
        }
        if finding.id in said:
            about = ("source", "sentence", "published", "smallest_effect", "unit")
            entry |= {name: getattr(said[finding.id], name) for name in about}
        entries.append(_plain(entry))
    return entries


def write_claims(
    path: str | os.PathLike[str],
    findings: Sequence[Finding],
    claims: Iterable[Claim] | None = None,
) -> None:
    """Write findings as JSON (see ``to_json``), atomically.

    Args:
        path: The file, usually ``claims.json``.
        findings: From ``evaluate``.
        claims: The claims judged; if given, what they say is added.

    Raises:
        UserError: The file cannot be written.
    """
    text = json.dumps(to_json(findings, claims), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text + "\n")


def _weigh(evidence: Evidence, made: Mapping[str, Estimate], alpha: float) -> Finding:
    """Judge one claim's arms from their simultaneous intervals."""
    verdicts: dict[str, Verdict] = {}
    arms = {}
    for arm, comparison in evidence.comparisons.items():
        estimate = made[arm]
        verdicts[arm] = judge(
            estimate, comparison.smallest_effect, comparison.direction, comparison.origin
        )
        alone = comparison.estimate(1 - alpha)
        arms[arm] = {
            "verdict": verdicts[arm],
            "effect": estimate.value,
            "interval": (estimate.low, estimate.high),
            "interval_alone": (alone.low, alone.high),
            "origin": comparison.origin,
            "boundary": comparison.boundary,
            "n": estimate.n,
            "excluded": estimate.excluded,
            "method": estimate.method,
            "note": estimate.note,
        }
    compared = [arm for arm, estimate in made.items() if estimate.n]
    if not compared:
        return Finding(
            "not-decided",
            reason=f"no runs could be compared, of {'; '.join(made)}",
            details={**evidence.details, "level": 1 - alpha, "arms": arms},
        )
    verdict, text = combine_arms(verdicts)
    head = evidence.headline or next(iter(evidence.comparisons))
    if head not in compared:
        head = compared[0]
    estimate = made[head]
    remarks = "; ".join(note for note in (evidence.reason, estimate.note) if note)
    said = text if verdict != "conditional" else ""
    return Finding(
        verdict=verdict,
        effect=estimate.value,
        interval=(estimate.low, estimate.high),
        n_seeds=estimate.n if evidence.n_seeds is None else evidence.n_seeds,
        condition=text if verdict == "conditional" else "",
        # A full stop, since semicolons part the arms.
        reason=". ".join(part for part in (said, remarks) if part),
        details={**evidence.details, "headline": head, "level": 1 - alpha, "arms": arms},
    )


def _plain(value: Any) -> Any:
    """Turn mappings, sequences and NumPy values into what JSON has."""
    if isinstance(value, Mapping):
        return {str(name): _plain(v) for name, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
