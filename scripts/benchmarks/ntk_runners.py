"""Who computes tangent kernels: this package, neural_tangents and torch.func."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.libraries import (
    jax_device_memory,
    need,
    set_up_jax,
    set_up_torch,
    torch_device,
    torch_device_memory,
)
from benchmarks.machine import peak_memory
from benchmarks.ntk_problem import PARTS, Problem
from benchmarks.timing import Absent


@dataclass
class JaxNtk:
    """This package: all networks, spread over the devices.

    Attributes:
        problem: What is asked for.
        notes: Remarks for the table.
    """

    problem: Problem
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_jax()

    def setup(self) -> None:
        """Place networks and inputs, compile, and run once."""
        import math

        import jax

        from implicit_bias import runtime
        from implicit_bias.kernels.empirical import empirical_ntk, ntk_cost
        from implicit_bias.models import Dense
        from implicit_bias.training.lanes import over_lanes

        problem, saved = self.problem, self.problem.read("problem")
        model = Dense(widths=problem.sizes[1:-1], outputs=problem.sizes[-1])
        weights = {
            f"layer_{i}": {"weight": saved[f"w{i}"], "bias": saved[f"b{i}"]} for i in range(3)
        }
        devices = math.gcd(jax.device_count(), problem.lanes)
        first = jax.tree.map(lambda leaf: leaf[0], weights)
        self.cost = ntk_cost(model, first, saved["x"], memory=problem.memory)
        self.notes.append(f"on {devices} {jax.default_backend()} device(s), {self.cost}")
        self.lanes = runtime.spread(weights, devices)
        self.x = runtime.replicate(saved["x"], devices)
        self.before = peak_memory()
        function = over_lanes(
            lambda x, params: empirical_ntk(model, params, x, memory=problem.memory),
            runtime.Layout("map", 1, devices),
        )
        self.compiled = jax.jit(function).lower(self.x, self.lanes).compile()
        analysis = self.compiled.memory_analysis()
        self.planned = devices * problem.memory
        self.temporary = getattr(analysis, "temp_size_in_bytes", 0)
        self.run(1)

    def run(self, updates: int) -> None:
        """Compute all kernels; they are on the host when this returns."""
        for _ in range(updates):
            self.kernels = np.asarray(self.compiled(self.x, self.lanes))

    def result(self) -> dict[str, float]:
        """Return operations, and memory beyond what was there before; kernels go to a file."""
        self.problem.save("found-implicit-bias", kernel=self.kernels[0, : self.problem.rows])
        return {
            "flops": self.problem.lanes * self.cost.chosen.flops,
            "grown": float(peak_memory() - self.before),
            "temporary": float(self.temporary),
            "budget": float(self.planned),
        }

    def device_memory(self) -> int | None:
        """Return JAX's peak allocation on the accelerator."""
        return jax_device_memory()


@dataclass
class NeuralTangents:
    """``neural_tangents.empirical_ntk_fn``, some rows of one kernel in blocks.

    Attributes:
        problem: What is asked for.
        implementation: 1 contracts Jacobians, 2 multiplies with vectors.
        notes: Remarks for the table.
    """

    problem: Problem
    implementation: int
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_jax(cpu_devices=1)
        from implicit_bias.errors import UserError
        from implicit_bias.kernels import _neural_tangents

        try:
            self.module = _neural_tangents.load()
        except UserError as error:
            raise Absent(str(error)) from None

    def setup(self) -> None:
        """Compile and run once."""
        import jax

        x, parts = self.problem.first()
        self.x, self.params = jax.numpy.asarray(x), [jax.numpy.asarray(part) for part in parts]

        def apply(params: Any, x: Any) -> Any:
            w0, b0, w1, b1, w2, b2 = params
            x = jax.nn.relu(x @ w0.T + b0)
            return jax.nn.relu(x @ w1.T + b1) @ w2.T + b2

        self.kernel = jax.jit(
            self.module.empirical_ntk_fn(
                apply, trace_axes=(-1,), vmap_axes=0, implementation=self.implementation
            )
        )
        self.run(1)

    def run(self, updates: int) -> None:
        """Compute the rows."""
        problem = self.problem
        for _ in range(updates):
            strip = [
                np.asarray(
                    self.kernel(
                        self.x[: problem.rows], self.x[at : at + problem.batch], self.params
                    )
                )
                for at in range(0, problem.images, problem.batch)
            ]
        self.found = np.concatenate(strip, axis=1)

    def result(self) -> dict[str, float]:
        """Leave the rows in a file."""
        self.problem.save(f"found-neural_tangents {self.implementation}", kernel=self.found)
        return {}

    def device_memory(self) -> int | None:
        """Return JAX's peak allocation on the accelerator."""
        return jax_device_memory()


@dataclass
class TorchFuncNtk:
    """``torch.func``: Jacobians of blocks by ``vmap`` of ``jacrev``, contracted layer by layer.

    As in PyTorch's tutorial "Neural Tangent Kernels", reduced over outputs by its ``compute="trace"``.

    Attributes:
        problem: What is asked for.
        notes: Remarks for the table.
    """

    problem: Problem
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_up_torch()
        need("torch.func", "PyTorch")

    def setup(self) -> None:
        """Load the network and run once."""
        import torch

        x, parts = self.problem.first()
        device = torch_device()
        self.x = torch.from_numpy(x).to(device)
        self.params = {
            name: torch.from_numpy(part).to(device) for name, part in zip(PARTS, parts, strict=True)
        }
        linear, relu = torch.nn.functional.linear, torch.nn.functional.relu

        def one(params: Any, x: Any) -> Any:
            hidden = relu(linear(x, params["w0"], params["b0"]))
            hidden = relu(linear(hidden, params["w1"], params["b1"]))
            return linear(hidden, params["w2"], params["b2"])

        self.jacobian = torch.func.vmap(torch.func.jacrev(one), (None, 0))
        self.run(1)

    def run(self, updates: int) -> None:
        """Compute the rows."""
        import torch

        problem = self.problem
        for _ in range(updates):
            first = self._flat(self.x[: problem.rows])
            strip = []
            for at in range(0, problem.images, problem.batch):
                second = self._flat(self.x[at : at + problem.batch])
                strip.append(
                    sum(
                        torch.einsum("Naf,Maf->NM", one, two)
                        for one, two in zip(first, second, strict=True)
                    )
                )
            self.found = (torch.cat(strip, dim=1) / problem.sizes[-1]).cpu().numpy()

    def result(self) -> dict[str, float]:
        """Leave the rows in a file."""
        self.problem.save("found-torch.func", kernel=self.found)
        return {}

    def device_memory(self) -> int | None:
        """Return PyTorch's peak allocation on the accelerator."""
        return torch_device_memory()

    def _flat(self, x: Any) -> list[Any]:
        jacobian = self.jacobian(self.params, x)
        return [part.flatten(2) for part in jacobian.values()]


@dataclass
class OldNeuralTangents:
    """``neural_tangents``' structured derivatives, in a Python whose JAX still runs them.

    They need so little memory that a whole kernel is computed, in one block.

    Attributes:
        problem: What is asked for.
        python: That Python.
        notes: Remarks for the table.
    """

    problem: Problem
    python: str
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not Path(self.python).exists():
            raise Absent(f"there is no {self.python}; name a Python with an old JAX")

    def setup(self) -> None:
        """Start the process, which compiles and runs once."""
        folder, problem = Path(self.problem.folder), self.problem
        script = Path(__file__).with_name("ntk_old.py")
        place = folder / "found-neural_tangents 3, old JAX.npz"
        self.process = subprocess.Popen(
            [self.python, "-W", "ignore", str(script), str(folder / "problem.npz"), str(place),
             str(problem.images), str(problem.images)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.notes.append(
            self._line().removeprefix("ready ") + "; its memory and cores are not known"
        )

    def run(self, updates: int) -> None:
        """Compute the first network's kernel."""
        assert self.process.stdin is not None
        for _ in range(updates):
            self.process.stdin.write("run\n")
            self.process.stdin.flush()
            float(self._line())

    def result(self) -> dict[str, float]:
        """Return nothing: the process left its kernel in a file; it is ended here."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        return {}

    def device_memory(self) -> int | None:
        """Return None: not known of another process."""
        return None

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self.python} ended with status {self.process.wait()}")
        return line
