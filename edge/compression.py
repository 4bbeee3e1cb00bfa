"""The `[site.compression]` table: which answers the node compresses itself, and in which codings.

Only types whose bytes repeat are listed by default: pictures, sound, video and archives are compressed already. Each
type is one that browsers load and that NGINX, Varnish or a CDN compresses by default.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["CompressionSettings"]

Coding = Literal["gzip", "br", "zstd"]
_MIB: Final = 1024 * 1024
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/(?:\*|[a-z0-9!#$&^_.+-]+)")
_COMPRESSIBLE: Final = (
    "text/html",
    "text/css",
    "text/plain",
    "text/xml",
    "text/javascript",
    "text/markdown",
    "text/csv",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/geo+json",
    "application/manifest+json",
    "application/vnd.api+json",
    "application/xml",
    "application/xhtml+xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "application/x-javascript",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
    "image/bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
)


def _media_type(text: str) -> str:
    media_type = text.lower()
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ValueError(f'expected a media type such as "text/html" or "text/*", got "{text}"')
    return media_type


def _codings() -> list[Coding]:
    return ["zstd", "br", "gzip"]


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


class CompressionSettings(BaseModel):
    """What the node compresses itself, once for all clients; it undoes what a client cannot read."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)

    codings: Annotated[list[Coding], Field(min_length=1, max_length=3), BeforeValidator(_listed)] = Field(
        default_factory=_codings,
        description="What is offered; of those that a client likes best, the first one is taken.",
    )
    types: Annotated[
        list[Annotated[str, AfterValidator(_media_type)]],
        Field(min_length=1, max_length=100),
        BeforeValidator(_listed),
    ] = Field(
        default_factory=lambda: list(_COMPRESSIBLE),
        description='Media types worth it: "text/html", or "text/*" for all of a kind.',
    )
    bytes_min: int = Field(
        256, alias="smallest", ge=0, le=1024 * _MIB, description="Shorter answers are left as they are."
    )
