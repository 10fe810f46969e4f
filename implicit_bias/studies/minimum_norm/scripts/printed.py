"""What the chapter states and prints, and how near to it is near enough."""

from __future__ import annotations

import numpy as np

FIRST_SEED = 42
"""Seed of the scripts; the study's seed 0 repeats their numbers, the others are more of the same."""

APART = 100_000
"""Between the seeds of a script's runs within one of the study's."""


def seeds_of_script(seed: int, repeats: int) -> list[int]:
    """Return the seeds of a script's runs; the first one of the study's seed 0 is the script's own."""
    return [FIRST_SEED + seed + APART * repeat for repeat in range(repeats)]


ABOUT = 1.5
"""A number is what is stated if it is so up to this factor."""

C1_ITERATIONS = {0.5: 4000, 1.5: 1200, 1.99: 600}
"""Updates to ‖∇f‖ < 1e-6, by αλmax."""
C1_NORM, C1_CONDITION, C1_RATE = 0.8, 100.0, 0.99

C2_BATCHES = (4, 16, 50)
C2_NORMS = np.array([0.40, 0.52, 0.65])
C2_TESTS = np.array([0.012, 0.016, 0.021])
C2_TRAINS = np.array([0.008, 0.008, 0.009])
C2_EPOCHS = {4: 40, 50: 15}

C6_SLOW, C6_ALL, C6_ADAPTIVE, C6_SPEEDUP = 6900, 10_000, 2000, 5.0
C6_ACCURACY = 1e-7

S1_ITERATIONS = (10_000, 20_000, 30_000, 40_000, 50_000)
S1_GRADIENTS = np.array([1.2e-4, 3.4e-5, 9.8e-6, 2.1e-6, 5.3e-7])
S1_NORMS = np.array([8.234567, 8.324521, 8.335612, 8.336234, 8.336245])
S1_NEEDED = 50_000
"""Updates said to be needed for ‖∇f‖ < 1e-6."""

S2_BATCHES = (8, 32, 128)
S2_NORMS = np.array([0.3421, 0.4156, 0.5234])
S2_TRAINS = np.array([0.002341, 0.001923, 0.001876])
S2_TESTS = np.array([0.002658, 0.003124, 0.004521])
S2_CURVATURE = 2.1

S5_PENALTIES = (0.0, 1e-5, 1e-4, 1e-3, 1e-2)
S5_NORMS = np.array([0.5234, 0.5231, 0.5199, 0.4856, 0.3421])
S5_TRAINS = np.array([0.001876, 0.001879, 0.001892, 0.002103, 0.004523])
S5_TESTS = np.array([0.004521, 0.004523, 0.004508, 0.004341, 0.005234])

S6_COUNT, S6_SLOW, S6_SPEEDUP = 51, 5000, 100.0
