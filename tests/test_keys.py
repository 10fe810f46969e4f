"""Keys by role, against threefry written with NumPy alone and with its numbers pinned."""

from __future__ import annotations

import itertools
import typing

import jax
import numpy as np
import pytest

from implicit_bias.keys import ROLES, Role, role_generator, role_key

PINNED = {
    "initialisation": 0,
    "data_order": 1,
    "label_noise": 2,
    "gradient_noise": 3,
    "augmentation": 4,
    "dropout": 5,
    "probe": 6,
    "split": 7,
    "data": 8,
    "gradient_rule": 9,
}
SEEDS = (0, 1, 12345, 2**31, 2**32 - 1)


def threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers", section 3.3)."""
    whole = 2**32
    schedule = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    a, b = ((word + k) % whole for word, k in zip(counter, key, strict=True))
    for block in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[block % 2]:
            a = (a + b) % whole
            b = ((b << turn | b >> (32 - turn)) % whole) ^ a
        a = (a + schedule[(block + 1) % 3]) % whole
        b = (b + schedule[(block + 2) % 3] + block + 1) % whole
    return a, b


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_oracle_gives_the_published_numbers(key, counter, expected):
    # Breaks if the oracle is wrong: these are the known answers of the Random123 library.
    assert threefry(key, counter) == expected


def words(key: jax.Array) -> tuple[int, ...]:
    return tuple(int(word) for word in jax.random.key_data(key))


def test_role_numbers_never_change():
    # Breaks if a role is renumbered or renamed, which changes every result ever made. New roles go at
    # the end, here too.
    assert ROLES == PINNED
    assert set(typing.get_args(Role)) == set(ROLES)
    assert sorted(ROLES.values()) == list(range(len(ROLES)))


@pytest.mark.parametrize("role", PINNED)
def test_a_key_is_the_seeds_with_the_role_folded_in(role):
    # Breaks if seeds or roles enter in another way, or JAX changes what a seed means.
    for seed in SEEDS:
        assert words(role_key(seed, role)) == threefry((0, seed), (0, PINNED[role]))


def test_keys_of_roles_and_seeds_all_differ():
    # Breaks if two uses of randomness share their draws.
    pairs = itertools.product((*SEEDS, *range(2, 100)), ROLES)
    keys = {words(role_key(seed, role)) for seed, role in pairs}
    assert len(keys) == (len(SEEDS) + 98) * len(ROLES)


@pytest.mark.parametrize("role", ["initialisation", "data"])
def test_a_traced_seed_gives_the_same_key(role):
    # Breaks if lanes in a compiled program draw otherwise than a notebook that names the seed.
    seeds = np.asarray(SEEDS, np.uint32)
    traced = jax.jit(jax.vmap(lambda seed: role_key(seed, role)))(seeds)
    assert traced.shape == (len(SEEDS),)
    assert [words(key) for key in traced] == [words(role_key(seed, role)) for seed in SEEDS]


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg", "threefry2x32"])
@pytest.mark.parametrize("float64", [False, True])
def test_global_settings_change_no_key(impl, float64):
    # Breaks if a user's jax_default_prng_impl or precision changes the results of a seed.
    before = jax.config.jax_default_prng_impl
    try:
        jax.config.update("jax_default_prng_impl", impl)
        with jax.enable_x64(float64):
            keys = [role_key(seed, "split") for seed in (*SEEDS, np.uint32(7))]
            draws = jax.random.bits(keys[0], (3,), "uint32")
    finally:
        jax.config.update("jax_default_prng_impl", before)
    assert [words(key) for key in keys] == [threefry((0, s), (0, 7)) for s in (*SEEDS, 7)]
    assert {str(jax.random.key_impl(key)) for key in keys} == {"threefry2x32"}
    assert (draws == jax.random.bits(role_key(0, "split"), (3,), "uint32")).all()


@pytest.mark.parametrize(
    ("parts", "entropy"),
    [((), []), ((3, 0), [3, 0]), (("ab", 1), [97, 98, 1]), ((np.int64(7),), [7])],
)
def test_generators_of_roles_are_numpys_of_seed_role_and_parts(parts, entropy):
    # Breaks if a part is dropped or hashed, which would change what every drawn experiment finds.
    for seed in (0, np.uint32(12345)):
        drawn = role_generator(seed, "data", *parts).integers(2**62, size=4)
        pinned = np.random.default_rng([int(seed), 8, *entropy]).integers(2**62, size=4)
        np.testing.assert_array_equal(drawn, pinned)
    assert role_generator(0, "data", 1).random() != role_generator(0, "probe", 1).random()
