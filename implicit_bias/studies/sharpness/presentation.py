"""How the sharpness study was done, for the report."""

from __future__ import annotations

METHODS = """Two batch sizes and two step sizes are crossed, once for equal epochs and once until
the loss over the whole training set is at or below a target; the same seeds run everywhere, and a
seed decides weights, examples and order. Equal epochs leave a large batch with a small step far
from fitted, so that its sharpness is that of another stage of training: read differences at equal
loss.

Losses and derivatives are means over the same training examples. The largest eigenvalues of the
Hessian, and by changing its sign the smallest, come from Lanczos with thick restarts, stopped on
the residual; those whose residual is above tolerance are left out. The share of negative curvature
is by stochastic Lanczos quadrature. λmax of one lane a seed is checked against ARPACK.

Worst-case sharpness is the largest rise of the loss that projected gradient ascent finds within a
ball around the parameters, average-case sharpness the mean rise under random changes; both over
sweeps of radii, of which tables show the middle one. The adaptive ones measure each weight's change
in units of that weight (η = 0). Keskar's φ is as published, by 10 iterations of L-BFGS-B from the
parameters, in the whole space and in a random subspace with Gaussian columns.

All measures are taken again after the first layer is multiplied by α and the last divided by it,
which changes no output of a ReLU network; in coordinates ψ = cθ for the loss L(ψ/c), which is the
same function for any network; and at cθ, which is another function. A measure counts as invariant
if no lane changes by more than a part in a thousand. The same random numbers are used at all of
these points.

Statements about minima are tested where there is one: at critical points found by Newton's method
in float64, with gradient norms below 1e-9. Statements about quadratics are computed both as
published and as they are.

Intervals of verdicts hold simultaneously over all comparisons of the study at 95 % and agree with
Holm's procedure; those in tables and figures stand each alone. Shares kept, min(r, e)/max(r, e) of
a ratio r and what it should be, are averaged over the lanes of a seed, and seeds are what intervals
are made of. Differences of test errors cover new seeds and new test examples."""
