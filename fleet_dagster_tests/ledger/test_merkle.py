from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from fleet_dagster_tests.ledger import definition

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""Tree of the Certificate Transparency projects: certificate-transparency, cpp/merkletree/merkle_tree_test.cc, and
transparency-dev/merkle, testonly/constants.go; its roots by size, and its published proofs, are below."""
ROOTS = [
    bytes.fromhex(root)
    for root in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
LEAF_0 = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
FROM_0_TO_2 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
FROM_2_TO_4 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
FROM_4_TO_6 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
FROM_6_TO_8 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
FROM_0_TO_4 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
FROM_4_TO_8 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"

SIZES = st.integers(1, 70)


def entries(size: int) -> list[bytes]:
    """Return that many entries, no two the same."""
    return [number.to_bytes(3, "big") for number in range(size)]


def hashes(size: int) -> list[bytes]:
    return [leaf_hash(entry) for entry in entries(size)]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert root_of([leaf_hash(leaf) for leaf in LEAVES[:size]]) == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "published"),
    [
        (0, 1, ()),
        (0, 8, (LEAF_1, FROM_2_TO_4, FROM_4_TO_8)),
        (5, 8, (LEAF_4, FROM_6_TO_8, FROM_0_TO_4)),
        (2, 3, (FROM_0_TO_2,)),
        (1, 5, (LEAF_0, FROM_2_TO_4, LEAF_4)),
    ],
)
def test_published_inclusion_proofs(index: int, size: int, published: Sequence[str]) -> None:
    found = inclusion_proof(index, size, definition.node_of(LEAVES))
    assert [one.hex() for one in found] == list(published)
    assert verify_inclusion(found, index, size, leaf_hash(LEAVES[index]), ROOTS[size])


@pytest.mark.parametrize(
    ("old", "new", "published"),
    [
        (1, 1, ()),
        (1, 8, (LEAF_1, FROM_2_TO_4, FROM_4_TO_8)),
        (6, 8, (FROM_4_TO_6, FROM_6_TO_8, FROM_0_TO_4)),
        (2, 5, (FROM_2_TO_4, LEAF_4)),
    ],
)
def test_published_consistency_proofs(old: int, new: int, published: Sequence[str]) -> None:
    found = consistency_proof(old, new, definition.node_of(LEAVES))
    assert [one.hex() for one in found] == list(published)
    assert verify_consistency(found, old, new, ROOTS[old], ROOTS[new])


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 60))
def test_a_frontier_grown_in_any_pieces_has_the_root_of_the_definition(
    pieces: list[int], start: int
) -> None:
    total = start + sum(pieces)
    every = entries(total)
    frontier = Frontier.at(start, definition.node_of(every))
    assert frontier.root() == definition.mth(every[:start])
    for piece in pieces:
        frontier.extend(hashes(total)[frontier.size : frontier.size + piece])
        assert frontier.root() == definition.mth(every[: frontier.size])
    assert frontier.size == total


@pytest.mark.parametrize("size", [255, 256, 257, 65535, 65536, 65537])
def test_roots_of_large_trees(size: int) -> None:
    assert root_of(hashes(size)) == definition.mth(entries(size))


def test_a_frontier_needs_as_many_peaks_as_its_size_has() -> None:
    with pytest.raises(ValueError, match="longer"):
        Frontier(3, hashes(3))
    with pytest.raises(ValueError, match="shorter"):
        Frontier(3, hashes(1))


def test_every_proof_of_small_trees_is_the_one_of_the_definition_and_is_accepted() -> None:
    for size in range(1, 20):
        every = entries(size)
        root, nodes = definition.mth(every), definition.node_of(every)
        for index in range(size):
            included = inclusion_proof(index, size, nodes)
            assert included == definition.path(index, every)
            assert verify_inclusion(included, index, size, leaf_hash(every[index]), root)
        for old in range(size + 1):
            grew = consistency_proof(old, size, nodes)
            assert grew == definition.proof(old, every)
            assert verify_consistency(grew, old, size, definition.mth(every[:old]), root)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_what_is_not_in_a_tree_has_no_inclusion_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"leaf {index} is not in a tree of {size} leaves"):
        inclusion_proof(index, size, definition.node_of(LEAVES))
    assert not verify_inclusion([], index, size, ROOTS[1], ROOTS[1])


@pytest.mark.parametrize(("old", "new"), [(4, 3), (-1, 3)])
def test_a_tree_is_no_beginning_of_a_smaller_one(old: int, new: int) -> None:
    with pytest.raises(ValueError, match=f"a tree of {old} leaves cannot be the beginning"):
        consistency_proof(old, new, definition.node_of(LEAVES))
    assert not verify_consistency([], old, new, ROOTS[3], ROOTS[3])


@st.composite
def spoilt(draw: st.DrawFn, good: list[bytes]) -> list[bytes]:
    """Return a proof that is not `good`: with a hash changed, missing, added, or two swapped."""
    ways = [
        "added",
        *(["changed", "missing"] if good else []),
        *(["swapped"] if len(good) > 1 else []),
    ]
    way, bad = draw(st.sampled_from(ways)), list(good)
    if way == "added":
        bad.insert(draw(st.integers(0, len(bad))), draw(st.sampled_from([*good, bytes(32)])))
        return bad
    at = draw(st.integers(0, len(bad) - 1))
    if way == "changed":
        byte, bit = draw(st.integers(0, 31)), 1 << draw(st.integers(0, 7))
        bad[at] = bad[at][:byte] + bytes([bad[at][byte] ^ bit]) + bad[at][byte + 1 :]
    elif way == "missing":
        del bad[at]
    else:
        other = draw(st.integers(0, len(bad) - 1).filter(lambda i: i != at))
        bad[at], bad[other] = bad[other], bad[at]
    return bad


@given(st.data(), SIZES)
def test_a_spoilt_inclusion_proof_is_refused(data: st.DataObject, size: int) -> None:
    every, index = entries(size), data.draw(st.integers(0, size - 1))
    good, root, leaf = definition.path(index, every), definition.mth(every), leaf_hash(every[index])
    bad = data.draw(spoilt(good))
    assert not verify_inclusion(bad, index, size, leaf, root)
    other = data.draw(st.integers(-1, size).filter(lambda i: i != index))
    assert not verify_inclusion(good, other, size, leaf, root)
    assert not verify_inclusion(good, index, size, leaf_hash(b"another"), root)
    assert not verify_inclusion(good, index, size, leaf, definition.mth([*every, b"more"]))


@given(st.data(), SIZES, SIZES)
def test_an_inclusion_proof_under_another_size_is_accepted_only_where_the_definition_leads_to_the_root(
    data: st.DataObject, size: int, other: int
) -> None:
    """A proof alone does not fix the size: the checkpoint that was signed does."""
    every, index = entries(size), data.draw(st.integers(0, size - 1))
    good, root, leaf = definition.path(index, every), definition.mth(every), leaf_hash(every[index])
    expected = index < other and definition.root_by_path(index, other, leaf, good) == root
    assert verify_inclusion(good, index, other, leaf, root) is expected


@given(st.data(), SIZES)
def test_a_spoilt_consistency_proof_is_refused(data: st.DataObject, new: int) -> None:
    every, old = entries(new), data.draw(st.integers(0, new))
    good = definition.proof(old, every)
    old_root, new_root = definition.mth(every[:old]), definition.mth(every)
    assert verify_consistency(good, old, new, old_root, new_root)
    bad = data.draw(spoilt(good))
    assert not verify_consistency(bad, old, new, old_root, new_root)
    forged = definition.mth([b"forged", *every[1:old]]) if old else definition.mth([b"forged"])
    assert not verify_consistency(good, old, new, forged, new_root)
    if old:
        assert not verify_consistency(good, old, new, old_root, definition.mth([*every, b"more"]))


@given(st.data(), SIZES, st.integers(0, 75), st.integers(0, 75))
def test_a_consistency_proof_of_other_sizes_is_accepted_only_where_the_definition_leads_to_both_roots(
    data: st.DataObject, new: int, other_old: int, other_new: int
) -> None:
    every, old = entries(new), data.draw(st.integers(1, new))
    good = definition.proof(old, every)
    roots = definition.mth(every[:old]), definition.mth(every)
    expected = 0 < other_old <= other_new and roots == definition.roots_by_proof(
        other_old, other_new, roots[0], good
    )
    assert verify_consistency(good, other_old, other_new, *roots) is expected


def test_every_tree_begins_with_the_empty_one_and_with_itself() -> None:
    assert verify_consistency([], 0, 8, EMPTY_ROOT, ROOTS[8])
    assert verify_consistency([], 8, 8, ROOTS[8], ROOTS[8])
    assert verify_consistency([], 0, 0, EMPTY_ROOT, EMPTY_ROOT)
    assert not verify_consistency([], 0, 0, ROOTS[1], ROOTS[1])
    assert not verify_consistency([], 0, 0, EMPTY_ROOT, ROOTS[1])
    assert not verify_consistency([], 0, 8, ROOTS[1], ROOTS[8])
    assert not verify_consistency([], 8, 8, ROOTS[8], ROOTS[7])
    assert not verify_consistency([ROOTS[8]], 8, 8, ROOTS[8], ROOTS[8])
    assert not verify_consistency([], 4, 8, ROOTS[4], ROOTS[8])
