"""How good a storm's sample is, from listed seeds; `make quality` measures the same on more episodes."""

import pytest

from benchmarks.storms import POPULATIONS, Sites, figures

SEEDS = (11, 23, 47)
EPISODES = 150
MARGIN_PCT = 3.0
"""Three standard errors of a coverage of 95 % in 450 episodes. [points]"""


SLOWEST = ("t5, 16 regions", "t5, 8 regions, 5 % not online")
"""Left to `make test-all`: fewer regions, and more sites that are not online, are among the rest."""
CHOSEN = [
    pytest.param(sites, marks=[pytest.mark.slow] if sites.title in SLOWEST else [], id=sites.title)
    for sites in POPULATIONS[:6]
]


@pytest.mark.parametrize("sites", CHOSEN)
def test_intervals_of_a_storms_sample_hold_the_fleets_mean_as_often_as_they_say(
    sites: Sites,
) -> None:
    found = figures(200, sites, seeds=SEEDS, episodes=EPISODES)
    assert 93 - MARGIN_PCT <= found.coverage_pct <= 97 + MARGIN_PCT, found
    assert abs(found.bias) <= 0.05 + 3 / (len(SEEDS) * EPISODES) ** 0.5, found
