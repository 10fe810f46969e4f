"""Geometry of the loss around a set of parameters, and of the way to it."""

from implicit_bias.geometry.movement import distance as distance
from implicit_bias.geometry.movement import layerwise_movement as layerwise_movement
from implicit_bias.geometry.movement import layerwise_norms as layerwise_norms
from implicit_bias.geometry.movement import parameter_norm as parameter_norm
from implicit_bias.geometry.movement import relative_movement as relative_movement
from implicit_bias.geometry.perturbation import perturbation_curve as perturbation_curve
from implicit_bias.geometry.perturbation import random_direction as random_direction
