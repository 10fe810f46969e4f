"""Mutual information of a representation with its input and with labels, by estimators that disagree.

A layer of a network without noise is a function of its input. Where the input is continuous their mutual
information is infinite, unless the layer takes countably many values only (a constant layer has none, one of
signs the entropy of these); where it is one of n equally likely examples it is the layer's entropy, log n
unless two have the same representation. As long as no two come together, neither changes in training. What
is reported to change is the information of something else: the layer in bins, or the layer with noise that
the network does not have; and either depends on the width of bins or noise.

All values in nats.

References:
    [ST] R. Shwartz-Ziv, N. Tishby, *Opening the black box of deep neural networks via information*,
    arXiv 1703.00810: bins.
    [S] A. Saxe et al., *On the information bottleneck theory of deep learning*, ICLR 2018.
    [KT] A. Kolchinsky, B. Tracey, *Estimating mixture entropy with pairwise distances*, Entropy 19 (2017),
    equations 10 and 15.
    [G] Z. Goldfeld et al., *Estimating information flow in deep neural networks*, ICML 2019: noise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, finite, from_zero, not_negative, number


class Information(NamedTuple):
    """I(X; Z) and I(Z; Y), in nats."""

    inputs: float
    labels: float


def binned_information(z: Any, labels: Any, bins: int, low: float, high: float) -> Information:
    """Return the information of a layer whose units are put in bins: I(X; bin(Z)) and I(bin(Z); Y).

    Args:
        z: The layer for n equally likely inputs, (n, units).
        labels: Their labels, (n,).
        bins: Bins of a unit, of equal width.
        low: Where the first begins; what lies below is in it.
        high: Where the last ends.

    Raises:
        UserError: There are no bins, their range is empty, or a shape or a number does not fit.

    References:
        [ST], section 3.
    """
    layer, some = _layer(z), count("bins", bins)
    begin, end = number("low", low), number("high", high)
    if not begin < end:
        raise UserError(f"bins run from {begin:g} to {end:g}; give an increasing range")
    place = np.clip(np.floor((layer - begin) / (end - begin) * some), 0, some - 1).astype(int)
    _, cell = np.unique(place, axis=0, return_inverse=True)
    cell, y = np.ravel(cell), np.unique(_labels(labels, layer), return_inverse=True)[1]
    joint = np.zeros((cell.max() + 1, y.max() + 1))
    np.add.at(joint, (cell, y), 1 / len(layer))
    own, other = joint.sum(axis=1), joint.sum(axis=0)
    return Information(_entropy(own), _entropy(own) + _entropy(other) - _entropy(joint))


def noisy_information(
    z: Any, labels: Any, noise: float, rng: np.random.Generator, draws: int = 1
) -> Information:
    """Return the information of Z + N(0, σ²I) by sampling from it; unbiased, as its density is known.

    Args:
        z: The layer for n equally likely inputs, (n, units).
        labels: Their labels, (n,).
        noise: σ > 0.
        rng: For the draws.
        draws: Of each input.

    Raises:
        UserError: There is no noise: the information is then log n, or infinite for continuous inputs. Or a
            shape or a number does not fit.

    References:
        [G], section 4.
    """
    layer, sigma = _layer(z), _noise(noise)
    y = _labels(labels, layer)
    if not isinstance(rng, np.random.Generator):
        raise UserError(
            f"rng is of type {type(rng).__name__}; give a generator, such as numpy.random.default_rng(0)"
        )
    n = len(layer)
    same = y[:, None] == y[None, :]
    of_inputs = of_labels = 0.0
    for _ in range(count("draws", draws)):
        drawn = rng.standard_normal(layer.shape)
        logs = -_squares(layer + sigma * drawn, layer) / (2 * sigma**2)
        whole = _log_sum(logs) - np.log(n)
        own = _log_sum(np.where(same, logs, -np.inf)) - np.log(same.sum(axis=1))
        of_inputs += float(np.mean(-np.sum(drawn**2, axis=1) / 2 - whole)) / draws
        of_labels += float(np.mean(own - whole)) / draws
    return Information(of_inputs, of_labels)


def noisy_information_bounds(z: Any, noise: float) -> tuple[float, float]:
    """Return bounds on I(X; Z + N(0, σ²I)) from distances of pairs, below and above.

    Args:
        z: The layer for n equally likely inputs, (n, units).
        noise: σ > 0.

    Raises:
        UserError: There is no noise.

    References:
        [KT]: Bhattacharyya's coefficient below, Kullback's divergence above.
    """
    layer, sigma = _layer(z), _noise(noise)
    squares, count = _squares(layer, layer) / sigma**2, np.log(len(layer))
    low, high = (float(count - np.mean(_log_sum(-squares / part))) for part in (8, 2))
    return low, high


def gaussian_channel(variances: Any, noise: float) -> float:
    """Return I(Z; Z + N(0, σ²I)) = ½ Σ log(1 + v/σ²) of a Gaussian layer, exactly.

    Args:
        variances: Of its principal components, at least 0.
        noise: σ > 0.

    Raises:
        UserError: A variance is negative, or there is no noise.
    """
    values = not_negative("variances", variances)
    if not values.size:
        raise UserError("variances holds none; give that of at least one component")
    return float(np.sum(np.log1p(values / _noise(noise) ** 2)) / 2)


def _layer(z: Any) -> np.ndarray:
    layer = finite("the layer", z)
    if layer.ndim != 2:
        raise UserError(f"the layer has shape {layer.shape}; give (inputs, units)")
    return layer


def _labels(labels: Any, layer: np.ndarray) -> np.ndarray:
    """Return one label for each input: numbers or names."""
    found = np.asarray(labels)
    if found.shape != (len(layer),):
        raise UserError(
            f"labels have shape {found.shape}, but there are {len(layer)} inputs; give one each"
        )
    if found.dtype.kind not in "fiubUS" or (found.dtype.kind == "f" and np.isnan(found).any()):
        raise UserError("labels holds what is no label; give classes, by number or by name")
    return found


def _noise(noise: float) -> float:
    sigma = from_zero("noise", noise)
    if sigma == 0:
        raise UserError(
            "noise is 0, where the information of a layer is infinite, or log n of n inputs, whatever "
            "the network; choose a positive noise"
        )
    return sigma


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return squared distances; unit by unit, as ‖a‖² + ‖b‖² − 2ab would lose small ones."""
    found = np.zeros((len(a), len(b)))
    for unit in range(a.shape[1]):
        found += (a[:, unit, None] - b[None, :, unit]) ** 2
    return found


def _log_sum(logs: np.ndarray) -> np.ndarray:
    top = logs.max(axis=1)
    return np.asarray(top + np.log(np.sum(np.exp(logs - top[:, None]), axis=1)))


def _entropy(shares: np.ndarray) -> float:
    some = shares[shares > 0]
    return float(-np.sum(some * np.log(some)))
