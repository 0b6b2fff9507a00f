"""Names that a person gives to sites, regions and models."""

from typing import Annotated

from pydantic import Field

Identifier = Annotated[
    str,
    Field(
        min_length=1, max_length=128, pattern=r"^[^\s/'\"\\\x00-\x1f\x7f][^'\"\\\x00-\x1f\x7f]*$"
    ),
]
