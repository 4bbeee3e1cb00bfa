"""A shared cache by RFC 9111, small, slow and obviously right: what may be stored and what may be reused.

Time stands still in it: a response is as old as its Age says on arrival, so that every branch of the freshness
arithmetic is reached without waiting. It reads directives on its own and knows nothing of the code under test. Where
the RFC leaves a choice, `Verdict.MAY` says so; where this cache documents its choice, the model takes that.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

HEURISTIC_STATUSES = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}
"""RFC 9110 section 15.1, without 206."""


class Verdict(enum.Enum):
    """Whether something has to be so, cannot be so, or may be either."""

    MUST = "must"
    MAY = "may"
    MUST_NOT = "must not"


@dataclass(frozen=True)
class Asked:
    """One request to the cache: the fields that matter, None where there is none."""

    method: str
    cache_control: str | None = None
    authorization: bool = False
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Said:
    """What the origin answers to a plain GET now."""

    status: int = 200
    cache_control: str | None = None
    expires: str | None = None
    age: str | None = None
    vary: str | None = None
    etag: str | None = None
    set_cookie: bool = False


@dataclass
class Stored:
    """One stored response: what the origin said, for whom, and which body it had."""

    said: Said
    chosen_by: dict[str, str]
    body: str | None
    """None when nobody has seen it yet: the fetch was for a HEAD."""


def directives(text: str | None) -> dict[str, str | None]:
    """RFC 9111 section 5.2: names in lower case; arguments without quotes. The first of equal names counts."""
    found: dict[str, str | None] = {}
    for part in re.findall(r'[^,"]*(?:"[^"]*"[^,"]*)*', text or ""):
        name, equals, value = part.partition("=")
        if name.strip():
            found.setdefault(name.strip().lower(), value.strip().strip('"') if equals else None)
    return found


def seconds(value: str | None) -> int | None:
    """RFC 9111 section 1.2.2: digits only."""
    return int(value) if value is not None and re.fullmatch(r"\d+", value) else None


def age(said: Said) -> int:
    """RFC 9111 section 5.1: what is no number is ignored."""
    return seconds(said.age) or 0


def lifetime(said: Said) -> int | None:
    """RFC 9111 section 4.2.1; None when nothing gives one, 0 when what does is malformed."""
    given = directives(said.cache_control)
    for name in ("s-maxage", "max-age"):
        if name in given:
            return seconds(given[name]) or 0
    if said.expires is not None:
        return 10**9 if said.expires.endswith("2100 00:00:00 GMT") else 0
    return None


def fresh(said: Said) -> bool:
    """RFC 9111 section 4.2."""
    return (lifetime(said) or 0) > age(said)


def storable(asked: Asked, said: Said) -> bool:
    """RFC 9111 section 3, and this cache's choices: cookies need a sign of sharing, and nothing useless is kept."""
    given, request = directives(said.cache_control), directives(asked.cache_control)
    shared = "public" in given or "s-maxage" in given
    if asked.method not in {"GET", "HEAD"} or "no-store" in request or "no-store" in given:
        return False
    if "private" in given and given["private"] is None:
        return False
    if asked.authorization and not (shared or "must-revalidate" in given):
        return False
    if (said.set_cookie and not shared) or said.vary == "*":
        return False
    if lifetime(said) is None and "public" not in given and said.status not in HEURISTIC_STATUSES:
        return False
    return of_use(said) or said.etag is not None


def of_use(said: Said) -> bool:
    """Whether it can answer the next request: what is stored only to be validated may as well be left."""
    return fresh(said) and "no-cache" not in directives(said.cache_control)


def demands(asked: Asked, said: Said) -> Verdict:
    """Whether the request asks for more than a stored response that is `said` (RFC 9111 section 5.2.1)."""
    request = directives(asked.cache_control)
    if "no-cache" in request:
        return Verdict.MUST
    at_most, left = seconds(request.get("max-age")), seconds(request.get("min-fresh"))
    if at_most is not None and at_most <= age(said) + 1:
        # Time does not quite stand still: a second may have passed.
        return Verdict.MUST if at_most < age(said) else Verdict.MAY
    return Verdict.MUST if left is not None and (lifetime(said) or 0) - age(said) < left else Verdict.MUST_NOT


@dataclass
class Cache:
    """The responses of one resource; each request is judged before it is known what the cache did, and learnt after."""

    stored: list[Stored] = field(default_factory=list)
    known: bool = True
    """Cleared by what the model does not follow (a 304 that changes the head), set by what empties the cache."""
    uncacheable: bool = False
    """The last answer could not be shared: the next one that can need not be stored."""

    def selected(self, asked: Asked) -> Stored | None:
        """RFC 9111 section 4.1: the latest whose nominated fields the request has alike."""
        fields = dict(asked.fields)
        alike = (each for each in self.stored if all(fields.get(n, "") == v for n, v in each.chosen_by.items()))
        return next(alike, None)

    def hit(self, asked: Asked) -> Verdict:
        """Whether the store answers without the origin."""
        if not self.known:
            return Verdict.MAY
        found = self.selected(asked)
        if found is None or asked.method not in {"GET", "HEAD"}:
            return Verdict.MUST_NOT
        if not of_use(found.said):
            return Verdict.MUST_NOT
        free = asked.authorization or "no-store" in directives(asked.cache_control)
        usual = Verdict.MAY if free else Verdict.MUST
        return {Verdict.MUST: Verdict.MUST_NOT, Verdict.MAY: Verdict.MAY, Verdict.MUST_NOT: usual}[
            demands(asked, found.said)
        ]

    def forget(self) -> None:
        """Everything is gone: a purge, or a write that succeeded (RFC 9111 section 4.4)."""
        self.stored.clear()
        self.known = True

    def keep(self, asked: Asked, said: Said, body: str | None) -> None:
        """A response was stored: it takes the place of the one that was chosen by the same fields alike."""
        names = [name.strip().lower() for name in (said.vary or "").split(",") if name.strip()]
        fields = dict(asked.fields)
        chosen_by = {name: fields.get(name, "") for name in names}
        self.stored = [each for each in self.stored if each.chosen_by != chosen_by]
        self.stored.insert(0, Stored(said, chosen_by, body))
