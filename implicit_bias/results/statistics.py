"""Numbers with intervals.

The unit of replication is the seed: a lane's examples, probes and steps are not independent of each
other, its seed is independent of other seeds. So every function here takes one number per seed (or
says how seeds enter), and comparisons are paired by seed.

Values that are not finite (a diverged or excluded lane) are left out, with their partner where
values are paired, and counted in ``Estimate.excluded``.

References:
    [BW] D. G. Bonett, T. A. Wright, "Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations", Psychometrika 65 (2000). [E] B. Efron, "Better bootstrap confidence
    intervals", JASA 82 (1987): BCa. [H] S. Holm, "A simple sequentially rejective multiple test
    procedure", Scand. J. Statist. 6 (1979). [G] O. Guilbaud, "Simultaneous confidence regions
    corresponding to Holm's step-down procedure and other closed-testing procedures", Biometrical
    Journal 50 (2008). [SB] K. Strassburger, F. Bretz, "Compatible simultaneous lower confidence
    bounds for the Holm procedure and other Bonferroni-based closed tests", Statistics in Medicine
    27 (2008). [S] F. E. Satterthwaite, "An approximate distribution of estimates of variance
    components", Biometrics Bulletin 2 (1946).
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

IntervalMethod = Literal["t", "bootstrap"]
Name = TypeVar("Name")


@dataclass(frozen=True)
class Estimate:
    """A number and the interval it comes with.

    Attributes:
        value: The estimate; NaN if there was nothing to estimate from.
        low: Lower end of the interval, possibly −inf.
        high: Upper end, possibly +inf.
        n: Number of independent values (seeds, pairs, or points of a correlation) used.
        level: Coverage aimed at, between 0 and 1; for ``simultaneous``, of all intervals together.
        method: How the interval was made.
        excluded: Number of values or pairs left out because they were not usable.
        note: What a reader must know, such as why the interval is infinite; empty if nothing.
        low_open: The interval ends before ``low`` (see ``simultaneous``).
        high_open: The interval ends before ``high``.
    """

    value: float
    low: float
    high: float
    n: int
    level: float
    method: str
    excluded: int = 0
    note: str = ""
    low_open: bool = False
    high_open: bool = False

    def above(self, bound: float) -> bool:
        """Say whether the whole interval lies above a number.

        Args:
            bound: The number.

        Returns:
            Whether every point of the interval is greater than it.
        """
        return self.low > bound or (self.low_open and self.low == bound)

    def below(self, bound: float) -> bool:
        """Say whether the whole interval lies below a number.

        Args:
            bound: The number.

        Returns:
            Whether every point of the interval is less than it.
        """
        return self.high < bound or (self.high_open and self.high == bound)


_BLOCK_NUMBERS = 4_000_000
"""Numbers that resampling holds at once in one array."""


def mean_interval(values: Any, level: float = 0.95) -> Estimate:
    """Estimate a mean with Student's t interval.

    Args:
        values: One number per seed, shape ``(seeds,)``.
        level: Coverage.

    Returns:
        The mean. With one value the interval is infinite; with equal values it has no width; both
        are noted.
    """
    kept, excluded = _finite(values)
    return _t_interval(kept, level, "t", excluded)


def bootstrap_interval(
    values: Any,
    level: float = 0.95,
    *,
    rng_seed: int,
    statistic: Callable[..., Any] = np.mean,
    n_resamples: int = 9999,
) -> Estimate:
    """Estimate a statistic with a bias-corrected and accelerated bootstrap interval [E].

    Below ten or so values it covers less often than it says; prefer ``mean_interval`` there.

    Args:
        values: One number per seed, shape ``(seeds,)``.
        level: Coverage.
        rng_seed: Seed of the resampling; the same seed gives the same interval.
        statistic: A function of ``(array, axis)``.
        n_resamples: Number of resamples.

    Returns:
        The statistic. Where the correction is not defined, percentiles are used and ``method`` says
        so.
    """
    _check_level(level)
    kept, excluded = _finite(values)
    if statistic is np.mean:
        value = _mean(kept)
    else:
        value = float(statistic(kept, axis=-1)) if kept.size else math.nan
    short = _too_few(kept, value, level, "BCa bootstrap", excluded)
    if short is not None:
        return short
    for method in ("BCa", "percentile"):
        low, high = _scipy_bootstrap(kept, statistic, level, rng_seed, n_resamples, method)
        if math.isfinite(low) and math.isfinite(high):
            return Estimate(value, low, high, kept.size, level, f"{method} bootstrap", excluded)
    note = "the statistic is not defined on every resample: the interval is infinite"
    return Estimate(
        value, -math.inf, math.inf, kept.size, level, "percentile bootstrap", excluded, note
    )


def paired_difference(
    a: Any,
    b: Any,
    level: float = 0.95,
    *,
    method: IntervalMethod = "t",
    rng_seed: int = 0,
) -> Estimate:
    """Estimate the mean of ``a − b``, paired by seed.

    Args:
        a: One number per seed, shape ``(seeds,)``. A one-dimensional ``xarray.DataArray`` with a
            coordinate ``seed`` is matched to ``b`` by it; anything else is matched by position.
        b: Likewise.
        level: Coverage.
        method: ``"t"`` or ``"bootstrap"`` (BCa).
        rng_seed: Seed of the resampling.

    Returns:
        The mean difference; ``excluded`` counts the seeds that lack either value.

    Raises:
        ValueError: The lengths differ, or a seed occurs twice.
    """
    first, second = _aligned(a, b)
    return _interval(first - second, level, method, rng_seed, "paired ")


def geometric_mean_ratio(
    a: Any,
    b: Any,
    level: float = 0.95,
    *,
    method: IntervalMethod = "t",
    rng_seed: int = 0,
) -> Estimate:
    """Estimate the geometric mean of ``a / b``, paired by seed.

    The interval is made for the mean of ``log a − log b`` and transformed back.

    Args:
        a: Positive numbers, as for ``paired_difference``.
        b: Likewise.
        level: Coverage.
        method: ``"t"`` or ``"bootstrap"`` (BCa).
        rng_seed: Seed of the resampling.

    Returns:
        The ratio (1 means no difference); pairs with a value that is not positive are excluded, and
        noted.

    Raises:
        ValueError: The lengths differ, or a seed occurs twice.
    """
    first, second = _aligned(a, b)
    finite = np.isfinite(first) & np.isfinite(second)
    positive = (first > 0) & (second > 0)
    usable = finite & positive
    logs = np.full(first.shape, np.nan)
    logs[usable] = np.log(first[usable]) - np.log(second[usable])
    made = _interval(logs, level, method, rng_seed, "paired, log scale, ")
    lost = int((finite & ~positive).sum())
    note = f"{lost} pairs left out: a value was not positive" if lost else ""
    with np.errstate(over="ignore"):
        value, low, high = (float(np.exp(x)) for x in (made.value, made.low, made.high))
    return replace(made, value=value, low=low, high=high, note=_join(made.note, note))


def spearman(
    x: Any,
    y: Any,
    level: float = 0.95,
    *,
    clusters: Any | None = None,
    rng_seed: int = 0,
    n_resamples: int = 2000,
) -> Estimate:
    """Estimate Spearman's rank correlation.

    Without ``clusters`` the points are taken as independent: the interval is Fisher's z with the
    variance (1 + r²/2)/(n − 3) of [BW], good for |r| < 0.95 or so. Lanes that share a seed are not
    independent; with ``clusters`` whole seeds are resampled, and the interval is z ± t·s, where s
    is the bootstrap's standard deviation of z times √(G/(G − 1)) and t has G − 1 degrees of
    freedom, for G seeds. (Percentiles of so few clusters would be too narrow.)

    Args:
        x: One number per lane, shape ``(lanes,)``.
        y: Likewise.
        level: Coverage.
        clusters: Each lane's seed, shape ``(lanes,)``.
        rng_seed: Seed of the resampling.
        n_resamples: Number of resamples.

    Returns:
        The correlation; ``n`` is the number of lanes, or of seeds if ``clusters`` is given. Where
        the ranks cannot tell (constant values, three lanes or fewer, one seed) the interval is (−1,
        1), and noted.
    """
    arms = np.zeros(np.shape(x), int)
    return rank_correlation(
        x, y, arms, clusters=clusters, rng_seed=rng_seed, n_resamples=n_resamples
    )(level)


def pooled_spearman(
    x: Any,
    y: Any,
    arms: Any,
    level: float = 0.95,
    *,
    clusters: Any | None = None,
    rng_seed: int = 0,
    n_resamples: int = 2000,
) -> Estimate:
    """Estimate the rank correlation within arms, over all arms together.

    Values are ranked within their arm, and ranks centred and divided by the arm's number of lanes,
    so that differences between arms (which the arms' settings cause) count for nothing and each
    lane counts about the same. The estimate is Pearson's correlation of these scores. Each arm's
    mean costs a degree of freedom: Fisher's interval uses n − (arms − 1) in place of n.

    Args:
        x: One number per lane, shape ``(lanes,)``.
        y: Likewise.
        arms: Each lane's arm, shape ``(lanes,)``.
        level: Coverage.
        clusters: Each lane's seed, shape ``(lanes,)``; resampled as a whole over all arms, see
            ``spearman``.
        rng_seed: Seed of the resampling.
        n_resamples: Number of resamples.

    Returns:
        The correlation; lanes that are alone in their arm are counted as excluded.
    """
    return rank_correlation(
        x, y, arms, clusters=clusters, rng_seed=rng_seed, n_resamples=n_resamples
    )(level)


def sampling_variance_from_counts(n10: Any, n01: Any, n_test: int) -> float:
    """Bound the variance that a shared, finite test set adds to a difference of test errors.

    The model: pair s of networks (one per arm, same seed) and test example e give d[s, e] = 1{first
    wrong} − 1{second wrong}; seeds and examples are both random and crossed, because all seeds are
    tested on the same examples: Var(d) = σ²(seed) + σ²(example) + σ²(seed × example). The mean over
    S seeds and N examples has variance σ²(seed)/S + σ²(example)/N + σ²(both)/(S·N). The spread
    between seeds covers the first and the third term; a larger number of seeds does nothing against
    the second. This returns the mean over seeds of McNemar's variance, (n10 + n01)/N − d² where d =
    (n10 − n01)/N, divided by N − 1: it estimates (σ²(example) + σ²(both))/N, so it is too large by
    at most σ²(both)/N.

    Args:
        n10: Number of test examples that only the first network of each pair gets wrong, shape
            ``(seeds,)``.
        n01: Number that only the second gets wrong.
        n_test: Number of test examples, N ≥ 2.

    Returns:
        The variance of the error difference due to the test examples (errors as fractions of one).

    Raises:
        ValueError: A count is negative or two exceed ``n_test``, or ``n_test`` is below 2.
    """
    first, second = np.asarray(n10, np.float64), np.asarray(n01, np.float64)
    if n_test < 2 or (first < 0).any() or (second < 0).any() or (first + second > n_test).any():
        raise ValueError(
            "counts must be at least 0 and together at most n_test, which is at least 2"
        )
    difference = (first - second) / n_test
    return float(np.mean((first + second) / n_test - difference**2) / (n_test - 1))


def sampling_variance_from_examples(difference: Any) -> float:
    """Estimate the variance that a shared, finite test set adds, from per-example differences.

    Sharper than ``sampling_variance_from_counts`` where the examples' differences were kept: the
    variance over examples of d[e], the mean over seeds of d[s, e], divided by N, estimates
    σ²(example)/N + σ²(both)/(S·N): too large by the second term only.

    Args:
        difference: d[e], shape ``(examples,)``: over the seeds, the fraction in which the first
            network was wrong minus the fraction in which the second was.

    Returns:
        The variance of the error difference due to the test examples.

    Raises:
        ValueError: There are fewer than two examples.
    """
    values = np.asarray(difference, np.float64)
    if values.size < 2:
        raise ValueError("a variance over test examples needs at least two of them")
    return float(np.var(values, ddof=1) / values.size)


def with_test_sampling_error(
    differences: Any, test_variance: float, n_test: int, level: float = 0.95
) -> Estimate:
    """Estimate a difference of test errors for new seeds and for new test examples.

    The variance is the sum of the seeds' (s²/S, which also holds the interaction's share) and the
    test set's; the sum counts the interaction twice and errs on the wide side. Degrees of freedom
    follow Satterthwaite [S], with S − 1 for the first and N − 1 for the second.

    Args:
        differences: Error of the first minus error of the second network, per seed, shape
            ``(seeds,)``.
        test_variance: From ``sampling_variance_from_counts`` or
            ``sampling_variance_from_examples``.
        n_test: Number of test examples, N.
        level: Coverage.

    Returns:
        The mean difference; with one seed the interval is infinite.
    """
    from scipy import stats

    kept, excluded = _finite(differences)
    method = "t, seeds and test set"
    if kept.size < 2:
        return _t_interval(kept, level, method, excluded)
    _check_level(level)
    seeds = 0.0 if (kept == kept[0]).all() else float(np.var(kept, ddof=1)) / kept.size
    total = seeds + test_variance
    value = _mean(kept)
    if total == 0:
        return Estimate(value, value, value, kept.size, level, method, excluded, _NO_SPREAD)
    freedom = total**2 / (seeds**2 / (kept.size - 1) + test_variance**2 / (n_test - 1))
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(total)
    return Estimate(value, value - half, value + half, kept.size, level, method, excluded)


def paired_error_difference(
    n10: Any, n01: Any, n_test: int, level: float = 0.95, *, per_example: Any | None = None
) -> Estimate:
    """Estimate a difference of test errors from counts, test-set sampling error included.

    Args:
        n10: Number of test examples that only the first network of each pair gets wrong, shape
            ``(seeds,)``; NaN for an excluded pair.
        n01: Number that only the second gets wrong.
        n_test: Number of test examples.
        level: Coverage.
        per_example: d[e] of ``sampling_variance_from_examples``, over the same pairs, if it was
            kept.

    Returns:
        The mean of (n10 − n01)/n_test with the interval of ``with_test_sampling_error``.

    Raises:
        ValueError: As for ``sampling_variance_from_counts``.
    """
    first, second = _aligned(n10, n01)
    used = np.isfinite(first) & np.isfinite(second)
    if per_example is not None:
        variance = sampling_variance_from_examples(per_example)
    elif used.any():
        variance = sampling_variance_from_counts(first[used], second[used], n_test)
    else:
        variance = 0.0
    return with_test_sampling_error((first - second) / n_test, variance, n_test, level)


@dataclass(frozen=True)
class Comparison:
    """What one comparison says about a claim, at any level asked for.

    Attributes:
        estimate: Level to estimate with a two-sided, equal-tailed interval; a higher level must not
            give a narrower one.
        smallest_effect: The smallest effect that matters, ≥ 0, in the estimate's unit (0 for any
            effect).
        direction: +1 if the claim is that the effect exceeds ``origin + smallest_effect``; −1 if it
            is that the effect falls short of ``origin − smallest_effect``.
        origin: The value that means no effect: 0 for a difference, 1 for a ratio.
    """

    estimate: Callable[[float], Estimate]
    smallest_effect: float
    direction: int
    origin: float = 0.0

    def __post_init__(self) -> None:
        if self.direction not in (1, -1):
            raise ValueError(f"direction is {self.direction}; it must be +1 or -1")
        if not (math.isfinite(self.smallest_effect) and self.smallest_effect >= 0):
            raise ValueError(f"smallest_effect is {self.smallest_effect}; it must be 0 or more")

    @property
    def boundary(self) -> float:
        """The effect at which the claim begins to hold."""
        return self.origin + self.direction * self.smallest_effect


def simultaneous(
    comparisons: Mapping[Name, Comparison], alpha: float = 0.05
) -> dict[Name, Estimate]:
    """Make intervals that hold for all comparisons at once and agree with Holm's procedure.

    For comparison i let ψᵢ be the effect in the claimed direction and cᵢ its boundary. Two families
    of m one-sided hypotheses are tested, each by Holm's step-down [H] at α/2: "ψᵢ ≤ cᵢ" (rejected:
    supported) and "ψᵢ ≥ cᵢ" (rejected: refuted). While k of a family are unrejected, one is
    rejected if the bound at level 1 − α/(2k), which is the end of the two-sided interval at 1 −
    α/k, lies beyond cᵢ. So where all rejections go one way these are the decisions of Holm's
    procedure on two-sided p-values at α; otherwise it is more cautious, which is the price of
    concluding directions and not only "not equal".

    The bounds are those of [G] and [SB] that belong to this test. In each family: a rejected
    comparison's bound is cᵢ itself (the end is open); an unrejected one's is its one-sided bound at
    1 − α/(2k) for the k unrejected at the end; if all m are rejected, the bound at 1 − α/(2m) where
    that says more than cᵢ.

    Guaranteed, whatever the dependence between comparisons, if each one-sided bound covers as it
    says: with probability ≥ 1 − α all m intervals cover their effects; hence with probability ≥ 1 −
    α no comparison is supported or refuted wrongly; and an interval lies beyond (short of) its
    boundary if and only if Holm's test says supported (refuted). An interval that ends at its
    boundary does not say how far beyond the effect lies: the comparison's own interval,
    ``comparison.estimate(1 − α)``, does, for that one alone.

    Args:
        comparisons: The comparisons of one study, by name. All of them, decided beforehand: those
            that turned out dull as well.
        alpha: Probability of any wrong interval, between 0 and 1.

    Returns:
        Per comparison, its estimate with the simultaneous interval and ``level = 1 − alpha``.
    """
    _check_level(1 - alpha)
    supported = _holm_bounds(comparisons, alpha, claimed=True)
    refuted = _holm_bounds(comparisons, alpha, claimed=False)
    made = {}
    for name, comparison in comparisons.items():
        own = comparison.estimate(1 - alpha)
        near, far = supported[name], refuted[name]  # ends towards "short of it" and "beyond it"
        low, high = (near, far) if comparison.direction == 1 else (far, near)
        made[name] = replace(
            own,
            low=low[0],
            high=high[0],
            low_open=low[1],
            high_open=high[1],
            level=1 - alpha,
            method=f"{own.method}; Holm over {len(comparisons)}",
        )
    return made


def _holm_bounds(
    comparisons: Mapping[Name, Comparison], alpha: float, *, claimed: bool
) -> dict[Name, tuple[float, bool]]:
    """Run one family of ``simultaneous``: each comparison's bound and whether it is open."""
    # A lower bound refutes "ψ ≤ c" of a claim upwards; signs turn the other cases into this one.
    sign = {n: c.direction if claimed else -c.direction for n, c in comparisons.items()}
    bounds: dict[tuple[Name, int], float] = {}

    def bound(name: Name, k: int) -> float:
        """One-sided lower bound, at 1 − alpha/(2k), of sign · effect."""
        if (name, k) not in bounds:
            made = comparisons[name].estimate(1 - alpha / k)
            bounds[name, k] = made.low if sign[name] == 1 else -made.high
        return bounds[name, k]

    start = {n: sign[n] * c.boundary for n, c in comparisons.items()}
    left = list(comparisons)
    while left:
        # All that pass at this k would pass one after another: later steps ask for less.
        still = [name for name in left if not bound(name, len(left)) > start[name]]
        if len(still) == len(left):
            break
        left = still

    result = {}
    for name in comparisons:
        if name in left:
            end, is_open = bound(name, len(left)), False
        else:
            informative = -math.inf if left else bound(name, len(comparisons))
            end = max(start[name], informative)
            is_open = end == start[name]
        result[name] = (sign[name] * end, is_open)
    return result


_NO_SPREAD = "no spread between the values: the interval has no width"


def _interval(
    values: np.ndarray, level: float, method: IntervalMethod, rng_seed: int, prefix: str
) -> Estimate:
    if method == "bootstrap":
        made = bootstrap_interval(values, level, rng_seed=rng_seed)
    elif method == "t":
        made = mean_interval(values, level)
    else:
        raise ValueError(f"method is {method!r}; it must be 't' or 'bootstrap'")
    return replace(made, method=prefix + made.method)


def _t_interval(kept: np.ndarray, level: float, method: str, excluded: int) -> Estimate:
    from scipy import stats

    _check_level(level)
    value = _mean(kept)
    short = _too_few(kept, value, level, method, excluded)
    if short is not None:
        return short
    error = float(np.std(kept, ddof=1)) / math.sqrt(kept.size)
    half = float(stats.t.ppf((1 + level) / 2, kept.size - 1)) * error
    return Estimate(value, value - half, value + half, kept.size, level, method, excluded)


def _mean(kept: np.ndarray) -> float:
    """Take the mean, exactly where all values are equal (a sum of tenths is not a whole)."""
    if not kept.size:
        return math.nan
    return float(kept[0] if (kept == kept[0]).all() else kept.mean())


def _too_few(
    kept: np.ndarray, value: float, level: float, method: str, excluded: int
) -> Estimate | None:
    """Handle what has no spread to build an interval on."""
    if kept.size < 2:
        found = "one value" if kept.size else "no value"
        note = f"{found}: no spread can be estimated, the interval is infinite"
        return Estimate(value, -math.inf, math.inf, kept.size, level, method, excluded, note)
    if (kept == kept[0]).all():
        # Compared, and not through the variance, whose rounding would make a spread out of nothing.
        return Estimate(value, value, value, kept.size, level, method, excluded, _NO_SPREAD)
    return None


def _scipy_bootstrap(
    values: np.ndarray,
    statistic: Callable[..., Any],
    level: float,
    rng_seed: int,
    n_resamples: int,
    method: str,
) -> tuple[float, float]:
    import warnings

    from scipy import stats

    # SciPy renamed the argument in 1.15.
    names = inspect.signature(stats.bootstrap).parameters
    generator = {"rng" if "rng" in names else "random_state": np.random.default_rng(rng_seed)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate resampling shows in the ends, as NaN
        interval = stats.bootstrap(
            (values,),
            statistic,
            n_resamples=n_resamples,
            batch=max(1, 2_000_000 // values.size),  # bounds memory at 16 MB
            confidence_level=level,
            method=method,
            vectorized=True,
            **generator,
        ).confidence_interval
    return float(interval.low), float(interval.high)


def rank_correlation(
    x: Any,
    y: Any,
    arms: Any,
    *,
    clusters: Any | None = None,
    rng_seed: int = 0,
    n_resamples: int = 2000,
) -> Callable[[float], Estimate]:
    """Prepare :func:`pooled_spearman` for several levels, resampling once.

    Arguments are those of :func:`pooled_spearman`.

    Returns:
        A function from a level to the estimate.
    """
    from scipy import stats

    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    arms = np.asarray(arms)
    groups = None if clusters is None else np.asarray(clusters)
    shapes = {
        first.shape,
        second.shape,
        arms.shape,
        first.shape if groups is None else groups.shape,
    }
    if len(shapes) != 1 or first.ndim != 1:
        raise ValueError("x, y, arms and clusters must be one-dimensional and of one length")
    usable = np.isfinite(first) & np.isfinite(second)
    arm_of = np.unique(arms, return_inverse=True)[1]
    # A lane alone in its arm has a rank of 0 whatever its value.
    company = np.bincount(arm_of[usable], minlength=arm_of.max(initial=0) + 1)
    usable &= company[arm_of] > 1
    first, second, arm_of = first[usable], second[usable], arm_of[usable]
    arm_of = np.unique(arm_of, return_inverse=True)[1]
    n_lanes, n_arms = first.size, int(arm_of.max(initial=-1)) + 1
    excluded = int((~usable).sum())
    value = float(_within_arm_correlation(first, second, arm_of, np.ones((n_lanes, 1)))[0])

    why = "too few lanes" if n_lanes < 4 else ""
    if groups is None:
        n, method = n_lanes, "Fisher z (Bonett-Wright)"
        freedom = n_lanes - (n_arms - 1) - 3
        why = why or ("too few lanes" if freedom < 1 else "")
    else:
        group_of = np.unique(groups[usable], return_inverse=True)[1]
        n, method = int(group_of.max(initial=-1)) + 1, "bootstrap of seeds, t on z scale"
        freedom = n - 1
        why = why or ("fewer than two seeds" if freedom < 1 else "")
    if math.isnan(value):
        why = "values without spread, or none"

    def everything(level: float, note: str) -> Estimate:
        _check_level(level)
        note = f"{note}: the interval is everything"
        return Estimate(value, -1.0, 1.0, n, level, method, excluded, note)

    if why:
        return functools.partial(everything, note=why)

    # A perfect correlation has no z; what bounds it is the largest one that so many ranks can have
    # below.
    cap = math.atanh(1 - 12 / (n_lanes * (n_lanes**2 - 1)))
    z = _z(value, cap)
    if groups is None:
        error = math.sqrt((1 + math.tanh(z) ** 2 / 2) / freedom)
        quantile = stats.norm.ppf
    else:
        rng = np.random.default_rng(rng_seed)
        times = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).T  # (seeds, resamples)
        # Some resamples at a time: many seeds would otherwise take gigabytes.
        block = max(1, _BLOCK_NUMBERS // n_lanes)
        parts = [
            _within_arm_correlation(
                first, second, arm_of, times[group_of, start : start + block].astype(float)
            )
            for start in range(0, n_resamples, block)
        ]
        drawn = np.concatenate(parts)
        drawn = _z(drawn[np.isfinite(drawn)], cap)
        if drawn.size < 2:
            return functools.partial(everything, note="no resample has spread")
        error = float(np.std(drawn, ddof=1)) * math.sqrt(n / (n - 1))
        quantile = functools.partial(stats.t.ppf, df=freedom)

    def at(level: float) -> Estimate:
        _check_level(level)
        half = float(quantile((1 + level) / 2)) * error
        low, high = math.tanh(z - half), math.tanh(z + half)
        return Estimate(value, min(low, value), max(high, value), n, level, method, excluded)

    return at


def _z(r: Any, cap: float) -> Any:
    """Apply Fisher's transformation, bounded."""
    limit = math.tanh(cap)
    return np.arctanh(np.clip(r, -limit, limit))


def _within_arm_correlation(
    x: np.ndarray, y: np.ndarray, arm_of: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Correlate ranks within arms for many resamples at once.

    A lane drawn w times counts as w tied lanes, so its rank is the number of drawn lanes below it,
    plus half the number level with it, plus one half.

    Args:
        x: Shape ``(lanes,)``.
        y: Shape ``(lanes,)``.
        arm_of: Each lane's arm, 0, 1, ….
        times: How often each lane is drawn, shape ``(lanes, resamples)``.

    Returns:
        Correlations, shape ``(resamples,)``; NaN where there is no spread.
    """
    products = np.zeros((3, times.shape[1]))  # xx, yy, xy
    for arm in range(int(arm_of.max(initial=-1)) + 1):
        at = arm_of == arm
        counts = times[at]
        drawn = counts.sum(axis=0)
        scores = []
        for values in (x[at], y[at]):
            place = np.unique(values, return_inverse=True)[1]
            level = np.zeros((place.max(initial=-1) + 1, counts.shape[1]))
            np.add.at(level, place, counts)
            below = np.cumsum(level, axis=0) - 0.5 * level
            scores.append((below[place] - drawn / 2) / np.maximum(drawn, 1))
        for k, (i, j) in enumerate(((0, 0), (1, 1), (0, 1))):
            products[k] += (counts * scores[i] * scores[j]).sum(axis=0)
    norm = np.sqrt(products[0] * products[1])
    spread = norm > 0
    return np.where(spread, np.clip(products[2] / np.where(spread, norm, 1), -1, 1), np.nan)


def _finite(values: Any) -> tuple[np.ndarray, int]:
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"values have shape {array.shape}; one number per seed is needed")
    finite = np.isfinite(array)
    return array[finite], int((~finite).sum())


def _aligned(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Match two sets of values by their seeds, or by position; a missing partner is NaN."""
    named = ["seed" in getattr(values, "coords", {}) for values in (a, b)]
    if any(named) and not all(named):
        raise ValueError(
            "only one of the paired values has a coordinate seed; give both, or neither"
        )
    if all(named):
        by_seed = [_by_seed(values) for values in (a, b)]
        seeds = sorted({*by_seed[0], *by_seed[1]})
        first, second = (np.array([v.get(s, math.nan) for s in seeds], float) for v in by_seed)
        return first, second
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"paired values have shapes {first.shape} and {second.shape}; pair by seed"
        )
    return first, second


def _by_seed(values: Any) -> dict[int, float]:
    seeds = np.asarray(values.coords["seed"].values)
    if seeds.shape != values.shape or np.unique(seeds).size != seeds.size:
        raise ValueError("each seed must have one value; select one arm before pairing")
    return dict(zip(seeds.tolist(), np.asarray(values.values, float).tolist(), strict=True))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
