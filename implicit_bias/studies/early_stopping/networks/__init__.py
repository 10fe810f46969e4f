"""Networks that are trained too long, or held back: on a sine, and on images.

The study puts these into itself: settings as its section ``networks``, the stages behind its own, the
probe as its probe.
"""

from __future__ import annotations

from typing import Any

from implicit_bias.data import Dataset
from implicit_bias.studies.base import Stage, Trials
from implicit_bias.studies.early_stopping.networks.arms import lanes
from implicit_bias.studies.early_stopping.networks.arms import network_probe as network_probe
from implicit_bias.studies.early_stopping.networks.claims import NETWORK_CLAIMS as NETWORK_CLAIMS
from implicit_bias.studies.early_stopping.networks.drawings import (
    NETWORK_DRAWINGS as NETWORK_DRAWINGS,
)
from implicit_bias.studies.early_stopping.networks.sine import SmallStart
from implicit_bias.studies.early_stopping.networks.tables import network_tables as network_tables
from implicit_bias.studies.early_stopping.networks.validated import ValidatedSine

NETWORK_METHODS = """Networks on a sine are trained in double precision, seed by seed, as exercises C.4 and
C.8 have it; what these leave open is varied or named. C.4: all parameters begin from N(0, 0.01²), losses are
halves of mean squares, and the longer run has the same start and larger steps, which follow the same path.
C.8: PyTorch's default start, mean squares, batches without replacement; a seed whose loss stops being a
number is left out of its design and counted. Its control has few and noisy points, is trained on all of
them at once, and is drawn several times a seed, of which geometric means are kept.

Choices that were made after first results of seeds 0 to 7 had been seen: C.4 was first judged quantity by
quantity, at the stated time and later together, and was inconclusive; it is now judged at the stated time
by the largest distance of all quantities, and the longer run is a claim of its own. In C.8 optimum and test
losses were likewise put together. Printed gradients were first judged by the loss after 20 iterations, which
was inconclusive, and are now compared exactly. The control of C.8 was chosen among about ten combinations of
points, noise, width, step size and length, by how much its test loss rises: it shows that such designs
exist, not how common they are. Other seeds are the test of these.

Networks on the run's data are dense ReLU networks with He's start, trained by SGD, with momentum in arm decay
alone. A penalty λΣ‖W‖² is a weight decay of 2λ in the gradient; it falls on biases too. Losses are
cross-entropies without the penalty, of all training examples after the epoch and of the test set. The gap is
test − training loss: the source defines the negative of it and reports this sign. Intervals of losses are
over seeds, which share one test set; those of accuracies that are held against a number cover new test
examples too. Published numbers of MNIST and CIFAR-10 are held against runs on these data alone."""


def sine(settings: Any, dataset: Dataset) -> SmallStart:
    """Return the network of exercise C.4."""
    del dataset
    return SmallStart(**settings.networks.sine.model_dump())


def validated(settings: Any, dataset: Dataset) -> ValidatedSine:
    """Return the network of exercise C.8."""
    del dataset
    return ValidatedSine(**settings.networks.validated.model_dump())


NETWORK_STAGES = (
    Stage("networks", lanes, measured=False),
    Trials("sine", sine),
    Trials("validated", validated),
)
"""What is trained and tried."""
