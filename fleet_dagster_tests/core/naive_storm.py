"""The storm estimator written out from its formulas: one window, one site at a time, in plain floats.

For a value y, with weights w, strata h, status cells c, design weights D = N_h / n_h of the whole stratum, and fresh sites
only (Särndal, Swensson and Wretman 1992, sections 6.4 to 7.6):

    m_c   = sum(w D y) / sum(w D) over the drawn of cell c
    s_h   = sum(w (y - m_c)) / sum(w) over the drawn of stratum h
    T_r   = sum(w y) over the certain + sum_c W_rc m_c + sum_h W_rh s_h
    mean  = T(y) / T(1 where y is present)
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scipy.stats import t as student

NAN = math.nan


@dataclass(frozen=True)
class NaiveSite:
    """One fresh site of the fleet in one window."""

    weight: float
    region: int
    stratum: int
    is_certain: bool
    is_read: bool
    status: int
    design: float
    """Sites of its stratum for each one drawn, stale ones too; 0 outside."""
    value: float
    """NaN where absent."""


@dataclass
class NaiveStorm:
    """Estimates from sites, by the formulas."""

    sites: Sequence[NaiveSite]
    n_regions: int
    is_own_region: Sequence[bool]
    label: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Merge rare statuses: from the worst on into the next better one, online into the next worse that is left."""
        inside = [s for s in self.others if s.stratum >= 0]
        expected = {c: math.fsum(1 / s.design for s in inside if s.status == c) for c in range(4)}
        self.label = {c: c for c in range(4)}
        for status in (3, 2, 1):
            if expected[status] < 5:
                expected[status - 1] += expected[status]
                expected[status] = 0
                self.label = {
                    c: status - 1 if into == status else into for c, into in self.label.items()
                }
        left = [c for c in (1, 2, 3) if expected[c] > 0]
        if expected[0] < 5 and left:
            self.label = {c: left[0] if into == 0 else into for c, into in self.label.items()}

    @property
    def others(self) -> list[NaiveSite]:
        """Sites not read with certainty."""
        return [s for s in self.sites if not s.is_certain]

    @property
    def drawn(self) -> list[NaiveSite]:
        """Those of them that are read."""
        return [s for s in self.others if s.is_read]

    def cell(self, site: NaiveSite) -> int:
        """Return the cell of a site."""
        return self.label[site.status]

    def of_cell(self, c: int) -> list[NaiveSite]:
        """Return the drawn sites of a cell."""
        return [s for s in self.drawn if self.cell(s) == c]

    def of_stratum(self, h: int) -> list[NaiveSite]:
        """Return the drawn sites of a stratum."""
        return [s for s in self.drawn if s.stratum == h]

    def mean(self, region: int | None) -> float:
        """Return the mean of a region, or of the fleet."""
        top, bottom = self.total(region, present=False), self.total(region, present=True)
        return top / bottom if bottom > 1e-9 else NAN

    def total(self, region: int | None, *, present: bool) -> float:
        """Return T of the value, or of its presence."""
        sites = [s for s in self.sites if region in (None, s.region)]
        terms = [s.weight * amount(s, present=present) for s in sites if s.is_certain]
        for s in sites:
            if not s.is_certain and s.weight > 0:
                terms.append(s.weight * self.cell_mean(self.cell(s), present=present))
                if s.stratum >= 0:
                    terms.append(s.weight * self.shift(s.stratum, present=present))
        return math.fsum(terms)

    def cell_mean(self, c: int, *, present: bool) -> float:
        """Return m_c; where nobody of the cell was drawn, the mean of all drawn."""
        members = self.of_cell(c)
        if math.fsum(s.weight * s.design for s in members) == 0:
            members = self.drawn
        return ratio(
            (s.weight * s.design * amount(s, present=present) for s in members),
            (s.weight * s.design for s in members),
        )

    def shift(self, h: int, *, present: bool) -> float:
        """Return s_h; 0 where nobody of the stratum was drawn."""
        members = self.of_stratum(h)
        found = ratio(
            (s.weight * self.deviation(s, present=present) for s in members),
            (s.weight for s in members),
        )
        return 0.0 if math.isnan(found) else found

    def deviation(self, s: NaiveSite, *, present: bool) -> float:
        """Return what a site deviates from its cell."""
        return amount(s, present=present) - self.cell_mean(self.cell(s), present=present)

    def stderr(self, region: int | None) -> float:
        """Sum the squared deviations, freed of their leverage, and widen by Student's t."""
        group = [s for s in self.others if region in (None, s.region)]
        if math.fsum(s.weight for s in group if not s.is_read) == 0:
            return 0.0
        if region is not None and not self.is_told(region):
            return NAN
        mean, strata = self.mean(region), range(len(self.is_own_region))
        weight = {h: math.fsum(s.weight for s in group if s.stratum == h) for h in strata}
        unread = {h: self.unread(h) for h in strata}
        shares, squares = [], []
        for s in self.drawn:
            if len(self.of_stratum(s.stratum)) > 1:
                stands = weight[s.stratum] / (self.stratum_read(s.stratum) or math.inf)
                factor = s.weight * self.calibration(self.cell(s)) * stands
                shares.append(factor**2 * unread[s.stratum])
                squares.append(
                    self.residual(s, 0.0 if math.isnan(mean) else mean) ** 2 / self.left(s)
                )
        alone = math.fsum(
            weight[h] ** 2 * unread[h] for h in strata if len(self.of_stratum(h)) <= 1
        )
        typical = math.fsum(squares) / len(squares) if squares else NAN
        rest = alone * typical if alone > 0 else 0.0
        variance = math.fsum(a * b for a, b in zip(shares, squares, strict=True)) + rest
        having = self.total(region, present=True)
        return math.sqrt(variance) * self.widening(shares) / having if having > 1e-9 else NAN

    def residual(self, s: NaiveSite, mean: float) -> float:
        """Return what is left unexplained of a site."""

        def own(*, present: bool) -> float:
            return self.deviation(s, present=present) - self.shift(s.stratum, present=present)

        return own(present=False) - mean * own(present=True)

    def left(self, s: NaiveSite) -> float:
        """Return 1 - leverage (MacKinnon and White 1985, HC2), 0.1 at least."""
        stands = s.weight * s.design
        leverage = ratio([s.weight], [self.stratum_read(s.stratum)])
        leverage += ratio([stands], [self.cell_read(self.cell(s))])
        leverage -= ratio([stands], (o.weight * o.design for o in self.drawn))
        return max(0.1, 1.0 - (0.0 if math.isnan(leverage) else leverage))

    def widening(self, shares: list[float]) -> float:
        """Return how much wider Student's t is (Satterthwaite 1946)."""
        strata = [len(self.of_stratum(h)) for h in range(len(self.is_own_region))]
        n_cells = sum(self.cell_read(c) > 0 for c in range(4))
        freedom = max(sum(max(n - 1, 0) for n in strata) - n_cells + 1, 1)
        square = math.fsum(a * a for a in shares)
        even = math.fsum(shares) ** 2 / square if square > 0 else 0.0
        effective = max(freedom * even / max(sum(strata), 1), 4.0)
        return float(student.ppf(0.975, effective)) / 1.959963984540054

    def is_told(self, region: int) -> bool:
        """Whether a region is strata whole, with five sites read."""
        here = [s for s in self.sites if s.region == region]
        foreign = [
            s.weight
            for s in here
            if not s.is_certain and (s.stratum < 0 or not self.is_own_region[s.stratum])
        ]
        return sum(s.is_read for s in here) >= 5 and math.fsum(foreign) == 0

    def unread(self, h: int) -> float:
        """Return the share of a stratum's fresh sites that were not drawn."""
        n_fresh = sum(s.stratum == h for s in self.others)
        return 1 - len(self.of_stratum(h)) / n_fresh if n_fresh else 1.0

    def stratum_read(self, h: int) -> float:
        """Return what the drawn sites of a stratum weigh."""
        return math.fsum(s.weight for s in self.of_stratum(h))

    def cell_read(self, c: int) -> float:
        """Return what the drawn sites of a cell stand for."""
        return math.fsum(s.weight * s.design for s in self.of_cell(c))

    def calibration(self, c: int) -> float:
        """Return what a cell weighs over what its drawn sites stand for."""
        known = math.fsum(s.weight for s in self.others if self.cell(s) == c)
        return known / self.cell_read(c) if self.cell_read(c) > 0 else 0.0


def amount(s: NaiveSite, *, present: bool) -> float:
    """Return a site's value, or 1, and 0 where it has none."""
    if math.isnan(s.value):
        return 0.0
    return 1.0 if present else s.value


def ratio(top: Iterable[float], bottom: Iterable[float]) -> float:
    """Divide two sums; NaN where there is nothing to divide by."""
    below = math.fsum(bottom)
    return math.fsum(top) / below if below > 0 else NAN
