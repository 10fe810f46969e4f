"""The known curvature tools, as their users call them, for comparison."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from benchmarks.curvature_problem import CLASSES, FEATURES, Problem
from benchmarks.curvature_runners import density_result, leave
from benchmarks.libraries import need, set_up_torch, torch_device, torch_device_memory

# Each a step tighter than the one before, tried until the residuals are met.
PYHESSIAN_TOLERANCES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7)
EIGSH_TOLERANCES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
PYHESSIAN_TOL = 1e-3
"""PyHessian's own tolerance: change of an eigenvalue between two iterations, relative to it."""
MARGIN = 0.9  # of the tolerance: what is left is for rounding, as in our own methods


@dataclass
class _Peer:
    """What all tools of PyTorch have in common.

    Attributes:
        problem: What is asked for.
        notes: Remarks for the table.
        package: Module and title of the package that the tool comes from.
    """

    problem: Problem
    notes: list[str] = field(default_factory=list, kw_only=True)
    package: ClassVar[tuple[str, str]]

    def __post_init__(self) -> None:
        warnings.simplefilter("ignore")  # of the peers' own use of PyTorch
        set_up_torch()
        need(*self.package)

    def device_memory(self) -> int | None:
        """Return PyTorch's peak allocation on the accelerator."""
        return torch_device_memory()


@dataclass
class PyHessianEigenvalues(_Peer):
    """PyHessian's ``eigenvalues``: power iteration with deflation.

    Attributes:
        equal: Tighten its tolerance until every vector's residual is what is asked for; otherwise
            its own tolerance.
        package: Where it comes from.
    """

    equal: bool = field(kw_only=True)
    package: ClassVar = ("pyhessian", "PyHessian")

    def setup(self) -> None:
        """Load the network and run once, or until the residuals are met."""
        self.torch_problem = _TorchProblem(self.problem)
        self.products = _count_pyhessian_products()
        for tol in PYHESSIAN_TOLERANCES if self.equal else (PYHESSIAN_TOL,):
            self.tol = tol
            self.run(1)
            if not self.equal or self._residual() <= MARGIN * self.problem.tol:
                break
        self.notes.append(
            f"tol {self.tol:g}"
            + (", maxIter 10000" if self.equal else ", its default, and maxIter 100")
        )

    def run(self, updates: int) -> None:
        """Find the eigenpairs, the first gradient included, always from the same seed."""
        import pyhessian
        import torch

        for _ in range(updates):
            self.torch_problem.forget()
            torch.manual_seed(0)
            self.products[0] = 0
            found = pyhessian.hessian(
                self.torch_problem.network,
                torch.nn.CrossEntropyLoss(),
                data=self.torch_problem.data,
                cuda=self.torch_problem.device == "cuda",
            )
            self.values, vectors = found.eigenvalues(
                maxIter=10_000 if self.equal else 100, tol=self.tol, top_n=self.problem.k
            )
            self.vectors = [torch.cat([part.reshape(-1) for part in v]).detach() for v in vectors]

    def result(self) -> dict[str, float]:
        """Return counts; the eigenpairs are left in a file."""
        vectors = np.stack([vector.cpu().numpy() for vector in self.vectors])
        name = "pyhessian equal residual" if self.equal else "pyhessian"
        leave(self.problem, name, np.asarray(self.values), _in_our_order(self.problem, vectors))
        return {"products": float(self.products[0]), "tol": self.tol}

    def _residual(self) -> float:
        """Return the largest residual, relative to the largest eigenvalue."""
        products = [self.torch_problem.product(vector) for vector in self.vectors]
        lengths = [
            float((image - value * vector).norm())
            for image, value, vector in zip(products, self.values, self.vectors, strict=True)
        ]
        return max(lengths) / self.values[0]


@dataclass
class CurvlinopsEigsh(_Peer):
    """SciPy's ``eigsh`` (ARPACK) over curvlinops' Hessian, to the residual that is asked for.

    Attributes:
        package: Where it comes from.
    """

    package: ClassVar = ("curvlinops", "curvlinops")

    def setup(self) -> None:
        """Load the network and loosen ARPACK's tolerance as far as the residual allows."""
        self.torch_problem = _TorchProblem(self.problem)
        for tol in EIGSH_TOLERANCES:
            self.tol = tol
            self.run(1)
            if self._residual() <= MARGIN * self.problem.tol:
                break
        self.notes.append(f"tol {self.tol:g}, ncv 20 (SciPy's default)")

    def run(self, updates: int) -> None:
        """Build the operator and find the eigenpairs, always from the same start."""
        import torch
        from curvlinops import HessianLinearOperator
        from scipy.sparse.linalg import LinearOperator, eigsh

        network, p = self.torch_problem.network, self.problem.dimension
        start = np.random.default_rng(0).standard_normal(p, dtype=np.float32)
        for _ in range(updates):
            self.operator = HessianLinearOperator(
                network,
                torch.nn.CrossEntropyLoss(),
                list(network.parameters()),
                [self.torch_problem.data],
                check_deterministic=False,
            ).to_scipy(dtype=np.float32)
            self.products = 0

            def product(vector: np.ndarray) -> np.ndarray:
                self.products += 1
                return self.operator.matvec(vector)

            counted = LinearOperator((p, p), matvec=product, dtype=np.float32)
            values, vectors = eigsh(counted, k=self.problem.k, which="LA", tol=self.tol, v0=start)
            self.values, self.vectors = values[::-1], vectors.T[::-1]

    def result(self) -> dict[str, float]:
        """Return counts; the eigenpairs are left in a file."""
        vectors = _in_our_order(self.problem, self.vectors)
        leave(self.problem, "eigsh over curvlinops", self.values, vectors)
        return {"products": float(self.products), "tol": self.tol}

    def _residual(self) -> float:
        """Return the largest residual, relative to the largest eigenvalue."""
        images = np.stack([self.operator.matvec(vector) for vector in self.vectors])
        residuals = np.linalg.norm(images - self.values[:, None] * self.vectors, axis=1)
        return float(residuals.max() / self.values[0])


@dataclass
class PyHessianDensity(_Peer):
    """PyHessian's ``density``: stochastic Lanczos quadrature.

    Attributes:
        package: Where it comes from.
    """

    package: ClassVar = ("pyhessian", "PyHessian")

    def setup(self) -> None:
        """Load the network and run once."""
        self.torch_problem = _TorchProblem(self.problem)
        self.products = _count_pyhessian_products()
        self.notes.append("torch.eig, which PyTorch no longer has, supplied by torch.linalg.eigh")
        self.run(1)

    def run(self, updates: int) -> None:
        """Find nodes and weights, the first gradient included, always from the same seed."""
        import pyhessian
        import torch

        for _ in range(updates):
            self.torch_problem.forget()
            torch.manual_seed(0)
            self.products[0] = 0
            with _torch_eig():
                self.nodes, self.weights = pyhessian.hessian(
                    self.torch_problem.network,
                    torch.nn.CrossEntropyLoss(),
                    data=self.torch_problem.data,
                    cuda=self.torch_problem.device == "cuda",
                ).density(iter=self.problem.depth, n_v=self.problem.probes)

    def result(self) -> dict[str, float]:
        """Return what the nodes and weights say, and counts."""
        nodes, weights = np.asarray(self.nodes), np.asarray(self.weights)
        return density_result(nodes, weights, self.products[0], self.problem)


class _TorchProblem:
    """The first network and the data, in PyTorch."""

    def __init__(self, problem: Problem) -> None:
        import torch

        saved = problem.read("networks")
        self.device = torch_device()
        self.data = (
            torch.from_numpy(saved["x"]).to(self.device),
            torch.from_numpy(saved["y"]).long().to(self.device),
        )
        hidden, features = saved["w1"].shape[1:]
        self.network: Any = torch.nn.Sequential(
            torch.nn.Linear(features, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, saved["w2"].shape[1]),
        ).to(self.device)
        with torch.no_grad():
            for parameter, name in zip(
                self.network.parameters(), ("w1", "b1", "w2", "b2"), strict=True
            ):
                parameter.copy_(torch.from_numpy(saved[name][0]))

    def forget(self) -> None:
        """Drop gradients, which PyHessian adds to what is there."""
        for parameter in self.network.parameters():
            parameter.grad = None

    def product(self, vector: Any) -> Any:
        """Return the Hessian times a flat vector, by plain double differentiation."""
        import torch

        parameters = list(self.network.parameters())
        x, y = self.data
        value = torch.nn.functional.cross_entropy(self.network(x), y)
        gradient = torch.autograd.grad(value, parameters, create_graph=True)
        flat = torch.cat([part.reshape(-1) for part in gradient])
        image = torch.autograd.grad(flat @ vector, parameters)
        return torch.cat([part.reshape(-1) for part in image])


def _in_our_order(problem: Problem, vectors: np.ndarray) -> np.ndarray:
    """Move entries from PyTorch's order, weight before bias, to ours, which is alphabetical."""
    sizes = [FEATURES * problem.hidden, problem.hidden, problem.hidden * CLASSES]
    w1, b1, w2, b2 = np.split(vectors, np.cumsum(sizes), axis=1)
    return np.concatenate([b1, w1, b2, w2], axis=1)


def _count_pyhessian_products() -> list[int]:
    """Make PyHessian count its products, and return the counter.

    The name ``pyhessian.hessian`` is the class, which hides the module of that name.
    """
    import pyhessian  # noqa: F401

    module: Any = sys.modules["pyhessian.hessian"]
    counter, product = [0], module.hessian_vector_product

    def counted(*arguments: Any) -> Any:
        counter[0] += 1
        return product(*arguments)

    module.hessian_vector_product = counted
    return counter


@contextlib.contextmanager
def _torch_eig() -> Iterator[None]:
    """Give PyTorch its old ``eig`` back, for the symmetric matrices that PyHessian has."""
    import torch

    def eig(matrix: Any, eigenvectors: bool = False) -> Any:
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], dim=1), vectors

    before = torch.eig
    torch.eig = eig
    try:
        yield
    finally:
        torch.eig = before
