"""What the flat-minima study measures, built from its settings and held against the data."""

from __future__ import annotations

from implicit_bias import models
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.studies.flat_minima.arms import ARMS
from implicit_bias.studies.flat_minima.lanes import networks
from implicit_bias.studies.flat_minima.measure import Flatness
from implicit_bias.studies.flat_minima.poisoned import PoisonedMinima
from implicit_bias.studies.flat_minima.random_search import RandomSearch
from implicit_bias.studies.flat_minima.settings import FlatMinimaSettings
from implicit_bias.studies.refusals import check_at_most


def measurement(settings: FlatMinimaSettings, dataset: Dataset) -> Flatness:
    """Return what is measured at the end of every lane but those of the tuning grid.

    Raises:
        UserError: More examples are asked for than there are, or the inputs are not pixels.
    """
    n_train, _ = settings.data.sizes(dataset)
    trained = f"a lane trains on {n_train}"
    if any(ARMS[arm].task == "few" for arm in settings.arms):
        check_at_most(settings, "tasks.few", n_train, trained)
    check_at_most(settings, "measure.examples", n_train, trained)
    tested = f"there are {dataset.n_test} test examples"
    check_at_most(settings, "measure.attacked", dataset.n_test, tested)
    fewest = min(settings.parameters(dataset, model) for model in networks(settings, dataset))
    check_at_most(settings, "measure.eigenvalues", fewest, f"a network has {fewest} parameters")
    chosen = settings.measure.model_dump()
    examples, attacked = chosen.pop("examples"), chosen.pop("attacked")
    least, most = float(dataset.x_train.min()), float(dataset.x_train.max())
    if least < 0 or most > 1:
        raise UserError(
            f"the inputs of {dataset.name} lie between {least:g} and {most:g}, but attacks need pixels from "
            "0 to 1; choose images with data.name"
        )
    model = settings.model.build(dataset.n_outputs)
    assert isinstance(model, models.Dense)
    return Flatness(
        n_test=dataset.n_test,
        examples=examples or n_train,
        attacked=attacked or dataset.n_test,
        **chosen,
    )


def poisoned(settings: FlatMinimaSettings, dataset: Dataset) -> PoisonedMinima:
    """Return the experiment with mislabelled extra examples.

    Raises:
        UserError: There are too few examples.
    """
    own = settings.poison
    if own.examples + own.extra > dataset.n_train:
        raise UserError(
            f"poison.examples is {own.examples} and poison.extra is {own.extra}, but {dataset.name} has "
            f"{dataset.n_train} training examples for both; choose fewer"
        )
    settings.check_target(dataset, "poison.target_loss")
    model = settings.model.build(dataset.n_outputs)
    assert isinstance(model, models.Dense)
    return PoisonedMinima(
        model=model,
        n_test=dataset.n_test,
        classes=dataset.n_outputs,
        tol=settings.measure.tol,
        max_products=settings.measure.max_products,
        radii=settings.measure.adaptive_radii,
        steps=settings.measure.adaptive_steps,
        **own.model_dump(),
    )


def guessed(settings: FlatMinimaSettings, dataset: Dataset) -> RandomSearch:
    """Return the experiment with guessed networks.

    Raises:
        UserError: A class has too few examples.
    """
    fewest = min(int((dataset.y_train == label).sum()) for label in (0, 1))
    check_at_most(settings, "search.examples", 2 * fewest, f"class 0 or 1 has {fewest} of them")
    return RandomSearch(**settings.search.model_dump())
