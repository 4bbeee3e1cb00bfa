"""The `[cache]` table: how much is kept in memory and on disk, and how fills are shared.

Fields carry their unit in their name; in TOML the key is the alias, and its value a text with a unit ("1GiB"), which
`edge.document` turns into the number that stands here. Defaults, bounds and meanings are written here only: the
documentation comes from them, and Rust has none.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CacheSettings", "DiskPathSettings", "DiskSettings"]

_KIB = 1024
_MIB = 1024 * _KIB
_GIB = 1024 * _MIB
_HOUR_MS = 3_600_000


class DiskPathSettings(BaseModel):
    """One more disk of the tier."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)

    path: str = Field(min_length=1, description="A directory of its own on that disk.")
    size_bytes: int = Field(
        alias="size",
        ge=64 * _MIB,
        le=1024 * 1024 * _GIB,
        description="What may be written there; its share of all responses follows from it.",
    )


class DiskSettings(BaseModel):
    """The disk tier: what memory has no room for, there again after a restart."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)

    path: str = Field(
        min_length=1, description="A directory of its own, made if need be; beside this file. One node at a time."
    )
    size_bytes: int = Field(
        alias="size",
        ge=64 * _MIB,
        le=1024 * 1024 * _GIB,
        description="What may be written there; the oldest goes first.",
    )
    more: list[DiskPathSettings] = Field(
        default_factory=list,
        max_length=64,
        description="Further disks; each response has its place on one of them. One that fails is left out.",
    )
    admission: Literal["always", "second-hit", "never"] = Field(
        "second-hit",
        description="What is written, unless a site has its own: all that is stored, what is asked for again, nothing.",
    )
    segment_bytes: int = Field(
        64 * _MIB,
        alias="segment",
        ge=16 * _MIB,
        le=256 * _MIB,
        description="The size of one file; objects of more than a quarter of it stay in memory.",
    )
    write_bytes_per_s: int = Field(
        0,
        alias="write_rate",
        ge=0,
        le=1024 * _GIB,
        description="What is written to each disk in a second; what finds the queue full is not. 0 bounds nothing.",
    )
    page_cache: bool = Field(
        default=True,
        description="Whether the system's page cache keeps what was written and read; false leaves it to others.",
    )
    index_bytes_max: int = Field(
        1 * _GIB,
        alias="index",
        ge=1 * _MIB,
        le=256 * _GIB,
        description="What the index may take in memory, 32 bytes for each response; the oldest responses give way.",
    )
    readers: int = Field(
        8,
        ge=1,
        le=256,
        description="Threads that wait for the disk where the system's page cache does not have what is asked for.",
    )


class CacheSettings(BaseModel):
    """The memory tier, and the collapse of fills for one key into one."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)

    memory_bytes: int = Field(
        512 * _MIB,
        alias="memory",
        ge=16 * _MIB,
        le=16 * 1024 * _GIB,
        description="What all stored objects may take in memory: heads, index and bodies counted.",
    )
    object_bytes_max: int = Field(
        256 * _MIB,
        alias="object_max",
        ge=1 * _KIB,
        le=1024 * _GIB,
        description="The largest body that is stored as one; a larger one is stored in parts, or passes through.",
    )
    fill_bytes_max: int = Field(
        256 * _MIB,
        alias="fill_max",
        ge=1 * _MIB,
        le=1024 * _GIB,
        description="What all answers that are being fetched for the cache may hold at a time, before they are stored.",
    )
    followers_max: int = Field(
        10_000,
        ge=0,
        le=1_000_000,
        description="How many requests may wait for one fetch of the same key; more than that go to the origin.",
    )
    uncacheable_ms: int = Field(
        120_000,
        alias="uncacheable",
        ge=0,
        le=24 * _HOUR_MS,
        description="How long a key is remembered as uncacheable, so that its requests do not wait for each other.",
    )
    refills_max: int = Field(
        64,
        alias="refills",
        ge=0,
        le=1_000_000,
        description="How many purged responses are fetched anew from one origin at a time; 0 bounds nothing.",
    )
    tags_ignore_case: bool = Field(
        default=False,
        description="Whether purging by tag ignores the case of letters.",
    )
    disk: DiskSettings | None = None
