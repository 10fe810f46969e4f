"""Kernels of networks, and how they move in training."""

from implicit_bias.kernels.drift import kernel_distance as kernel_distance
from implicit_bias.kernels.drift import relative_change as relative_change
from implicit_bias.kernels.empirical import empirical_ntk as empirical_ntk
