"""The storm panel: who is drawn, by hand and by its rules."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.panel import NO_STRATUM, Panel, draw_panel, panel_of
from fleet_dagster.core.windows import HOUR
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import UNMAPPED
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON

EPISODE = StormEpisode.of(NOON, NOON + HOUR)


def draw(
    regions: Sequence[str | None],
    *,
    critical: Sequence[int] = (),
    names: Sequence[str] | None = None,
    episode: str = "storm-1",
) -> Panel:
    """Draw from one site for each region named."""
    is_critical = np.isin(np.arange(len(regions)), critical)
    ids = names or [f"S-{i}" for i in range(len(regions))]
    return draw_panel("plant", episode, site_ids=ids, regions=regions, is_critical=is_critical)


def read_in(panel: Panel, stratum: int) -> int:
    return int((panel.is_read & (panel.stratum == stratum)).sum())


def test_the_sites_with_the_smallest_hashes_are_read() -> None:
    # printf 'plant\037storm-1\037a' | sha256sum, and so on:
    first_bytes = {
        "a": "37b7db2b",
        "b": "e8bd9001",
        "c": "ee5b9b6e",
        "d": "5fab7370",
        "e": "58436c75",
    }
    smallest = sorted(first_bytes, key=first_bytes.__getitem__)[:2]
    names = list(first_bytes)
    panel = draw(["R"] * 5, names=names)
    assert [name for name, read in zip(names, panel.is_read, strict=True) if read] == sorted(
        smallest
    )


@pytest.mark.parametrize(
    ("n_sites", "n_read", "is_own"),
    [
        (1, 1, False),
        (2, 2, False),
        (3, 2, False),
        (19, 2, False),
        (20, 2, True),
        (21, 3, True),
        (30, 3, True),
        (31, 4, True),
        (1000, 100, True),
    ],
)
def test_a_tenth_is_read_rounded_up_and_two_at_least(
    n_sites: int, n_read: int, *, is_own: bool
) -> None:
    panel = draw(["R"] * n_sites)
    assert panel.is_read.sum() == n_read
    assert panel.is_own_region.tolist() == ([True, False] if is_own else [False])
    assert (panel.stratum == 0).all()


def test_a_region_of_twenty_is_a_stratum_and_smaller_ones_are_pooled() -> None:
    panel = draw(["north"] * 20 + ["east"] * 19 + ["south"] * 25 + ["west"] * 6)
    assert panel.is_own_region.tolist() == [True, True, False]
    # Strata follow the names of the regions; the pool comes last.
    assert panel.stratum.tolist() == [0] * 20 + [2] * 19 + [1] * 25 + [2] * 6
    assert [read_in(panel, s) for s in range(3)] == [2, 3, 3]


def test_critical_sites_are_read_with_certainty_and_are_not_drawn_from() -> None:
    panel = draw(["R"] * 30, critical=[0, 1, 2, 3, 4])
    assert panel.is_certain.tolist() == [True] * 5 + [False] * 25
    assert panel.is_read[:5].all()
    assert (panel.stratum[:5] == NO_STRATUM).all()
    assert read_in(panel, 0) == 3  # of the other 25


def test_a_region_keeps_its_stratum_when_critical_sites_leave_fewer_than_twenty_to_draw() -> None:
    panel = draw(["R"] * 20, critical=range(18))
    assert panel.is_own_region.tolist() == [True, False]
    assert panel.is_read.all()  # the two others are the least that is drawn


def test_a_fleet_of_critical_sites_is_read_whole() -> None:
    panel = draw(["R"] * 25, critical=range(25))
    assert panel.is_read.all()
    assert (panel.design_weight == 0).all()


def test_sites_that_are_not_there_yet_are_neither_read_nor_counted() -> None:
    panel = draw(["R"] * 19 + [None] * 11, critical=[25])
    assert panel.is_own_region.tolist() == [False]
    assert not panel.is_read[19:].any()
    assert not panel.is_certain[19:].any()
    assert (panel.stratum[19:] == NO_STRATUM).all()


def test_a_fleet_without_sites_has_an_empty_panel() -> None:
    panel = draw([])
    assert panel.is_read.size == 0
    assert panel.design_weight.size == 0


def test_a_site_stands_for_its_share_of_the_stratum() -> None:
    panel = draw(["R"] * 25, critical=[0])
    assert panel.design_weight.tolist() == [0.0] + [24 / 3] * 24


def test_another_episode_and_another_fleet_draw_other_sites() -> None:
    regions = ["R"] * 200
    first = draw(regions)
    other_fleet = draw_panel(
        "mill",
        "storm-1",
        site_ids=[f"S-{i}" for i in range(200)],
        regions=regions,
        is_critical=np.zeros(200, dtype=np.bool_),
    )
    assert not np.array_equal(first.is_read, draw(regions, episode="storm-2").is_read)
    assert not np.array_equal(first.is_read, other_fleet.is_read)


REGIONS = st.lists(st.sampled_from(["A", "B", "C", None]), min_size=1, max_size=80)


@given(REGIONS, st.randoms(use_true_random=False))
def test_the_order_of_sites_does_not_matter(regions: list[str | None], rng: random.Random) -> None:
    n = len(regions)
    order = rng.sample(range(n), n)
    names = [f"S-{i}" for i in range(n)]
    critical = [i for i in range(n) if i % 7 == 0]
    a = draw(regions, critical=critical)
    b = draw(
        [regions[i] for i in order],
        names=[names[i] for i in order],
        critical=[place for place, i in enumerate(order) if i in critical],
    )
    assert a.is_read[order].tolist() == b.is_read.tolist()
    assert a.stratum[order].tolist() == b.stratum.tolist()


@given(REGIONS, st.sets(st.integers(0, 79)))
def test_every_stratum_is_read_as_its_size_asks(
    regions: list[str | None], critical: set[int]
) -> None:
    panel = draw(regions, critical=sorted(critical))
    for stratum in range(panel.n_strata):
        size = int((panel.stratum == stratum).sum())
        assert read_in(panel, stratum) == min(size, max(2, -(-size // 10)))
    outside = panel.stratum == NO_STRATUM
    assert (panel.is_read[outside] == panel.is_certain[outside]).all()
    # Each site of a stratum stands for as many as it takes to make up all of them.
    assert panel.design_weight[panel.is_read].sum() == pytest.approx((panel.stratum >= 0).sum())


def test_a_fleets_panel_takes_sites_and_regions_as_the_episode_begins() -> None:
    mappings = [
        {"site_id": "early", "region_id": "R", "critical": True},
        {"site_id": "late", "region_id": "R", "valid_from": fleets.utc(NOON + HOUR).isoformat()},
        {"site_id": "mover", "region_id": "R"},
        {
            "site_id": "mover",
            "region_id": "S",
            "critical": True,
            "valid_from": fleets.utc(NOON + HOUR).isoformat(),
        },
    ]
    fleet = Fleet.of(fleets.config(region_mappings=mappings), {"stranger": NOON})
    panel = panel_of(fleet, EPISODE)
    sites = [site.site_id for site in fleet.sites]
    assert dict(zip(sites, panel.is_read.tolist(), strict=True)) == {
        "early": True,
        "late": False,
        "mover": True,
        "stranger": True,
    }
    assert dict(zip(sites, panel.is_certain.tolist(), strict=True)) == {
        "early": True,
        "late": False,
        "mover": False,
        "stranger": False,
    }


def test_sites_that_no_mapping_names_are_a_region_of_their_own() -> None:
    seen = {f"X-{i:02d}": NOON for i in range(20)}
    fleet = Fleet.of(fleets.config(n_sites=6, profile="medium"), seen)
    panel = panel_of(fleet, EPISODE)
    assert UNMAPPED not in {m.region_id for m in fleet.config.region_mappings}
    assert panel.is_own_region.tolist() == [True, False]
    assert panel.stratum.tolist() == [1] * 6 + [0] * 20
