"""The engine against oracles that are not the engine."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.data.batches import epoch_order
from implicit_bias.data.transforms import split_indices
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key
from implicit_bias.training import Budget, Until, make_plan, train, train_chunk
from implicit_bias.training.ahead import compile_chunks
from implicit_bias.training.lane import LaneInputs, initial_state, lane_examples, run_updates
from implicit_bias.training.slots import make_pool
from tests.optimizers.harness import ROWS
from tests.training.conftest import MODEL, make_lane, make_recipe


def same(first, second) -> bool:
    """Whether two pytrees are equal bit for bit, NaN included."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def run(lanes, dataset, **options):
    """Train lanes of one recipe as one chunk."""
    plan = make_plan(lanes, dataset, **{k: options.pop(k) for k in ("devices", "strategy", "tile")
                                        if k in options})  # fmt: skip
    (program,) = plan.programs
    return train_chunk(program, lanes, dataset, **options)


@pytest.fixture(scope="module")
def lanes():
    """Seven lanes: seeds and step sizes, one of which diverges."""
    return [
        make_lane(
            seed, 12, (0, 5, 12), step_size=step, label_noise=0.1, weight_decay=1e30 * (seed == 4)
        )
        for seed, step in [(0, 0.1), (0, 0.5), (1, 0.1), (2, 0.1), (3, 0.2), (4, 0.1), (5, 0.3)]
    ]


@pytest.fixture(scope="module")
def reference(lanes, dataset):
    return run(lanes, dataset, devices=1)


# Oracles


def test_least_squares_reaches_the_pseudoinverse_solution():
    """Breaks if gradients, the mean over examples, or the loss's factor are wrong."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 2))
    data = Dataset("ls", "regression", 2, x, y, x[:3], y[:3])
    recipe = make_recipe(
        model=models.Dense((), 2, "identity", bias=False),
        loss=losses.get("squared"),
        batch_size=30,
        n_train=30,
        dtype="float64",
    )
    result = run([make_lane(0, 2000, recipe=recipe, step_size=0.5)], data)
    solution = np.linalg.pinv(x) @ y
    found = result.params["layer_0"]["weight"][0].T
    assert np.linalg.norm(found - solution) <= 1e-8 * np.linalg.norm(solution)


def numpy_epoch(params, x, y, order, batch_size, step_size):
    """One epoch of SGD on a tanh network with softmax cross-entropy, written with NumPy alone."""
    w1, b1 = (np.array(params["layer_0"][name], np.float64) for name in ("weight", "bias"))
    w2, b2 = (np.array(params["layer_1"][name], np.float64) for name in ("weight", "bias"))
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        h = np.tanh(x[rows] @ w1.T + b1)
        logits = h @ w2.T + b2
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(rows)), y[rows]] -= 1
        p /= len(rows)
        back = (p @ w2) * (1 - h**2)
        w2, b2 = w2 - step_size * p.T @ h, b2 - step_size * p.sum(0)
        w1, b1 = w1 - step_size * back.T @ x[rows], b1 - step_size * back.sum(0)
    return {"layer_0": {"weight": w1, "bias": b1}, "layer_1": {"weight": w2, "bias": b2}}


@pytest.mark.parametrize("batch_size", [8, 16], ids=["divides", "last batch of 8"])
def test_one_epoch_equals_a_numpy_loop(dataset, batch_size):
    """Breaks if the last batch is dropped or divided by the wrong size, or order is ignored."""
    recipe = make_recipe(batch_size=batch_size)
    result = run([make_lane(3, recipe.updates_per_epoch, recipe=recipe, step_size=0.3)], dataset)
    rows, _ = split_indices(role_key(3, "split"), dataset, (40, 0))
    x, y = dataset.x_train[np.asarray(rows)].astype(np.float64), dataset.y_train[np.asarray(rows)]
    start, _ = jax.jit(MODEL.init)(role_key(3, "initialisation"), jnp.asarray(dataset.x_train[0]))
    order = np.asarray(epoch_order(role_key(3, "data_order"), 0, 40))
    expected = numpy_epoch(start, x, y, order, batch_size, 0.3)
    found = jax.tree.map(lambda leaf: leaf[0], result.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def test_a_batch_of_everything_draws_no_order(dataset):
    """Breaks if full-batch descent sorts and collects its examples anew in every update."""

    def sorts(batch_size):
        recipe = make_recipe(batch_size=batch_size)
        pool = make_pool(dataset, "float32", 1)
        settings = {name: jnp.float32(v) for name, v in recipe.setting_defaults().items()}
        inputs = LaneInputs(jnp.uint32(0), {**settings, "step_size": jnp.float32(0.1)})
        examples = lane_examples(dataset, 40, 0, inputs)
        state = initial_state(recipe, pool.x_train[0], inputs)
        program = jax.make_jaxpr(lambda *a: run_updates(recipe, pool, inputs, *a))
        return " sort[" in str(program(examples, state, jnp.int32(0), jnp.int32(5)))

    assert [sorts(batch_size) for batch_size in (40, 39)] == [False, True]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_optimiser_equals_a_loop_over_optax(dataset, row):
    """Breaks if the engine transforms gradients, counts steps or carries state in any other way."""
    recipe = make_recipe(optimizer=optimizers.get(row.name), batch_size=40)
    settings = row.full(step_size=0.05)
    result = run([make_lane(0, 10, recipe=recipe, **settings)], dataset)
    rows = split_indices(role_key(0, "split"), dataset, (40, 0))[0]
    pool = jnp.asarray(dataset.x_train), jnp.asarray(dataset.y_train)
    # Compiled like the engine's: op by op, the initial weights differ in the last bit.
    start, _ = jax.jit(
        lambda scale: MODEL.init(role_key(0, "initialisation"), pool[0][0], scale=scale)
    )(jnp.float32(1))
    traced = {name: jnp.float32(value) for name, value in settings.items()}

    def loss(params, x, y):
        outputs, _ = MODEL.apply(params, {}, x, train=True)
        return jnp.sum(jnp.full((40,), 1 / 40, x.dtype) * recipe.loss.per_example(outputs, y))

    def step(carry, settings, pool, rows):
        params, state = carry
        transform = row.decayed(settings)
        gradient = jax.grad(loss)(params, pool[0][rows], pool[1][rows])
        updates, state = transform.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    # Numbers traced and bounds traced, as in the engine: a compiler may round constants otherwise.
    @jax.jit
    def loop(params, settings, stop, pool, rows):
        carry = params, row.decayed(settings).init(params)
        return jax.lax.fori_loop(0, stop, lambda _, c: step(c, settings, pool, rows), carry)[0]

    found = jax.tree.map(lambda leaf: leaf[0], result.params)
    # Optax itself mixes types here and there.
    with jax.numpy_dtype_promotion("standard"):
        assert same(found, loop(start, traced, jnp.int32(10), pool, rows)), (
            "the jitted loop differs"
        )
        carry = start, row.decayed(traced).init(start)
        for _ in range(10):
            carry = step(carry, traced, pool, rows)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6), found, carry[0]
    )


def test_logs_equal_an_evaluation_by_hand(reference, lanes, dataset):
    """Breaks if losses average over the wrong set, or noisy labels are not those trained on."""
    loss = np.asarray(reference.logs["test_loss"])[0, -1]
    params = jax.tree.map(lambda leaf: leaf[0], reference.params)
    h = np.tanh(dataset.x_test @ params["layer_0"]["weight"].T + params["layer_0"]["bias"])
    logits = (h @ params["layer_1"]["weight"].T + params["layer_1"]["bias"]).astype(np.float64)
    chosen = logits[np.arange(20), dataset.y_test]
    expected = np.mean(np.log(np.exp(logits).sum(1)) - chosen)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    error = np.mean(logits.argmax(1) != dataset.y_test)
    np.testing.assert_allclose(reference.logs["test_error"][0, -1], error, rtol=1e-6)


# Laws


@pytest.mark.parametrize(
    "options",
    [{"devices": 2}, {"devices": 1, "segment_updates": 1}, {"devices": 2, "segment_updates": 5}],
    ids=["two devices", "segments of one", "two devices, segments of five"],
)
def test_results_do_not_depend_on_devices_or_segments(reference, lanes, dataset, options):
    """Breaks if an update depends on anything but its seed, settings and number."""
    other = run(lanes, dataset, **options)
    assert same(reference.params, other.params)
    assert same(reference.logs, other.logs)


@pytest.mark.parametrize("chosen", [[0], [6, 2], [1, 2, 3, 4, 5]], ids=["one", "two", "five"])
def test_results_do_not_depend_on_the_other_lanes(reference, lanes, dataset, chosen):
    """Breaks if a lane's numbers change with the lanes it is batched with."""
    other = run([lanes[i] for i in chosen], dataset)
    expected = jax.tree.map(lambda leaf: leaf[np.array(chosen)], reference.params)
    assert same(expected, other.params)


def test_chunks_under_a_memory_budget_change_nothing(reference, lanes, dataset):
    """Breaks if lanes of different chunks share state, or the plan drops one."""
    (whole,) = make_plan(lanes, dataset).programs
    beside = whole.layout.devices * whole.working_bytes
    plan = make_plan(lanes, dataset, memory=2 * whole.lane_bytes + beside)
    assert len(plan.programs[0].chunks) == 4
    parts = train(plan)
    assert [lane for part in parts for lane in part.lanes] == lanes
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *[part.params for part in parts])
    assert same(reference.params, joined)


def test_vmap_agrees_over_a_few_steps(lanes, dataset):
    """Breaks if a tile mixes lanes. Rounding differs, so only a few steps are compared."""
    short = [dataclasses.replace(lane, budget=Budget(4), probes=()) for lane in lanes]
    mapped = run(short, dataset)
    tiled = run(short, dataset, strategy="vmap", tile=4, segment_updates=3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6),
        mapped.params,
        tiled.params,
    )


def test_a_diverged_lane_is_marked_and_harms_no_other(reference, lanes):
    """Breaks if NaN spreads, or a diverged lane passes for a finished one."""
    assert reference.diverged.tolist() == [False] * 5 + [True, False]
    finite = np.isfinite(reference.params["layer_0"]["weight"]).all(axis=(1, 2))
    assert finite.tolist() == [not lost for lost in reference.diverged]
    assert np.isnan(reference.logs["train_loss"][5, 1:]).all()
    names = ", ".join(reference.logs)
    assert repr(reference) == f"Trained(7 lanes, 1 diverged, 0 stopped early; logs of {names})"


def test_a_resumed_chunk_equals_an_uninterrupted_one(reference, lanes, dataset):
    """Breaks if a snapshot lacks something an update needs."""
    snapshots = []

    def stop(progress):
        snapshots.append(progress.snapshot())
        if len(snapshots) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(lanes, dataset, devices=2, segment_updates=3, on_segment=stop)
    assert 0 < snapshots[-1].step < 12
    resumed = run(lanes, dataset, devices=2, segment_updates=4, resume=snapshots[-1])
    assert same(reference.params, resumed.params)
    assert same(reference.logs, resumed.logs)


def test_budgets_of_one_program_end_where_they_should(dataset):
    """Breaks if a finished lane goes on, or its budget recompiles or changes its path."""
    lanes = [make_lane(0, updates) for updates in (3, 7, 12)]
    plan = make_plan(lanes, dataset)
    assert len(plan.programs) == 1
    (result,) = train(plan)
    assert result.updates.tolist() == [3, 7, 12]
    for row, lane in enumerate(lanes):
        alone = run([lane], dataset)
        assert same(jax.tree.map(lambda leaf, r=row: leaf[r : r + 1], result.params), alone.params)


def test_matched_loss_stops_at_the_first_evaluated_iterate_below_the_target(dataset):
    """Breaks if lanes stop late, early, or between evaluations, or a miss counts as a hit."""
    free = make_lane(0, 60, tuple(range(0, 61, 5)), step_size=0.2)
    path = run([free], dataset).logs["train_loss"][0]
    target = float(path[6] + path[7]) / 2  # crossed between updates 30 and 35
    assert (np.diff(path) < 0).all()
    lanes = [
        make_lane(0, budget=Budget(60, target, 5), step_size=0.2),
        make_lane(0, budget=Budget(20, target, 5), step_size=0.2),
    ]
    result = run(lanes, dataset)
    assert result.reached.tolist() == [True, False]
    assert result.updates.tolist() == [35, 20]
    assert result.stop_loss[0] == path[7] <= target
    assert np.isnan(result.stop_loss[1])


def test_a_lane_stops_at_the_first_probe_that_meets_a_reason_and_harms_no_other(lanes, dataset):
    # Breaks if a reason is looked at between probes, with the wrong sign, in the wrong slot, or if the lane
    # goes on after it; a level that is never met must change nothing.
    probes = (0, 3, 6, 9, 12)
    plain = [dataclasses.replace(lane, probes=probes) for lane in lanes]
    whole = run(plain, dataset, devices=2)
    level = float(whole.logs["train_loss"][2, 2])
    stops = {
        2: (Until("train_loss", level),),
        3: (Until("train_loss", 0.0), Until("test_error", 0.0, at_least=True)),
        6: (Until("train_loss", -1.0),),
    }
    early = [
        dataclasses.replace(lane, budget=Budget(12, until=stops.get(index, ())))
        for index, lane in enumerate(plain)
    ]
    found = run(early, dataset, devices=2)
    first = int(np.flatnonzero(whole.logs["train_loss"][2] <= level)[0])
    assert found.updates.tolist() == [12, 12, probes[first], 0, 12, 0, 12]
    assert found.reached.tolist() == [False, False, True, True, False, False, False]
    assert found.stop_loss[2] == found.logs["train_loss"][2, first] <= level
    assert np.isnan(found.logs["train_loss"][2, first + 1 :]).all()
    assert np.array_equal(found.logs["train_loss"][6], whole.logs["train_loss"][6])
    same_seed = dataset.checksum
    assert early[2].identity(same_seed) != plain[2].identity(same_seed)
    assert early[0].identity(same_seed) == plain[0].identity(same_seed)


def test_a_reason_to_stop_that_nobody_measures_is_refused(lanes, dataset):
    # Breaks if the lane would train to its end, or the chunk end in a traceback, when it is misspelt.
    lane = dataclasses.replace(lanes[0], budget=Budget(12, until=(Until("train_eror", 0.1),)))
    with pytest.raises(UserError, match="did you mean 'train_error'"):
        run([lane], dataset)
    with pytest.raises(UserError, match="give a number"):
        Until("train_error", float("nan"))


def test_micro_batches_give_the_gradient_of_the_whole_batch(dataset):
    """Breaks if a part's mean is taken over the part, or padding counts."""
    whole = run([make_lane(0, 6)], dataset)
    parts = run([make_lane(0, 6, recipe=make_recipe(micro_batch=5))], dataset)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        whole.params,
        parts.params,
    )


def test_sampling_with_replacement_draws_each_batch_by_its_number(dataset):
    """Breaks if batches repeat or depend on the segment."""
    recipe = make_recipe(sampling="replacement")
    first = run([make_lane(0, 8, recipe=recipe)], dataset)
    second = run([make_lane(0, 8, recipe=recipe)], dataset, segment_updates=3)
    assert same(first.params, second.params)
    assert not same(first.params, run([make_lane(1, 8, recipe=recipe)], dataset).params)


@pytest.mark.parametrize("name", ["heavy_ball", "adam"])
def test_masked_parameters_stay_exactly_zero(dataset, name):
    """Breaks if the mask is not applied to the initial weights, the gradient and the update."""
    shapes = jax.eval_shape(lambda k: MODEL.init(k, jnp.zeros(6))[0], jax.random.key(0))
    rng = np.random.default_rng(0)
    mask = jax.tree.map(lambda s: (rng.random(s.shape) < 0.5).astype(np.uint8), shapes)
    recipe = make_recipe(optimizer=optimizers.get(name), masked=True)
    result = run([make_lane(0, 6, recipe=recipe, mask=mask, weight_decay=0.1)], dataset)

    def check(leaf, keep):
        assert (leaf[0][keep == 0] == 0).all()
        assert (leaf[0][keep == 1] != 0).any()

    jax.tree.map(check, result.params, mask)


@pytest.mark.parametrize("name", ["sam", "asam"])
def test_sharpness_aware_lanes_without_radius_are_the_base_lanes_bit_for_bit(dataset, name):
    # Breaks if the second gradient is of another batch, or its place differs for ρ = 0.
    def found(optimizer, **settings):
        recipe = make_recipe(optimizer=optimizers.get(optimizer), batch_size=16)
        return run([make_lane(3, 7, recipe=recipe, momentum=0.8, **settings)], dataset).params

    base = found("heavy_ball")
    assert same(found(f"{name}(heavy_ball)", rho=0.0), base)
    assert not same(found(f"{name}(heavy_ball)", rho=0.1), base)


def test_sharpness_aware_updates_equal_optax(dataset):
    # Breaks if the engine takes the step from the place it climbed to, or climbs by another gradient.
    recipe = make_recipe(optimizer=optimizers.get("sam"), batch_size=40)
    result = run([make_lane(0, 6, recipe=recipe, step_size=0.2, rho=0.4)], dataset)
    rows = split_indices(role_key(0, "split"), dataset, (40, 0))[0]
    x, y = jnp.asarray(dataset.x_train)[rows], jnp.asarray(dataset.y_train)[rows]
    params, _ = jax.jit(MODEL.init)(role_key(0, "initialisation"), x[0])
    theirs = optax.contrib.sam(
        optax.sgd(0.2), optax.chain(optax.contrib.normalize(), optax.sgd(0.4)), opaque_mode=True
    )

    def gradient(params, _=0):
        return jax.grad(lambda p: recipe.loss.mean(MODEL.apply(p, {}, x, train=True)[0], y))(params)

    state = theirs.init(params)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(6):
            updates, state = theirs.update(gradient(params), state, params, grad_fn=gradient)
            params = optax.apply_updates(params, updates)
    found = jax.tree.map(lambda leaf: leaf[0], result.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), found, params)


def test_label_noise_of_zero_is_no_noise_and_its_rate_is_traced(dataset):
    """Breaks if the noise draws change the path of a lane without noise."""
    plan = make_plan([make_lane(0), make_lane(0, label_noise=0.5)], dataset)
    assert len(plan.programs) == 1
    (both,) = train(plan)
    alone = run([make_lane(0)], dataset)
    assert same(jax.tree.map(lambda leaf: leaf[:1], both.params), alone.params)
    assert not same(both.params["layer_0"]["weight"][0], both.params["layer_0"]["weight"][1])


def test_a_chunk_compiled_ahead_compiles_nothing_when_it_trains(dataset):
    # Breaks if what is compiled beside other training is not what the training then calls.
    compiled: list[str] = []
    # A network and a set of examples that no other test of this process has compiled programs for.
    recipe = make_recipe(model=models.Dense((11,), 3, "tanh"), batch_size=13, n_train=39)

    def listen(event: str, seconds: float, **context) -> None:
        if "backend_compile" in event:
            compiled.append(str(context.get("fun_name")))

    def heard(n_lanes: int, ahead: bool) -> set[str]:
        """Names of the engine's programs that training a chunk compiles."""
        budget = Budget(9, target_loss=1e-9, evaluate_every=4)
        lanes = [
            make_lane(seed, probes=(0, 9), recipe=recipe, budget=budget) for seed in range(n_lanes)
        ]
        # No rounding of slots, so that each number of lanes has programs of its own.
        (program,) = make_plan(lanes, dataset, devices=2).programs
        program = dataclasses.replace(program, slots=n_lanes)
        pool = make_pool(dataset, program.recipe.dtype, 2)
        if ahead:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(compile_chunks, program, dataset, pool).result()
        compiled.clear()
        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            train_chunk(program, lanes, dataset, pool=pool)
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)
        return {"jit(_examples)", "jit(_start)", "jit(_segment)", "jit(_evaluate)"} & set(compiled)

    assert len(heard(3, ahead=False)) == 4
    assert heard(5, ahead=True) == set()
