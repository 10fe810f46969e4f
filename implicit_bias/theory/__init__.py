"""Laws that experiments are held against: closed forms, exact distributions, limits.

Pure functions of numbers, in double precision; each says its equation and its source.
"""

from implicit_bias.theory.benign_overfitting import effective_ranks as effective_ranks
from implicit_bias.theory.benign_overfitting import head_size as head_size
from implicit_bias.theory.benign_overfitting import variance_order as variance_order
from implicit_bias.theory.double_descent import Risk as Risk
from implicit_bias.theory.double_descent import decaying_powers as decaying_powers
from implicit_bias.theory.double_descent import isotropic_risk as isotropic_risk
from implicit_bias.theory.double_descent import local_minimum as local_minimum
from implicit_bias.theory.double_descent import misspecified_risk as misspecified_risk
from implicit_bias.theory.double_descent import nested_risk as nested_risk
from implicit_bias.theory.double_descent import selected_risk as selected_risk
from implicit_bias.theory.ridge import anisotropic_risk as anisotropic_risk
from implicit_bias.theory.ridge import effective_penalty as effective_penalty
from implicit_bias.theory.ridge import optimal_penalty as optimal_penalty
from implicit_bias.theory.ridge import ridge_risk as ridge_risk
from implicit_bias.theory.ridge import stieltjes as stieltjes
from implicit_bias.theory.risk_law import risk_cdf as risk_cdf
from implicit_bias.theory.risk_law import risk_quantile as risk_quantile
