import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_dagster.ledger.merkle import Frontier, inclusion_proof, leaf_hash, verify_inclusion
from fleet_dagster.ledger.tiles import Tiles, tile_sizes
from fleet_dagster.model.errors import LedgerError
from fleet_dagster_tests.ledger import definition

Stored = dict[tuple[int, int], bytes]


def entries(size: int) -> list[bytes]:
    return [number.to_bytes(3, "big") for number in range(size)]


def tiles_of(stored: Stored) -> Tiles:
    return Tiles(lambda level, number: stored.get((level, number), b""))


def grow(stored: Stored, start: int, end: int) -> None:
    """Append entries `start` to `end` to a stored tree."""
    leaves = [leaf_hash(entry) for entry in entries(end)[start:]]
    for level, number, hashes in list(tiles_of(stored).grown(start, leaves)):
        stored[level, number] = hashes


@settings(max_examples=25)
@given(st.lists(st.sampled_from([0, 1, 2, 100, 255, 256, 257, 300]), max_size=5))
def test_tiles_grown_in_any_pieces_are_those_of_the_definition(pieces: list[int]) -> None:
    stored: Stored = {}
    size = 0
    for piece in pieces:
        grow(stored, size, size + piece)
        size += piece
        every = entries(size)
        sizes = {(level, number): n for level, number, n in tile_sizes(size)}
        assert {key: len(hashes) // 32 for key, hashes in stored.items()} == sizes
        assert stored == {(at, number): definition.tile(at, number, every) for at, number in stored}


def test_the_tree_grows_past_its_third_level_of_tiles() -> None:
    stored: Stored = {}
    grow(stored, 0, 65_530)
    grow(stored, 65_530, 65_536)
    assert [key for key in sorted(stored) if key[0] > 0] == [(1, 0), (2, 0)]
    grow(stored, 65_536, 65_800)
    every = entries(65_800)
    for level, number in ((0, 0), (0, 255), (0, 256), (0, 257), (1, 0), (1, 1), (2, 0)):
        assert stored[level, number] == definition.tile(level, number, every)
    assert [(lv, n, w) for lv, n, w in tile_sizes(65_800) if w < 256] == [
        (0, 257, 8),
        (1, 1, 1),
        (2, 0, 1),
    ]
    tiles, root = tiles_of(stored), definition.mth(every)
    assert Frontier.at(65_800, tiles.node).root() == root
    for index in (0, 65_535, 65_536, 65_799):
        proof = inclusion_proof(index, 65_800, tiles.node)
        assert verify_inclusion(proof, index, 65_800, leaf_hash(every[index]), root)


def test_the_example_of_the_specification_has_the_tiles_that_it_names() -> None:
    found = list(tile_sizes(70_000))
    widths = {level: [w for lv, _, w in found if lv == level] for level in range(3)}
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1]}
    assert list(tile_sizes(256)) == [(0, 0, 256), (1, 0, 1)]
    assert list(tile_sizes(0)) == []


@pytest.mark.parametrize("size", [1, 7, 255, 256, 257, 600])
def test_every_node_is_the_one_of_the_definition(size: int) -> None:
    stored: Stored = {}
    grow(stored, 0, size)
    tiles, expected = tiles_of(stored), definition.node_of(entries(size))
    for level in range(size.bit_length()):
        for index in range(size >> level):
            assert tiles.node(level, index) == expected(level, index)


def test_each_tile_is_read_once() -> None:
    stored: Stored = {}
    grow(stored, 0, 600)
    read: list[tuple[int, int]] = []

    def reading(level: int, number: int) -> bytes:
        read.append((level, number))
        return stored[level, number]

    tiles = Tiles(reading)
    for index in range(600):
        inclusion_proof(index, 600, tiles.node)
    assert sorted(read) == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_a_tile_that_lost_hashes_is_named() -> None:
    stored: Stored = {}
    grow(stored, 0, 300)
    stored[0, 1] = stored[0, 1][:-32]
    with pytest.raises(LedgerError, match=r"tile 0/1: it has 43 hashes, expected 44"):
        tiles_of(stored).node(0, 299)
    with pytest.raises(LedgerError, match=r"tile 0/1: it has 43 hashes, expected 44"):
        list(tiles_of(stored).grown(300, [bytes(32)]))
