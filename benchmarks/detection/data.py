"""The public measurements in `../shared/data`, which may be absent."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

DATA = Path(__file__).parents[3] / "shared" / "data"


def table(folder: str, name: str) -> pd.DataFrame:
    """Return one file of a data set."""
    return pd.read_parquet(DATA / folder / f"{name}.parquet")


def where_present(measure: Callable[[], str]) -> Callable[[], str]:
    """Return a measurement that says so where the data is absent."""
    return lambda: measure() if DATA.is_dir() else "Not measured: `../shared/data` is absent."
