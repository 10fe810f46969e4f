"""The case list that every operator is held against, and the tests that operators share.

A case picks a network, a loss, a block of parameters, a chunk size, how lanes are mapped, and the rest.
"""

from tests.curvature.cases.bad_requests import every_bad_request as every_bad_request
from tests.curvature.cases.bad_requests import request as request
from tests.curvature.cases.compiling import quick as quick
from tests.curvature.cases.definite import check_semi_definite as check_semi_definite
from tests.curvature.cases.definite import semi_definite as semi_definite
from tests.curvature.cases.dense_matrices import check as check
from tests.curvature.cases.exact import Exact as Exact
from tests.curvature.cases.exact import exact as exact
from tests.curvature.cases.exact import positions as positions
from tests.curvature.cases.listing import CASES as CASES
from tests.curvature.cases.listing import FACTORS as FACTORS
from tests.curvature.cases.listing import Case as Case
from tests.curvature.cases.listing import all_pairs as all_pairs
from tests.curvature.cases.listing import every_case as every_case
from tests.curvature.cases.listing import pairs as pairs
from tests.curvature.cases.networks import CLASSES as CLASSES
from tests.curvature.cases.networks import NETWORKS as NETWORKS
from tests.curvature.cases.networks import N as N
from tests.curvature.cases.networks import make as make
from tests.curvature.cases.padding import check_padding as check_padding
from tests.curvature.cases.problems import DENSITIES as DENSITIES
from tests.curvature.cases.problems import Problem as Problem
from tests.curvature.cases.problems import lane_of as lane_of
from tests.curvature.cases.problems import matrices as matrices
from tests.curvature.cases.problems import plain as plain
from tests.curvature.cases.problems import targets as targets
from tests.curvature.cases.shared import shared_tests as shared_tests
from tests.curvature.cases.traced import check_precision as check_precision
from tests.curvature.cases.traced import check_shared_primal as check_shared_primal
