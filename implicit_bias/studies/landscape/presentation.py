"""Tables and methods of the landscape study; its figures are in ``drawings``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import NOT_NEGATIVE, PERCENT, mean_interval
from implicit_bias.results.table import Table, make_table
from implicit_bias.studies import paired_cells
from implicit_bias.studies.landscape.arms import ARMS, MEASURED
from implicit_bias.studies.landscape.derived import WAYS, barrier, end_points, trials
from implicit_bias.studies.landscape.drawings import DRAWINGS as DRAWINGS
from implicit_bias.studies.landscape.names import WAY_NAMES, pair_names
from implicit_bias.studies.landscape.special import walk_explained
from implicit_bias.studies.rows import geometric_mean

if TYPE_CHECKING:
    import xarray as xr

METHODS = """Every plane goes through the end point of a run. Raw directions are two orthonormal ones,
uniform over all parameters, so that a unit is a parameter's. Directions normalised by filter give every
unit's incoming weights a random change of a stated fraction of their own length, and leave biases alone
(Li et al. 2018); they are not made orthogonal. All arms of a seed get the planes of the same random
draws. The loss is the mean over the lane's training examples and over the test set. The Hessian over a
plane is exact: that of the loss as a function of the plane's two coordinates. The mean rise from middle
to boundary is averaged over planes first; intervals are over seeds.

The control of scale multiplies the first layer of a ReLU network and divides the last by it. No output
changes, so neither may a property of the function.

Straight lines run through two end points, beyond both by their distance (Keskar et al. 2017). A barrier
is the highest rise above the straight line between the values at both ends (Entezari et al. 2022).
Matching permutes hidden units so that the weights come closest (Ainsworth et al. 2023, weight
matching), in double precision. Curves are quadratic Bezier curves whose middle is trained on the
training set (Garipov et al. 2018), by Adam with the batches, the first step size and the number of
updates of the arm adam; the ends stay. A cross-entropy has no lowest point where all examples can be
fitted, so that a curve may go below its ends. All pairs share examples and data order; small and large
batches, and the two optimisers, also share initial weights, the two initialisations do not.

Random points near the initial weights lie at stated distances, relative to ‖θ₀‖, in directions uniform
on the sphere. A cross-entropy is never exactly zero; a point counts as one of zero loss where no
training example is misclassified, which asks for less.

The script of S.13 is run with its own generator and seed, and with others; what stands in it for
training is a random walk, and its loss is a mean of squares of outputs and labels."""


def tables(result: xr.Dataset) -> list[Table]:
    """Return end points, planes, paths, points near the start, the way there, and the script."""
    made = []
    for make in (_ends, _planes, _paths, _nearby, _special, _script):
        try:
            made.append(make(result))
        except NotDecidable:
            continue
    return made


def _ends(result: xr.Dataset) -> Table:
    rows = []
    for arm in MEASURED:
        lanes = end_points(result, arm)
        good = paired_cells.usable(lanes)
        lost = int((~good).sum())
        rows.append(
            [
                arm,
                ARMS[arm],
                int(lanes["batch_size"][0]),
                float(lanes["step_size"][0]),
                f"{int(good.sum())}" + (f" (−{lost})" if lost else ""),
                geometric_mean(lanes["train_loss"].where(good)),
                geometric_mean(lanes["test_loss"].where(good)),
                mean_interval(100 * lanes["test_error"].where(good), bounds=PERCENT),
                mean_interval(lanes["relative_movement"].where(good), bounds=NOT_NEGATIVE),
            ]
        )
    return make_table(
        ["arm", "what", "batch", "η", "seeds", "train loss", "test loss", "test error (%)",
         "‖θ − θ₀‖ / ‖θ₀‖"],
        rows,
        caption="End points: losses in nats, geometric means; errors and movement, means [95 % t-intervals "
        "over seeds, of the logarithm for losses]",
        notes=("seeds: lanes that count (− those that diverged)",),
    )  # fmt: skip


def _planes(result: xr.Dataset) -> Table:
    rows = []
    small = end_points(result, "small")
    for kind, name in (("raw", "raw"), ("filter", "filter-normalised")):
        for arm in MEASURED:
            lanes = end_points(result, arm)
            good = paired_cells.usable(lanes)
            rise = lanes[f"rise_{kind}"].where(good)
            test = rise.sel(split="test")
            above = test - small[f"rise_{kind}"].sel(split="test")
            known = above.values[np.isfinite(above.values)]
            curved = lanes[f"plane_curvature_{kind}"].sel(split="test", mode="larger").where(good)
            predicted = lanes[f"predicted_{kind}"].sel(split="train")
            exact = (rise.sel(split="train") / predicted).median("slice")
            share = f"{100 * float(np.mean(known > 0)):.0f} %" if known.size else "–"
            rows.append(
                [
                    name,
                    arm,
                    int(good.sum()),
                    geometric_mean(test.mean("slice")),
                    "" if arm == "small" else share,
                    geometric_mean(curved.mean("slice")),
                    mean_interval(exact),
                ]
            )
    reach, relative = float(result["a"].values[-1]), float(result["u"].values[-1])
    return make_table(
        ["planes", "arm", "seeds", "rise (nats)", "above small", "curvature", "rise / quadratic"],
        rows,
        caption=f"{result.sizes['slice']} random planes through each end point: mean rise of the test loss "
        f"from the middle to the boundary ({reach:g} parameters; {relative:g} of each unit's weights) and "
        "larger eigenvalue of its Hessian over the plane, geometric means over seeds [95 % t-intervals of "
        "the logarithm]",
        notes=(
            "above small: planes in which the test loss rises more than in the same plane of small",
            "curvature: nats per squared parameter; filter-normalised: per squared relative change",
            "rise / quadratic: rise of the training loss over what the Hessian of the plane predicts at "
            "its boundary, median over planes; 1 where the plane is a parabola as far as that",
        ),
    )


def _paths(result: xr.Dataset) -> Table:
    straight, matched = trials(result, "paths"), trials(result, "matching")
    rows = []
    for pair, name in pair_names(result).items():
        for way in WAYS:
            lanes = (matched if way == "matched" else straight).sel(pair=pair)
            apart = {"straight": lanes["apart"], "matched": lanes["matched_apart"]}.get(way)
            rows.append(
                [
                    name,
                    WAY_NAMES[way],
                    int(np.isfinite(lanes[f"{way}_loss_barrier"].sel(split="train")).sum()),
                    "" if apart is None else mean_interval(apart),
                    mean_interval(
                        lanes[f"{way}_loss_barrier"].sel(split="train"), bounds=NOT_NEGATIVE
                    ),
                    mean_interval(
                        100 * lanes[f"{way}_error_barrier"].sel(split="test"), bounds=PERCENT
                    ),
                    geometric_mean(lanes[f"{way}_swing"].sel(split="test")),
                ]
            )
    for place, name in (("permuted", "as it is"), ("matched", "units matched")):
        loss = matched["planted_loss"].sel(planted=place)
        error = matched["planted_error"].sel(planted=place)
        low = np.asarray(loss.sel(split="test").min("fraction"))
        rows.append(
            [
                "control: small, own permuted copy",
                name,
                int(np.isfinite(low).sum()),
                "",
                mean_interval(_barrier(loss.sel(split="train")), bounds=NOT_NEGATIVE),
                mean_interval(100 * _barrier(error.sel(split="test")), bounds=PERCENT),
                geometric_mean(np.asarray(loss.sel(split="test").max("fraction")) / low),
            ]
        )
    moved = ", ".join(
        f"{100 * share:.0f} %" for share in matched["moved_units"].mean("lane").values
    )
    found = 100 * float(matched["planted_found"].mean())
    return make_table(
        ["pair", "path", "seeds", "distance", "barrier, train loss (nats)",
         "barrier, test error (points)", "test loss, highest / lowest"],
        rows,
        caption="Paths between end points: means [95 % t-intervals over seeds], last column geometric means",
        notes=(
            f"matching moved {moved} of the hidden units of these pairs, and put {found:.4g} % of those of "
            "the permuted copy back",
            "distance in parameters; barriers above the straight line between the values at both ends",
        ),
    )  # fmt: skip


def _barrier(values: xr.DataArray) -> np.ndarray:
    places = np.linspace(0, 1, values.sizes["fraction"])
    return barrier(places, values.transpose("lane", "fraction").values)


def _nearby(result: xr.Dataset) -> Table:
    rows = []
    lanes = trials(result, "paths")
    for radius in result["radius"].values:
        loss, error = (lanes[f"nearby_{what}"].sel(radius=radius) for what in ("loss", "error"))
        zero = (error == 0).where(error.notnull()).mean("point", skipna=False)
        rows.append(
            [
                f"{radius:g}",
                f"{error.size}",
                int(zero.notnull().sum()),
                mean_interval(loss.mean("point"), bounds=NOT_NEGATIVE),
                float(loss.min()),
                float(100 * error.min()),
                mean_interval(zero, bounds=(0.0, 1.0)),
            ]
        )
    return make_table(
        ["‖θ − θ₀‖ / ‖θ₀‖", "points", "seeds", "train loss (nats)", "lowest",
         "lowest train error (%)", "share without error"],
        rows,
        caption="Random points near the initial weights: means over points, then over seeds [95 % "
        "t-intervals]; lowest of all points and seeds",
    )  # fmt: skip


def _special(result: xr.Dataset) -> Table:
    lanes = trials(result, "special")
    walk = walk_explained(lanes.sizes["snapshot"] - 1)
    rows = [
        [
            component,
            int(lanes["eigenvalues"].sel(top=component).notnull().sum()),
            geometric_mean(lanes["eigenvalues"].sel(top=component)),
            mean_interval(100 * lanes["way_explained"].sel(component=component), bounds=PERCENT),
            float(100 * walk[component - 1]),
        ]
        for component in (1, 2)
    ]
    return make_table(
        ["axis", "seeds", "Hessian eigenvalue", "way explained (%)", "random walk explained (%)"],
        rows,
        caption="Planes that are not random, arm small: top Hessian eigenvalues of the training loss (nats "
        "per squared parameter, geometric means), and the part of the way's squared distances to its end "
        "that lies along each principal component [95 % t-intervals over seeds], beside that of a random "
        "walk of as many equal steps in many dimensions, which is known exactly",
    )


def _script(result: xr.Dataset) -> Table:
    lanes = trials(result, "script")
    rows: list[list[Any]] = []
    for network in result["network"].values:
        printed, true = (
            lanes[what].sel(network=network).transpose("lane", "extreme").values
            for what in ("printed", "true")
        )
        rows.append(
            [
                str(network),
                len(printed),
                f"{printed[0, 0]:.4f} to {printed[0, 1]:.4f}",
                f"{true[0, 0]:.4f} to {true[0, 1]:.4f}",
                mean_interval(np.ptp(true, axis=1)),
                mean_interval(lanes["descended"].sel(network=network)),
                mean_interval(lanes["walked"].sel(network=network)),
            ]
        )
    return make_table(
        ["network", "seeds", "prints", "means", "range it means", "loss fell by", "walked"],
        rows,
        caption="The script of S.13: what it prints and what the plane is that it means (at its own seed); "
        "means over seeds [95 % t-intervals]",
        notes=(
            "loss fell by: from before to after what stands for training; walked: its length, parameters",
        ),
    )
