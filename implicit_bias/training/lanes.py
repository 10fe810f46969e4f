"""From one lane to many: spread over devices, then mapped or batched within a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from implicit_bias.runtime import LANE_AXIS, Layout, lane_mesh


def over_lanes(function: Callable[..., Any], layout: Layout) -> Callable[..., Any]:
    """Lift a function of one lane to a function of many.

    Args:
        function: ``function(shared, lane, *common)``, where ``shared`` is read by every lane, ``lane`` is
            one lane's pytree and ``common`` are scalars equal for all lanes.
        layout: How lanes are spread over devices and run within one.

    Returns:
        ``lifted(shared, lanes, *common)``; every array of ``lanes``, and of what it returns, has the lane
        as leading axis, whose length is a multiple of ``layout.granule``.
    """
    mesh = lane_mesh(layout.devices)

    def on_device(shared: Any, lanes: Any, *common: Any) -> Any:
        def one(lane: Any) -> Any:
            return function(shared, lane, *common)

        if layout.strategy == "map":
            return jax.lax.map(one, lanes)
        count = jax.tree.leaves(lanes)[0].shape[0] // layout.tile
        tiles = jax.tree.map(lambda leaf: leaf.reshape(count, layout.tile, *leaf.shape[1:]), lanes)
        return jax.tree.map(
            lambda leaf: leaf.reshape(count * layout.tile, *leaf.shape[2:]),
            jax.lax.map(jax.vmap(one), tiles),
        )

    def lifted(shared: Any, lanes: Any, *common: Any) -> Any:
        return jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(LANE_AXIS), *[PartitionSpec()] * len(common)),
            out_specs=PartitionSpec(LANE_AXIS),
            # Lanes never communicate, so nothing varies over the mesh in a way that needs checking.
            check_vma=False,
        )(shared, lanes, *common)

    return lifted


def select(condition: jax.Array, chosen: Any, otherwise: Any) -> Any:
    """Return ``chosen`` where a scalar condition holds, else ``otherwise``, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), chosen, otherwise)
