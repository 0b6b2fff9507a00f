"""A digest of rows that does not depend on how Arrow happens to chunk or encode them."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def digest_of(rows: pa.Table) -> str:
    """Return 32 hex digits of the SHA-256 over every column's values and nulls, rows in the order given."""
    sha = hashlib.sha256()
    for name in rows.column_names:
        column = rows.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        sha.update(name.encode())
        _update(sha, column)
    return sha.hexdigest()[:32]


def _update(sha: "hashlib._Hash", column: pa.ChunkedArray) -> None:
    if column.null_count:
        sha.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if pa.types.is_list(column.type):
        sha.update(pc.list_value_length(column).fill_null(0).to_numpy().tobytes())
        _update(sha, pc.list_flatten(column))
        return
    if pa.types.is_string(column.type):
        filled = column.fill_null("")
        sha.update(pc.binary_length(filled).to_numpy().tobytes())
        for chunk in filled.chunks:
            _, offsets, text = chunk.buffers()
            if text is not None and len(chunk):
                ends = np.frombuffer(offsets, dtype=np.int32)[
                    [chunk.offset, chunk.offset + len(chunk)]
                ]
                sha.update(memoryview(text)[ends[0] : ends[1]])
        return
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    elif pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    zero = (
        pa.scalar(0).cast(column.type) if not pa.types.is_boolean(column.type) else pa.scalar(False)
    )
    sha.update(np.ascontiguousarray(column.fill_null(zero).to_numpy()).tobytes())
