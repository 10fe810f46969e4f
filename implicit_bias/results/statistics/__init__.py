"""Numbers with intervals.

The unit of replication is the seed: a lane's examples, probes and steps are not independent of each
other, its seed is independent of other seeds. So every function here takes one number per seed (or
says how seeds enter), and comparisons are paired by seed.

Values that are not finite (a diverged or excluded lane) are left out, with their partner where
values are paired, and counted in ``Estimate.excluded``.
"""

from implicit_bias.results.statistics.error_difference import (
    paired_error_difference as paired_error_difference,
)
from implicit_bias.results.statistics.error_difference import (
    sampling_variance_from_counts as sampling_variance_from_counts,
)
from implicit_bias.results.statistics.error_difference import (
    sampling_variance_from_examples as sampling_variance_from_examples,
)
from implicit_bias.results.statistics.error_difference import (
    with_test_sampling_error as with_test_sampling_error,
)
from implicit_bias.results.statistics.estimate import NOT_NEGATIVE as NOT_NEGATIVE
from implicit_bias.results.statistics.estimate import PERCENT as PERCENT
from implicit_bias.results.statistics.estimate import UNBOUNDED as UNBOUNDED
from implicit_bias.results.statistics.estimate import Estimate as Estimate
from implicit_bias.results.statistics.holm import Comparison as Comparison
from implicit_bias.results.statistics.holm import simultaneous as simultaneous
from implicit_bias.results.statistics.intervals import bootstrap_interval as bootstrap_interval
from implicit_bias.results.statistics.intervals import mean_interval as mean_interval
from implicit_bias.results.statistics.paired import IntervalMethod as IntervalMethod
from implicit_bias.results.statistics.paired import geometric_mean_ratio as geometric_mean_ratio
from implicit_bias.results.statistics.paired import paired_difference as paired_difference
from implicit_bias.results.statistics.ranks import pooled_spearman as pooled_spearman
from implicit_bias.results.statistics.ranks import rank_correlation as rank_correlation
from implicit_bias.results.statistics.ranks import spearman as spearman
