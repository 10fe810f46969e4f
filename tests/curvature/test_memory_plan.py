"""Oracle: what XLA itself says a compiled search holds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from implicit_bias.curvature.memory_plan import plan_subspace
from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.curvature.thick_restart import thick_restart_lanczos
from implicit_bias.errors import UserError

KEY = jax.random.key(3)


def test_memory_is_what_the_plan_says():
    # Broken by: a basis copied by a restart or a branch, in the compiled program itself.
    p, k, budget = 200_000, 10, 40_000_000
    plan = plan_subspace(p, k, budget)
    assert plan.restarts
    assert plan.memory_bytes <= budget < plan.memory_bytes + 8 * plan.vector_bytes

    def search(diagonal):
        operator = LinearOperator(lambda v: diagonal * v, p, diagonal.dtype)
        return thick_restart_lanczos(operator, KEY, k=k, subspace=plan.subspace)

    compiled = jax.jit(search).lower(jax.ShapeDtypeStruct((p,), jnp.float32)).compile()
    memory = compiled.memory_analysis()
    # The plan counts vectors; matrices of the size of the basis come on top.
    small = 64 * 1024
    assert memory.temp_size_in_bytes + memory.output_size_in_bytes <= plan.memory_bytes + small


def test_plan_for_eleven_million_parameters():
    # Broken by: a plan in other units, or one that forgets the result. 150 vectors are 6.7 GB.
    roomy = plan_subspace(11_200_000, 50, 12_000_000_000)
    tight = plan_subspace(11_200_000, 10, 2_000_000_000)
    assert (roomy.subspace, roomy.restarts) == (150, False)
    assert (tight.subspace, tight.restarts) == (16, True)
    assert tight.memory_bytes <= 2_000_000_000
    assert "16 basis vectors of 44.8 MB" in str(tight)
    assert "thick restarts" in str(tight)
    assert plan_subspace(11_200_000, 10, 2_000_000_000, jnp.bfloat16).subspace > 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1000, 5, 11_999), "too small for one product in dimension 1000"),
        ((1000, 5, 50_000), "too small for k = 5 eigenpairs"),
        ((1000, 0, 10**9), "k is 0"),
        ((1000, 1001, 10**9), "choose 1 <= k <= 1000"),
    ],
)
def test_plans_that_are_refused(arguments, message):
    # Broken by: a budget that fails later, inside a compiled program.
    with pytest.raises(UserError) as caught:
        plan_subspace(*arguments)
    assert message in str(caught.value)
    with pytest.raises(UserError, match="wish is 5"):
        plan_subspace(1000, 5, 10**9, wish=5)
