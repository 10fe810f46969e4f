"""Tables of the PAC-Bayes study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import mean_interval
from implicit_bias.results.table import (
    Table,
    format_estimate,
    format_number,
    make_table,
    words_then_numbers,
)
from implicit_bias.studies.pac_bayes.certificates import BETAS, KINDS, STAGE
from implicit_bias.studies.pac_bayes.coverage import BOUNDS, DESIGNS
from implicit_bias.studies.pac_bayes.information import ACTIVATIONS, ESTIMATORS
from implicit_bias.studies.pac_bayes.network import LEAST
from implicit_bias.studies.pac_bayes.posterior import LAWS, NETS
from implicit_bias.studies.pac_bayes.rules_others import constants, information_rows
from implicit_bias.studies.pac_bayes.script import PRINTS
from implicit_bias.studies.rows import by_seed, has
from implicit_bias.studies.seed_means import INTERVALS

if TYPE_CHECKING:
    import xarray as xr


PUBLISHED: tuple[tuple[str, str, str, str, str], ...] = (
    ("Dziugaite & Roy 2017", "784-600-1, two groups of digits", "random start", "5,144", ".161"),
    (
        "Dziugaite & Roy 2017",
        "the same, random labels",
        "random start",
        "201,131",
        "1.352 (square root)",
    ),
    ("Zhou et al. 2019", "LeNet-5, compressed", "universal code", "n/a", ".46"),
    ("Pérez-Ortiz et al. 2021", "784-600-600-600-10", "half of the examples", "n/a", ".0279"),
)
"""Published bounds on MNIST errors: source, network, prior, KL, bound."""


def tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = {
        # Two tables: with all four laws a row's name has a few columns of a terminal left.
        STAGE: (
            lambda result: _terms(result, tuple(LAWS)[:2]),
            lambda result: _terms(result, tuple(LAWS)[2:]),
            _bounds,
            _published,
            _exercise,
        ),
        "coverage": (_coverage, _excess),
        "script": (_script,),
        "sharp": (_sharp,),
        "information": (_information,),
    }
    return [table(result) for arm, some in made.items() if has(result, arm) for table in some]


def mean(values: np.ndarray) -> str:
    """Write a mean over seeds; a number alone where all are one."""
    if np.isfinite(values).all() and np.ptp(values) <= 1e-9 * np.abs(values).max():
        return format_number(float(values[0]))
    return format_estimate(mean_interval(values))


def _terms(result: xr.Dataset, laws: tuple[str, ...]) -> Table:
    """Every term of the bound, one column a law."""
    heads = list(laws)
    delta, sampling = (
        by_seed(result, STAGE, f"certify_{n}")[0] for n in ("delta", "sampling_delta")
    )

    def row(words: str, name: str, **at: Any) -> list[Any]:
        return [
            words,
            *(mean(by_seed(result, STAGE, f"law_{name}", law=law, **at)) for law in heads),
        ]

    def computed(words: str, what: Any) -> list[Any]:
        given = (
            {
                n: by_seed(result, STAGE, f"law_{n}", law=law)
                for n in ("examples", "prior", "kl", "draws")
            }
            for law in heads
        )
        return [words, *(mean(what(one)) for one in given)]

    def spent(one: dict[str, np.ndarray]) -> np.ndarray:
        return np.log(2 * np.sqrt(one["examples"]) * np.pi**2 * one["prior"] ** 2 / (6 * delta))

    rows: list[list[Any]] = [
        row("examples in the bound, m", "examples"),
        row("weights, d", "weights"),
        row("‖μ − prior's mean‖", "distance"),
        row("geometric mean of s", "spread"),
        row("prior's number, j", "prior"),
        row("KL(Q‖P), nats", "kl"),
        computed("ln(2√m/δ_j), nats", spent),
        computed(
            "slack (KL + ln(2√m/δ_j))/m", lambda one: (one["kl"] + spent(one)) / one["examples"]
        ),
    ]
    for loss in result["bounded_loss"].values:
        own = {"bounded_loss": loss}
        rows += [
            row(f"{loss} on the sample, drawn networks", "sampled", **own),
            computed("ln(2/δ_s)/networks drawn", lambda one: np.log(2 / sampling) / one["draws"]),
            row(f"{loss} on the sample at most", "risk", **own),
            row(f"bound on the {loss}", "bound", bound_kind=KINDS[0], **own),
            row(f"{loss} on test examples", "test", **own),
        ]
    rows.append(row("test error of the network with weights μ", "centre"))
    return make_table(
        ["term", *heads], rows, align=words_then_numbers(1, len(heads)),
        caption=f"Every term of the bounds of Gaussian laws of networks, {' and '.join(heads)}; inverse of "
        f"kl; {INTERVALS}",
        notes=(
            *(f"{name}: {LAWS[name]}" for name in heads),
            f"δ = {delta:g} for the bound, shared by all priors c exp(−j/b) as δ_j = 6δ/(π²j²); δ_s = "
            f"{sampling:g} for the error on the sample, from drawn networks",
            f"cross-entropy is clipped at probability {LEAST:g} and divided by its largest value",
            "test examples have true labels, so that they say nothing of random ones: there "
            "the true error is 1 − 1/K",
        ),
    )  # fmt: skip


def _bounds(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = [
        [
            law,
            *(
                mean(
                    by_seed(
                        result, STAGE, "law_bound", law=law, bounded_loss="error", bound_kind=kind
                    )
                )
                for kind in KINDS
            ),
        ]
        for law in LAWS
    ]
    return make_table(
        ["law", *KINDS], rows, align=words_then_numbers(1, len(KINDS)),
        caption=f"Bounds on the error of the laws; {INTERVALS}",
        notes=(f"Catoni: the least over β of {', '.join(f'{beta:g}' for beta in BETAS)}, which share δ",),
    )  # fmt: skip


def _published(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for law in LAWS:
        found = by_seed(
            result, STAGE, "law_bound", law=law, bounded_loss="error", bound_kind=KINDS[0]
        )
        size = int(by_seed(result, STAGE, "law_weights", law=law)[0])
        kl = mean(by_seed(result, STAGE, "law_kl", law=law))
        rows.append(["here", f"{size:,} weights", law, kl, mean(found)])
    rows += [list(row) for row in PUBLISHED]
    return make_table(
        ["source", "network", "prior or labels", "KL, nats", "bound"], rows, align=words_then_numbers(3, 2),
        caption=f"Bounds on the error, and published ones for MNIST; here: inverse of kl, {INTERVALS}",
        notes=("published ones are for other networks, some for two groups of classes: they stand beside, "
               "they are not repeated",
               "square root: risk and √(slack/2), by Pinsker's inequality, which can exceed one, as the "
               "inverse of kl cannot"),
    )  # fmt: skip


def _exercise(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for net in NETS:
        at = {"net": net}
        for scale in result["prior_std"].values:
            own = {**at, "prior_std": scale}
            rows.append([
                net, f"{scale:g}",
                mean(by_seed(result, STAGE, "stated_kl", **own)),
                *(mean(by_seed(result, STAGE, "stated_bound", formula=f, **own))
                  for f in ("task", "hint", "valid")),
                mean(by_seed(result, STAGE, "noisy_spread", **own)),
                mean(by_seed(result, STAGE, "noisy_kl", **own)),
                mean(by_seed(result, STAGE, "noisy_bound", **own)),
            ])  # fmt: skip
    told = [
        f"{net}: ‖w‖ {mean(by_seed(result, STAGE, 'net_norm', net=net))}, error on the sample "
        f"{mean(by_seed(result, STAGE, 'net_train', net=net, bounded_loss='error'))}, on test examples "
        f"{mean(by_seed(result, STAGE, 'net_test', net=net, bounded_loss='error'))}"
        for net in NETS
    ]
    return make_table(
        ["labels", "σ", "‖w‖²/2σ²", "bound, task", "bound, hint", "bound, KL = ∞", "s", "KL of N(w, s²I)",
         "bound of N(w, s²I)"],
        rows, align=words_then_numbers(1, 8),
        caption=f"Exercise C.18: priors N(0, σ²I), bounds on the error; {INTERVALS}",
        notes=(
            *told,
            "the task's and the hint's formulas take ‖w‖²/2σ² for the KL of a point mass, which is infinite",
            "s is that of least bound among those tried; δ is shared by the priors",
        ),
    )  # fmt: skip


def _cover(result: xr.Dataset, name: str, caption: str, notes: tuple[str, ...] = ()) -> Table:
    rows = [
        [bound, *(mean(by_seed(result, "coverage", name, bound=bound, design=d)) for d in DESIGNS)]
        for bound in BOUNDS
    ]
    return make_table(
        ["bound", *DESIGNS], rows, align=words_then_numbers(1, len(DESIGNS)),
        caption=f"{caption}; {INTERVALS}", notes=notes,
    )  # fmt: skip


def _coverage(result: xr.Dataset) -> Table:
    delta = by_seed(result, "coverage", "cover_delta")[0]
    count = int(np.nansum(by_seed(result, "coverage", "cover_draws")))
    return _cover(
        result, "cover_wrong", "Share of samples on which a bound is wrong for any of the tried laws",
        (f"δ = {delta:g}; {count:,} samples of each design",
         "half the slack is wrong on purpose, to see that a wrong constant is found out"),
    )  # fmt: skip


def _excess(result: xr.Dataset) -> Table:
    return _cover(result, "cover_excess", "Least bound less the true risk of its law")


def _script(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = [
        [name, f"{said:g}", f"{by_seed(result, 'script', f'own_{name}')[0]:.4f}",
         mean(by_seed(result, "script", f"script_{name}"))]
        for name, said in PRINTS.items()
    ]  # fmt: skip
    rows += [
        [
            f"law of finite KL: {name}",
            "",
            "",
            mean(by_seed(result, "script", f"script_valid_{name}")),
        ]
        for name in ("kl", "train", "bound", "test", "wrong")
    ]
    return make_table(
        ["quantity", "printed", "script's own seed", "other draws"], rows, align=words_then_numbers(1, 3),
        caption=f"Solution C.14; other draws: {INTERVALS}",
        notes=("law of finite KL: N(w, s²I), s of least bound; wrong: share of data sets where it is "
               "below its error",),
    )  # fmt: skip


def _sharp(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for kind in result["sharp_labels"].values:
        for scale in result["sharp_scale"].values:
            at = {"sharp_labels": kind, "sharp_scale": scale}
            rows.append([
                kind, f"{scale:g}",
                *(mean(by_seed(result, "sharp", f"sharp_{n}", **at)) for n in ("loss", "lambda", "slack")),
                mean(by_seed(result, "sharp", "sharp_risk", sharp_labels=kind)),
                *(mean(by_seed(result, "sharp", f"sharp_{n}", **at))
                  for n in ("constant", "valid", "valid_risk")),
            ])  # fmt: skip
    notes = [
        f"{name}: constant needed {mean(values)}"
        for name, values in constants(result).items()
        if name.startswith("network")
    ]
    scales = result["memoriser_scale"].values
    bounds = [by_seed(result, "sharp", "memoriser_bound", memoriser_scale=c) for c in scales]
    notes.append(
        "random labels, weights times c beside noise that stays, least bound: "
        + ", ".join(f"{mean(each)} at {c:g}" for c, each in zip(scales, bounds, strict=True))
    )
    return make_table(
        ["labels", "scale", "L", "S", "√(S log(n/δ)/n)", "error", "constant needed", "PAC-Bayes bound",
         "its law's error"],
        rows, align=words_then_numbers(1, 8),
        caption=f"A bound by sharpness over scales of one classifier that fits all labels; {INTERVALS}",
        notes=notes,
    )  # fmt: skip


def _information(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for activation in ACTIVATIONS:
        for estimator in ESTIMATORS:
            cells = []
            for descent in result["descent"].values:
                path = information_rows(result, activation, estimator, descent)
                cells += [mean(np.nanmax(path, axis=1)), mean(path[:, -1])]
            rows.append([activation, estimator, *cells])
    steps = int(result["information_step"].values[-1])
    return make_table(
        ["activation", "estimator", "plain: largest", "plain: end", "noisy: largest", "noisy: end"],
        rows, align=words_then_numbers(2, 4),
        caption=f"I(X; Z) of the last hidden layer in parts of log n, {steps} steps; {INTERVALS}",
        notes=("without noise the layer is a function of its input: its information is its entropy",),
    )  # fmt: skip
