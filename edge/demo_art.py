"""The pictures of the demo site, made in code: the same number always gives the same bytes. Pure.

`coast` draws a small scene as SVG (sky, sun, headlands, sea, a lighthouse), `strata` paints layers of rock as PNG with
nothing but zlib. Both are seeded by their number, so a gallery of them needs no files.
"""

from __future__ import annotations

import functools
import math
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["COASTS", "Light", "coast", "strata"]

WIDTH, HEIGHT = 960, 600
STRATA_WIDTH, STRATA_HEIGHT = 480, 320


@dataclass(frozen=True, slots=True)
class Light:
    """The colours of one time of day."""

    name: str
    sky: tuple[str, str, str]
    sun: str
    land: tuple[str, str, str, str]
    sea: tuple[str, str]


LIGHTS = (
    Light(
        "Dawn",
        ("#2b3a67", "#c06c84", "#f8b195"),
        "#ffe3c2",
        ("#8b5e83", "#6b4a75", "#4a3763", "#2c2547"),
        ("#e8a598", "#5b4a78"),
    ),
    Light(
        "Morning",
        ("#4f9bc4", "#a8d5e5", "#f4ecd8"),
        "#fffbe8",
        ("#9bb8b0", "#6f9a8f", "#467a6e", "#27574e"),
        ("#7fc1cf", "#2a7f96"),
    ),
    Light(
        "Noon",
        ("#1f7ab8", "#6db9dd", "#d4eef5"),
        "#ffffff",
        ("#86b6a5", "#5a9a80", "#3a7d5f", "#1f5a42"),
        ("#4fb3c4", "#136a8a"),
    ),
    Light(
        "Evening",
        ("#1d2b53", "#e0576b", "#ffb25e"),
        "#ffe08a",
        ("#a34a5d", "#7a3550", "#512644", "#2d1a33"),
        ("#f58f6c", "#463060"),
    ),
    Light(
        "Dusk",
        ("#0f1b3d", "#3f4a85", "#b98ab5"),
        "#f7d9e3",
        ("#565b8f", "#3f4577", "#2b305c", "#181b3b"),
        ("#8d7fb0", "#232a57"),
    ),
    Light(
        "Night",
        ("#060b1e", "#12204a", "#2c3f6f"),
        "#f2f4ff",
        ("#26355c", "#1b2747", "#121b34", "#090f20"),
        ("#2d4474", "#0b1430"),
    ),
)
COASTS = 12
"""Scenes there are; numbers beyond begin again."""


@functools.lru_cache(maxsize=COASTS)
def coast(number: int) -> bytes:
    """A scene as SVG."""
    dice = random.Random(f"coast {number % COASTS}")  # noqa: S311 - a picture, not a secret
    light = LIGHTS[number % len(LIGHTS)]
    horizon = HEIGHT * dice.uniform(0.56, 0.66)
    sun_x, sun_y = WIDTH * dice.uniform(0.18, 0.82), horizon - HEIGHT * dice.uniform(0.1, 0.34)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>The coast, {light.name.lower()}</title>",
        _gradients(light),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="url(#sky)"/>',
        *(_stars(dice, horizon) if light.name in {"Night", "Dusk"} else ()),
        f'<circle cx="{sun_x:.0f}" cy="{sun_y:.0f}" r="190" fill="url(#glow)"/>',
        f'<circle cx="{sun_x:.0f}" cy="{sun_y:.0f}" r="{dice.uniform(26, 40):.0f}" fill="{light.sun}"/>',
        f'<rect y="{horizon:.0f}" width="{WIDTH}" height="{HEIGHT - horizon:.0f}" fill="url(#sea)"/>',
        *_glitter(dice, light.sun, sun_x, horizon),
        *_headlands(dice, light, horizon),
        *_birds(dice, light.land[3], horizon),
        "</svg>",
    ]
    return "\n".join(parts).encode()


def _gradients(light: Light) -> str:
    def stops(*colours: str) -> str:
        last = len(colours) - 1
        return "".join(f'<stop offset="{index / last:.2f}" stop-color="{c}"/>' for index, c in enumerate(colours))

    return (
        f'<defs><linearGradient id="sky" x2="0" y2="1">{stops(*light.sky)}</linearGradient>'
        f'<linearGradient id="sea" x2="0" y2="1">{stops(*light.sea)}</linearGradient>'
        f'<radialGradient id="glow"><stop stop-color="{light.sun}" stop-opacity=".6"/>'
        f'<stop offset="1" stop-color="{light.sun}" stop-opacity="0"/></radialGradient></defs>'
    )


def _stars(dice: random.Random, horizon: float) -> Iterator[str]:
    for _ in range(70):
        x, y = dice.uniform(0, WIDTH), dice.uniform(0, horizon * 0.8)
        size, glow = dice.uniform(0.5, 1.6), dice.uniform(0.3, 0.9)
        yield f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{size:.1f}" fill="#fff" opacity="{glow:.1f}"/>'


def _glitter(dice: random.Random, colour: str, sun_x: float, horizon: float) -> Iterator[str]:
    for row in range(26):
        y = horizon + 4 + row * (HEIGHT - horizon) / 26
        spread = 14 + row * 5
        x = sun_x + dice.uniform(-spread, spread)
        length = dice.uniform(14, 40 + row * 3)
        yield (
            f'<rect x="{x - length / 2:.0f}" y="{y:.0f}" width="{length:.0f}" height="2" rx="1" '
            f'fill="{colour}" opacity="{dice.uniform(0.15, 0.6):.2f}"/>'
        )


def _headlands(dice: random.Random, light: Light, horizon: float) -> Iterator[str]:
    """Four layers, far to near, from alternating sides; the third carries the lighthouse."""
    side = dice.random() < 0.5
    for layer in range(4):
        base = horizon + layer * (HEIGHT - horizon) * 0.3
        height = HEIGHT * (0.09 + layer * 0.055) * dice.uniform(0.85, 1.2)
        reach = WIDTH * (0.58 - layer * 0.05) * dice.uniform(0.8, 1.05)
        ridge = list(_ridge(dice, base, height, reach, left=side))
        points = " ".join(f"{x:.0f},{y:.0f}" for x, y in ridge)
        yield f'<polygon points="{points}" fill="{light.land[layer]}"/>'
        if layer == 2:
            yield _lighthouse(*_brow(ridge, left=side), light)
        side = not side


def _ridge(
    dice: random.Random, base: float, height: float, reach: float, *, left: bool
) -> Iterator[tuple[float, float]]:
    """A slope that falls from the picture's edge to the water, in the order of drawing."""
    phase, steps = dice.uniform(0, 6), 48

    def place(along: float) -> float:
        return along if left else WIDTH - along

    yield place(0), HEIGHT
    for step in range(steps + 1):
        part = step / steps
        slope = math.cos(part * math.pi / 2) ** 0.55
        rough = math.sin(part * 17 + phase) * 5 + math.sin(part * 41 + phase * 2) * 2.5
        yield place(reach * part), base - height * slope + rough * (1 - part)
    yield place(reach * 1.06), base + 6
    yield place(reach * 0.9), HEIGHT


def _brow(ridge: list[tuple[float, float]], *, left: bool) -> tuple[float, float]:
    """Where a lighthouse would stand: well out, still high."""
    x, y = ridge[26]
    return (x - 6 if left else x + 6), y + 5


def _lighthouse(x: float, y: float, light: Light) -> str:
    dark = light.land[3]
    beam = (
        f'<polygon points="{x},{y - 76} {x - 420},{y - 150} {x - 420},{y - 40}" fill="#fff6cf" opacity=".16"/>'
        if light.name in {"Night", "Dusk", "Dawn"}
        else ""
    )
    return (
        f'{beam}<g><polygon points="{x - 9},{y} {x - 6},{y - 66} {x + 6},{y - 66} {x + 9},{y}" fill="#f7f3ea"/>'
        f'<polygon points="{x - 8},{y - 22} {x - 7},{y - 40} {x + 7},{y - 40} {x + 8},{y - 22}" fill="#c8463c"/>'
        f'<rect x="{x - 9}" y="{y - 69}" width="18" height="3" fill="{dark}"/>'
        f'<rect x="{x - 5}" y="{y - 80}" width="10" height="11" fill="#fff2b8"/>'
        f'<polygon points="{x - 8},{y - 80} {x},{y - 90} {x + 8},{y - 80}" fill="#c8463c"/></g>'
    )


def _birds(dice: random.Random, colour: str, horizon: float) -> Iterator[str]:
    for _ in range(dice.randint(3, 7)):
        x, y, size = dice.uniform(80, WIDTH - 80), dice.uniform(60, horizon * 0.6), dice.uniform(6, 12)
        wing = f"q{size / 2:.0f} {-size / 2:.0f} {size:.0f} 0"
        yield (
            f'<path d="M{x - size:.0f} {y:.0f} {wing} {wing}" fill="none" stroke="{colour}" stroke-width="1.6" '
            'opacity=".7"/>'
        )


@functools.lru_cache(maxsize=8)
def strata(number: int) -> bytes:
    """Layers of rock as PNG, 8 bits per channel."""
    dice = random.Random(f"strata {number}")  # noqa: S311 - a picture, not a secret
    hues = [_stone(dice) for _ in range(9)]
    waves = [(dice.uniform(0.004, 0.02), dice.uniform(0, 6), dice.uniform(4, 16)) for _ in range(3)]
    lift = [sum(math.sin(x * f + p) * a for f, p, a in waves) for x in range(STRATA_WIDTH)]
    grain = [dice.randint(-9, 9) for _ in range(1024)]
    rows = bytearray()
    for y in range(STRATA_HEIGHT):
        rows.append(0)  # no filter (PNG, section 9)
        for x in range(STRATA_WIDTH):
            layer = int((y + lift[x]) / 34 + 3)
            noise = grain[(x * 7 + y * 131) & 1023]
            rows += bytes(max(0, min(255, channel + noise)) for channel in hues[layer % 9])
    header = struct.pack(">IIBBBBB", STRATA_WIDTH, STRATA_HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
    )


def _stone(dice: random.Random) -> tuple[int, int, int]:
    """A colour between slate and sandstone."""
    light, warmth = dice.randint(70, 205), dice.randint(-12, 46)
    return light + warmth, light + warmth // 3, light - warmth


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
