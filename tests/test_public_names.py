"""Every public name says what it is and of which type, and every example in a docstring is run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import implicit_bias as ib
from implicit_bias import data, ledger, studies
from implicit_bias.studies import present, runner
from implicit_bias.studies.config import load_config

PACKAGE = Path(ib.__file__).parent

EXAMPLES = (
    "api", "curvature.blocks", "curvature.gauss_newton", "curvature.hessian", "curvature.lanczos",
    "curvature.operators", "curvature.power", "curvature.trace", "data.batches", "data.load",
    "data.synthetic", "data.transforms", "geometry.connectivity", "geometry.margin",
    "geometry.movement", "geometry.rescaling", "geometry.sharpness", "geometry.slices", "kernels.cka",
    "kernels.descent", "kernels.drift", "kernels.empirical", "kernels.infinite", "kernels.regression",
    "kernels.spectrum", "keys", "ledger.export", "ledger.registry", "losses", "models.base",
    "models.linearised", "optimizers", "pruning", "pruning.allocation", "pruning.iterative",
    "results.claims", "studies", "studies.config", "theory.benign_overfitting", "theory.double_descent",
    "theory.margin", "theory.matrix_rank", "theory.pac_bayes", "theory.stability", "training.recipe",
    "training.train",
)  # fmt: skip
"""Modules whose docstrings have examples."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _public(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef, bool]]:
    """Give public classes, functions and methods of a module; of each whether it is a method."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node, False
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner, True


def _untyped(function: ast.FunctionDef, *, method: bool) -> list[str]:
    """Name the arguments of a function without a type, and its result."""
    given = function.args
    static = any(
        isinstance(one, ast.Name) and one.id == "staticmethod" for one in function.decorator_list
    )
    positional = [*given.posonlyargs, *given.args][1 if method and not static else 0 :]
    named = [*positional, *given.kwonlyargs, *(one for one in (given.vararg, given.kwarg) if one)]
    return [
        *(one.arg for one in named if one.annotation is None),
        *(["what it returns"] if function.returns is None else []),
    ]


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def test_every_public_name_has_docstring_and_types() -> None:
    """Breaks if a module, class, function or method lacks its docstring, or one of its types."""
    missing = []
    for file in FILES:
        tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
        if not ast.get_docstring(tree):
            missing.append(f"{file}: the module's docstring")
        for name, node, method in _public(tree):
            if not ast.get_docstring(node):
                missing.append(f"{file}: {name}: docstring")
            if isinstance(node, ast.FunctionDef):
                missing += [
                    f"{file}: {name}: type of {what}" for what in _untyped(node, method=method)
                ]
    assert missing == []


def test_names_of_the_package_are_listed_and_there() -> None:
    """Breaks if ``__all__`` names what is not there, or a room is not listed or says nothing."""
    for name in ib.__all__:
        found = getattr(ib, name)
        assert inspect.getdoc(found), name
        if inspect.isfunction(found):
            assert not _untyped(ast.parse(inspect.getsource(found)).body[0], method=False)  # type: ignore[arg-type]
    assert sorted(ib.__all__, key=str) == ib.__all__
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"cli"}
    assert rooms <= set(ib.__all__)
    assert set(dir(ib)) == {*ib.__all__, "__version__"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_right(name: str) -> None:
    """Breaks if what a docstring shows is not what comes out."""
    module = importlib.import_module(f"implicit_bias.{name}")
    result = doctest.testmod(module)
    assert result.attempted or "doctest: +SKIP" in inspect.getsource(module)
    assert result.failed == 0


def test_all_examples_are_run() -> None:
    """Breaks if a module has examples that the test above does not know of."""
    with_examples = {
        file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for file in FILES
        if ">>> " in (PACKAGE / file).read_text(encoding="utf-8")
    }
    assert with_examples == set(EXAMPLES)


def test_what_a_notebook_shows_is_one_line() -> None:
    """Breaks if a dataset, plan, study or record shows its arrays, functions or lanes by the thousand."""
    study, settings, _ = load_config("edge-of-stability", None, ["data.n_train=100"])
    plan = runner.plan_study(study, settings)
    for shown, said in (
        (data.load("digits"), "Dataset('digits', classification, 10 classes, 64 float32,"),
        (plan, f"Plan({plan.n_lanes} lanes in {len(plan.programs)} programs, digits, training "),
        (plan.programs[0], "Program(sgd, batch "),
        (study, f"Study('edge-of-stability', 2 stages, {len(study.claims)} claims)"),
        (runner.plan_study(studies.get("stability"), load_config("stability")[1]),
         "Plan(nothing to train, digits)"),
        (present.Presented((), (), ()), "Presented(0 claims: ; 0 files)"),
        (ledger.Ledger("smoke", ()), "Ledger(smoke, 0 claims: )"),
    ):  # fmt: skip
        assert repr(shown).startswith(said), repr(shown)
        assert len(repr(shown)) < 200
        assert "\n" not in repr(shown)
