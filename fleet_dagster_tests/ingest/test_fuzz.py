import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleet_dagster.ingest.files import check_file, read_parts
from fleet_dagster.model.errors import FleetError
from fleet_dagster_tests.ingest.cases import STAMP, fleet, land

_PIECES = (
    b"site_id",
    b"timestamp",
    b"temp",
    b",",
    b",",
    b"\n",
    b"\n",
    b'"',
    b"\r",
    b"\x00",
    b"\xff",
    b"S1",
    STAMP.encode(),
    b"1.5",
    b"{",
    b"}",
    b":",
    b"[",
    b"inf",
    b" ",
    b"\xc3\xa9",
)
_HEADS = {
    ".csv": b"site_id,timestamp,temp\n",
    ".jsonl": b'{"site_id":"S1","timestamp":"' + STAMP.encode() + b'","temp":1}\n',
}


def accounted(path: Path) -> int | None:
    """Land a file; None where it was refused as a whole."""
    config = fleet()
    try:
        n_rows = check_file(path, config)
    except FleetError:
        return None
    tables = [land(part, config) for part in read_parts(path, config)]
    assert sum(t.num_rows for t in tables) == n_rows
    for table in tables:
        table.validate(full=True)
        problems, details, raws = (table[name].to_pylist() for name in ("problem", "detail", "raw"))
        assert all(
            (p is None) == (d is None) == (r is None)
            for p, d, r in zip(problems, details, raws, strict=True)
        )
    return n_rows


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_random_text_files_are_refused_whole_or_every_row_is_accounted_for(
    tmp_path: Path, suffix: str
) -> None:
    rng = random.Random(20260101)  # noqa: S311 - not for secrets
    n_landed = 0
    for i in range(250):
        body = b"".join(rng.choices(_PIECES, k=rng.randrange(120)))
        content = (_HEADS[suffix] if i % 4 else b"") + body
        path = tmp_path / f"f{suffix}"
        path.write_bytes(content)
        n_rows = accounted(path)
        n_landed += n_rows or 0
        if n_rows is not None:
            lines = [
                t
                for t in content.decode().removeprefix("\ufeff").split("\n")
                if t and not t.removesuffix("\r").isspace() and t != "\r"
            ]
            assert n_rows == len(lines) - (suffix == ".csv")
    assert n_landed > 50


def test_damaged_parquet_files_are_refused_whole_or_every_row_is_accounted_for(
    tmp_path: Path,
) -> None:
    rng = random.Random(20260102)  # noqa: S311 - not for secrets
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"site_id": ["S1"] * 50, "timestamp": [STAMP] * 50, "temp": [1.0] * 50}), path
    )
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(damaged[: rng.randrange(len(whole))] if rng.random() < 0.3 else damaged)
        accounted(path)
