"""This package's side of the comparison of curvature tools, and the judge of all sides."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from benchmarks.curvature_problem import Problem, loss, model, train
from benchmarks.libraries import jax_device_memory, set_up_jax

SUBSPACE = 20
"""Basis vectors, as many as ``eigsh`` has by default: few, so that the small ``eigh`` costs little."""


@dataclass
class JaxCurvature:
    """This package, one network or many.

    Attributes:
        problem: What is asked for.
        task: ``"one"``: the first network's eigenpairs. ``"in turn"``: those of all networks, one
            after another, each on all cores. ``"at once"``: those of all, spread over the devices.
            ``"density"``: the first network's spectral density.
        notes: Remarks for the table.
    """

    problem: Problem
    task: Literal["one", "in turn", "at once", "density"]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_jax()

    def setup(self) -> None:
        """Place networks and data, compile, and run once."""
        import jax
        import jax.numpy as jnp

        from implicit_bias import runtime
        from implicit_bias.training.lanes import over_lanes

        weights, data = networks(self.problem)
        self.key = jax.random.key(0)
        at_once = self.task == "at once"
        devices = math.gcd(jax.device_count(), self.problem.networks) if at_once else 1
        body = self._density if self.task == "density" else self._eigenpairs
        if at_once:
            layout = runtime.Layout("map", 1, devices)
            function = over_lanes(lambda data, params: body(params, data), layout)
            self.compiled = jax.jit(lambda params, data: function(data, params))
            self.batches = [runtime.spread(weights, devices)]
            self.data = runtime.replicate(data, devices)
        else:
            self.compiled = jax.jit(body)
            count = self.problem.networks if self.task == "in turn" else 1
            self.batches = [
                jax.tree.map(lambda leaf, lane=lane: jnp.asarray(leaf[lane]), weights)
                for lane in range(count)
            ]
            self.data = jax.tree.map(jnp.asarray, data)
        self.notes.append(
            f"on {devices} {jax.default_backend()} device(s), float32"
            + ("" if self.task == "density" else f", {SUBSPACE} basis vectors")
        )
        self.run(1)

    def run(self, updates: int) -> None:
        """Do the task ``updates`` times; what was found is on the host when this returns."""
        import jax

        for _ in range(updates):
            self.found = [
                jax.device_get(self.compiled(params, self.data)) for params in self.batches
            ]

    def result(self) -> dict[str, float]:
        """Return counts; the first network's eigenpairs are left in a file."""
        first = self.found[0]
        if self.task == "density":
            return density_result(first.nodes, first.weights, int(first.products), self.problem)
        if self.task == "one":
            leave(self.problem, "implicit-bias", first.values, first.vectors)
        products = [int(count) for found in self.found for count in np.ravel(found.products)]
        converged = [bool(flag) for found in self.found for flag in np.ravel(found.converged)]
        return {"products": float(np.mean(products)), "converged": float(np.mean(converged))}

    def device_memory(self) -> int | None:
        """Return JAX's peak allocation on the accelerator."""
        return jax_device_memory()

    def _eigenpairs(self, params: Any, data: Any) -> Any:
        from implicit_bias import curvature

        return curvature.thick_restart_lanczos(
            hessian(self.problem, params, data),
            self.key,
            k=self.problem.k,
            tol=self.problem.tol,
            subspace=max(SUBSPACE, self.problem.k + 2),
            verify="together",
        )

    def _density(self, params: Any, data: Any) -> Any:
        from implicit_bias import curvature

        return curvature.spectral_density(
            hessian(self.problem, params, data),
            self.key,
            n_probes=self.problem.probes,
            depth=self.problem.depth,
        )


@dataclass
class Judge:
    """Trains the networks before the others start, and judges what they found, in float64.

    Attributes:
        problem: What is asked for.
        notes: What the data is.
    """

    problem: Problem
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_jax(float64=True)

    def setup(self) -> None:
        """Train the networks."""
        self.trained = train(self.problem)
        self.notes.append(str(self.problem.read("networks")["what"]))

    def run(self, updates: int) -> None:
        """Do nothing: nothing of this is timed."""

    def result(self) -> dict[str, float]:
        """Return the reference, and residuals and errors of every runner that left eigenvectors.

        ``reference.i`` is the i-th largest eigenvalue, found to a residual of 1e-9; for a runner's
        name, ``name.residual.i`` is ``|H v - value v|`` and ``name.error.i`` the value less the
        reference's, both relative to the largest eigenvalue. Values are judged in the order in
        which the runner gave them.
        """
        import jax
        import jax.numpy as jnp

        from implicit_bias import curvature

        weights, data = networks(self.problem, np.float64)
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), weights)
        data = jax.tree.map(jnp.asarray, data)

        def search(params: Any, data: Any) -> Any:
            return curvature.thick_restart_lanczos(
                hessian(self.problem, params, data),
                jax.random.key(1),
                k=self.problem.k,
                tol=1e-9,
                copies=True,
            )

        def products(params: Any, data: Any, vectors: Any) -> Any:
            return jax.lax.map(hessian(self.problem, params, data).product, vectors)

        reference = jax.jit(search)(params, data)
        if not bool(reference.converged):
            raise RuntimeError("the reference eigenvalues did not converge")
        exact = np.asarray(reference.values)
        judged = dict(self.trained)
        judged |= {f"reference.{i}": float(value) for i, value in enumerate(exact)}
        for name in self.problem.found():
            found = self.problem.read(f"found-{name}")
            values, vectors = (found[key].astype(np.float64) for key in ("values", "vectors"))
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            images = np.asarray(jax.jit(products)(params, data, jnp.asarray(vectors)))
            residuals = np.linalg.norm(images - values[:, None] * vectors, axis=1)
            for i in range(self.problem.k):
                judged[f"{name}.residual.{i}"] = float(residuals[i] / exact[0])
                judged[f"{name}.error.{i}"] = float((values[i] - exact[i]) / exact[0])
        return judged

    def device_memory(self) -> int | None:
        """Return None: of no interest here."""
        return None


def networks(problem: Problem, dtype: Any = np.float32) -> tuple[Any, tuple[np.ndarray, ...]]:
    """Return all networks' parameters, as this package has them, and inputs and labels."""
    saved = problem.read("networks")
    cast = {name: saved[name].astype(dtype) for name in ("x", "w1", "b1", "w2", "b2")}
    weights = {
        "layer_0": {"weight": cast["w1"], "bias": cast["b1"]},
        "layer_1": {"weight": cast["w2"], "bias": cast["b2"]},
    }
    return weights, (cast["x"], saved["y"])


def hessian(problem: Problem, params: Any, data: Any) -> Any:
    """Return this package's Hessian of the mean loss."""
    import jax.numpy as jnp

    from implicit_bias import curvature

    network, cross_entropy = model(problem), loss()

    def weighted(params: Any, batch: Any, weights: Any) -> Any:
        outputs, _ = network.apply(params, {}, batch[0], train=False)
        return jnp.sum(weights * cross_entropy.per_example(outputs, batch[1]))

    return curvature.hessian(weighted, params, data)[0]


def leave(problem: Problem, name: str, values: np.ndarray, vectors: np.ndarray) -> None:
    """Leave eigenpairs to the judge; rows of ``vectors`` are eigenvectors."""
    problem.save(f"found-{name}", values=values, vectors=vectors)


def density_result(
    nodes: np.ndarray, weights: np.ndarray, products: int, problem: Problem
) -> dict[str, float]:
    """Return what can be compared of a density: its mean, as a trace, and its largest node."""
    traces = problem.dimension * np.sum(weights * nodes, axis=1)
    real = np.where(weights > 0, nodes, -np.inf)
    return {
        "products": float(products),
        "trace": float(traces.mean()),
        "trace_standard_error": float(traces.std(ddof=1) / len(traces) ** 0.5),
        "largest_node": float(real.max()),
        "mass": float(weights.sum(axis=1).mean()),
    }
