"""Curvature of the loss: operators, and the algorithms that accept any operator."""

from implicit_bias.curvature.blocks import Block as Block
from implicit_bias.curvature.blocks import Selected as Selected
from implicit_bias.curvature.blocks import parameter_paths as parameter_paths
from implicit_bias.curvature.blocks import select as select
from implicit_bias.curvature.eigenpairs import Eigenpairs as Eigenpairs
from implicit_bias.curvature.fisher import empirical_fisher as empirical_fisher
from implicit_bias.curvature.fisher import gradient_covariance as gradient_covariance
from implicit_bias.curvature.fisher import sampled_fisher as sampled_fisher
from implicit_bias.curvature.fisher import true_fisher as true_fisher
from implicit_bias.curvature.gauss_newton import gauss_newton as gauss_newton
from implicit_bias.curvature.gauss_newton import output_metric as output_metric
from implicit_bias.curvature.hessian import hessian as hessian
from implicit_bias.curvature.lanczos import lanczos as lanczos
from implicit_bias.curvature.noise import NoiseEstimate as NoiseEstimate
from implicit_bias.curvature.noise import gradient_covariance_trace as gradient_covariance_trace
from implicit_bias.curvature.noise import minibatch_covariance_trace as minibatch_covariance_trace
from implicit_bias.curvature.noise import (
    minibatch_gradient_covariance_trace as minibatch_gradient_covariance_trace,
)
from implicit_bias.curvature.operators import LinearOperator as LinearOperator
from implicit_bias.curvature.operators import WeightedLoss as WeightedLoss
from implicit_bias.curvature.operators import dense as dense
from implicit_bias.curvature.operators import matrix_operator as matrix_operator
from implicit_bias.curvature.operators import restrict as restrict
from implicit_bias.curvature.power import power_iteration as power_iteration
from implicit_bias.curvature.trace import TraceEstimate as TraceEstimate
from implicit_bias.curvature.trace import hutchinson_trace as hutchinson_trace
