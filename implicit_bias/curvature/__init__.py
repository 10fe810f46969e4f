"""Curvature of the loss: operators, and the algorithms that accept any operator."""

from implicit_bias.curvature.activations import activation_hessian as activation_hessian
from implicit_bias.curvature.blocks import Block as Block
from implicit_bias.curvature.blocks import Selected as Selected
from implicit_bias.curvature.blocks import parameter_paths as parameter_paths
from implicit_bias.curvature.blocks import select as select
from implicit_bias.curvature.diagonal import DiagonalEstimate as DiagonalEstimate
from implicit_bias.curvature.diagonal import hutchinson_diagonal as hutchinson_diagonal
from implicit_bias.curvature.diagonal import squared_diagonal_sum as squared_diagonal_sum
from implicit_bias.curvature.eigenpairs import Eigenpairs as Eigenpairs
from implicit_bias.curvature.fisher import sampled_fisher as sampled_fisher
from implicit_bias.curvature.fisher import true_fisher as true_fisher
from implicit_bias.curvature.frobenius import FrobeniusEstimate as FrobeniusEstimate
from implicit_bias.curvature.frobenius import frobenius_norm as frobenius_norm
from implicit_bias.curvature.gauss_newton import gauss_newton as gauss_newton
from implicit_bias.curvature.gauss_newton import output_metric as output_metric
from implicit_bias.curvature.gradient_moments import empirical_fisher as empirical_fisher
from implicit_bias.curvature.gradient_moments import gradient_covariance as gradient_covariance
from implicit_bias.curvature.hessian import hessian as hessian
from implicit_bias.curvature.lanczos import lanczos as lanczos
from implicit_bias.curvature.lobpcg import lobpcg as lobpcg
from implicit_bias.curvature.memory_plan import SubspacePlan as SubspacePlan
from implicit_bias.curvature.memory_plan import plan_subspace as plan_subspace
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
from implicit_bias.curvature.smoothness import gradient_lipschitz as gradient_lipschitz
from implicit_bias.curvature.spectral_density import SpectralDensity as SpectralDensity
from implicit_bias.curvature.spectral_density import spectral_density as spectral_density
from implicit_bias.curvature.thick_restart import thick_restart_lanczos as thick_restart_lanczos
from implicit_bias.curvature.trace import hutch_plus_plus as hutch_plus_plus
from implicit_bias.curvature.trace import hutchinson_trace as hutchinson_trace
from implicit_bias.random_probes import TraceEstimate as TraceEstimate
