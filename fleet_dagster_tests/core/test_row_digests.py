import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fleet_dagster.core.row_digests import row_digests

MASK = 2**64 - 1


def mixed(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def naive(row: list[float], seed: int) -> int:
    state = seed
    for value in row:
        bits = int(np.float32(value).view(np.uint32))
        state = mixed((state + 0x9E3779B97F4A7C15 + bits) & MASK)
    return mixed((state + len(row)) & MASK)


def test_a_digest_is_that_of_the_plain_loop() -> None:
    rows = np.array([[0.5, -1.25, 3.0], [1e-9, 2.0, 7.5]], dtype=np.float32)
    assert row_digests(rows, 42).tolist() == [naive(row, 42) for row in rows.tolist()]


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 20), st.integers(1, 5))))
def test_a_row_has_the_same_digest_wherever_it_stands(rows: np.ndarray) -> None:
    whole = row_digests(rows)
    alone = [row_digests(rows[i : i + 1])[0] for i in range(len(rows))]
    assert whole.tolist() == [int(d) for d in alone]


def test_every_nan_and_both_zeros_are_the_same() -> None:
    odd = np.array([0x7FC00001, 0xFFC00000], dtype=np.uint32).view(np.float32)
    rows = np.array([[odd[0]], [odd[1]], [np.nan], [0.0], [-0.0]], dtype=np.float32)
    digests = row_digests(rows)
    assert len(set(digests[:3].tolist())) == 1
    assert digests[3] == digests[4]
    assert digests[0] != digests[3]


def test_a_bit_a_place_or_the_seed_makes_another_digest() -> None:
    row = np.array([[0.1, 0.2]], dtype=np.float32)
    next_bit = np.nextafter(row, np.float32(1), dtype=np.float32)
    found = {
        int(row_digests(row)[0]),
        int(row_digests(next_bit)[0]),
        int(row_digests(row[:, ::-1])[0]),
        int(row_digests(row, 1)[0]),
        int(row_digests(row[:, :1])[0]),
    }
    assert len(found) == 5
