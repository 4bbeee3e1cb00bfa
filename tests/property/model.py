"""A shared cache by RFC 9111, small, slow and obviously right: what may be stored and what may be reused, and when.

Time is a number of seconds that the test puts forward; within `SLACK_S` of a boundary either side of it is right. It
reads directives on its own and knows nothing of the code under test. Where the RFC leaves a choice, `Verdict.MAY` says
so; where this cache documents its choice, the model takes that.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field, replace

SLACK_S = 2.0
"""Seconds that real time may add while a schedule runs, rounding included."""
ERRORS = {500, 502, 503, 504}
"""RFC 5861 section 4: what something stale may stand in for."""
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
    range: bool = False
    """Whether only the first two bytes are wanted."""
    condition: bool = False
    """Whether the client has the version `v`."""
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
    dropped: bool = False
    """The connection is closed instead."""
    cut: bool = False
    """The connection is closed before the last byte of the body."""


@dataclass
class Stored:
    """One stored response: what the origin said, for whom, when, and which body it had."""

    said: Said
    chosen_by: dict[str, str]
    body: str | None
    """None when nobody has seen it whole yet."""
    at_s: float
    soft: bool = False
    """Whether a soft purge came over it."""


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


def fresh_on_arrival(said: Said) -> bool:
    """RFC 9111 section 4.2."""
    return (lifetime(said) or 0) > age(said)


def below(value: float, bound: float) -> Verdict:
    """Whether a moment is before a boundary, as far as can be told."""
    if value < bound - SLACK_S:
        return Verdict.MUST
    return Verdict.MAY if value < bound + SLACK_S else Verdict.MUST_NOT


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
    return of_use(said) or said.etag is not None or windows(said) != (0, 0)


def of_use(said: Said) -> bool:
    """Whether it can answer the next request: what is stored only to be validated may as well be left."""
    return fresh_on_arrival(said) and "no-cache" not in directives(said.cache_control)


def windows(said: Said) -> tuple[int, int]:
    """Seconds of stale-while-revalidate and stale-if-error (RFC 5861); must-revalidate and no-cache close both."""
    given = directives(said.cache_control)
    if {"must-revalidate", "no-cache"} & given.keys():
        return (0, 0)
    return seconds(given.get("stale-while-revalidate")) or 0, seconds(given.get("stale-if-error")) or 0


def age_at(stored: Stored, now_s: float) -> float:
    """RFC 9111 section 4.2.3."""
    return age(stored.said) + (now_s - stored.at_s)


def staleness(stored: Stored, now_s: float) -> float:
    """Seconds since it expired; none while it is fresh."""
    return max(0.0, age_at(stored, now_s) - (lifetime(stored.said) or 0))


def freshness(stored: Stored, now_s: float) -> Verdict:
    """RFC 9111 section 4.2: its lifetime exceeds its age, and no soft purge came over it."""
    if stored.soft or not of_use(stored.said):
        return Verdict.MUST_NOT
    return below(age_at(stored, now_s), lifetime(stored.said) or 0)


def demands(asked: Asked, stored: Stored, now_s: float) -> Verdict:
    """Whether the request asks for more than a fresh response (RFC 9111 section 5.2.1)."""
    request = directives(asked.cache_control)
    if "no-cache" in request:
        return Verdict.MUST
    at_most, least = seconds(request.get("max-age")), seconds(request.get("min-fresh"))
    if at_most is not None:
        return opposite(below(age_at(stored, now_s), at_most))
    if least is not None:
        return opposite(below(age_at(stored, now_s) + least, lifetime(stored.said) or 0))
    return Verdict.MUST_NOT


def opposite(verdict: Verdict) -> Verdict:
    """The verdict on the contrary."""
    return {Verdict.MUST: Verdict.MUST_NOT, Verdict.MUST_NOT: Verdict.MUST}.get(verdict, Verdict.MAY)


def either(one: Verdict, other: Verdict) -> Verdict:
    """Whether one of two things is so."""
    if Verdict.MUST in (one, other):
        return Verdict.MUST
    return Verdict.MAY if Verdict.MAY in (one, other) else Verdict.MUST_NOT


def stale_is_taken(asked: Asked, stored: Stored, now_s: float) -> Verdict:
    """Whether it answers although it has expired (RFC 5861 section 3, RFC 9111 sections 4.2.4 and 5.2.1.2)."""
    request, given = directives(asked.cache_control), directives(stored.said.cache_control)
    if "no-cache" in given or request.keys() & {"no-cache", "max-age", "min-fresh"}:
        return Verdict.MUST_NOT
    stale_s = staleness(stored, now_s)
    grace, accepted = below(stale_s, windows(stored.said)[0]), Verdict.MUST_NOT
    closed = given.keys() & {"must-revalidate", "s-maxage"}
    if "max-stale" in request and not closed and not stored.soft:
        limit = request["max-stale"]
        # RFC 9111 section 5.2.1.2: without a number any age is.
        accepted = Verdict.MUST if limit is None else below(stale_s, seconds(limit) or 0)
    if windows(stored.said)[0] == 0:
        grace = Verdict.MUST_NOT
    return either(grace, accepted)


@dataclass
class Cache:
    """The responses of one resource; each request is judged before it is known what the cache did, and learnt after."""

    stored: list[Stored] = field(default_factory=list)
    known: bool = True
    """Cleared by what the model does not follow, set by what empties the cache."""
    uncacheable: bool = False
    """The last answer could not be shared: the next one that can need not be stored."""

    def selected(self, asked: Asked) -> Stored | None:
        """RFC 9111 section 4.1: the latest whose nominated fields the request has alike."""
        fields = dict(asked.fields)
        alike = (each for each in self.stored if all(fields.get(n, "") == v for n, v in each.chosen_by.items()))
        return next(alike, None)

    def hit(self, asked: Asked, now_s: float) -> Verdict:
        """Whether the store answers without the origin."""
        if not self.known:
            return Verdict.MAY
        found = self.selected(asked)
        if found is None or asked.method not in {"GET", "HEAD"}:
            return Verdict.MUST_NOT
        is_fresh = freshness(found, now_s)
        if is_fresh is Verdict.MUST:
            verdict = opposite(demands(asked, found, now_s))
        elif is_fresh is Verdict.MUST_NOT:
            verdict = stale_is_taken(asked, found, now_s)
        else:
            verdict = Verdict.MAY
        return _loosened(verdict, asked)

    def stands_in(self, asked: Asked, now_s: float) -> Verdict:
        """Whether what is stored answers for an origin that failed (RFC 5861 section 4)."""
        if not self.known:
            return Verdict.MAY
        found = self.selected(asked)
        if found is None or asked.method not in {"GET", "HEAD"} or "no-cache" in directives(found.said.cache_control):
            return Verdict.MUST_NOT
        window = max(windows(found.said))
        in_window = below(staleness(found, now_s), window) if window else Verdict.MUST_NOT
        return _loosened(either(freshness(found, now_s), in_window), asked)

    def forget(self) -> None:
        """Everything is gone: a purge, or a write that succeeded (RFC 9111 section 4.4)."""
        self.stored.clear()
        self.known = True

    def soften(self) -> None:
        """A soft purge: everything counts as stale from now on."""
        for each in self.stored:
            each.soft = True

    def keep(self, asked: Asked, said: Said, body: str | None, now_s: float) -> None:
        """A response was stored: it takes the place of the one that was chosen by the same fields alike."""
        names = [name.strip().lower() for name in (said.vary or "").split(",") if name.strip()]
        fields = dict(asked.fields)
        chosen_by = {name: fields.get(name, "") for name in names}
        self.stored = [each for each in self.stored if each.chosen_by != chosen_by]
        self.stored.insert(0, Stored(said, chosen_by, body, now_s))

    def confirm(self, asked: Asked, said: Said, now_s: float) -> None:
        """A 304 came for what is selected: its fields replace the stored ones (RFC 9111 sections 3.2 and 4.3.4)."""
        found = self.selected(asked)
        if found is None or said.vary != found.said.vary or said.set_cookie or not storable(asked, said):
            # What has to be thrown out or chosen anew is not followed.
            self.known = False
            return
        kept = {name: getattr(said, name) or getattr(found.said, name) for name in ("expires", "etag")}
        # An empty field is one, and an Age that is not said anew does not stand.
        given = said.cache_control if said.cache_control is not None else found.said.cache_control
        found.said = replace(found.said, cache_control=given, age=said.age, **kept)
        found.at_s, found.soft = now_s, False
        self.stored.sort(key=lambda each: each is not found)

    def fetched_behind(self, asked: Asked, said: Said, *, confirmed: bool, now_s: float) -> None:
        """Something stale answered, and the origin was asked behind it: nobody has seen what came."""
        # A 304 has no body that could be cut.
        if said.dropped or (said.cut and not confirmed):
            return
        if said.status in ERRORS:
            hidden = self.stands_in(asked, now_s)
            if hidden is Verdict.MUST:
                return
            # An error that nothing stands in for is an answer like any other.
            self.known &= hidden is Verdict.MUST_NOT
        if confirmed:
            self.confirm(asked, said, now_s)
        elif storable(asked, said) and of_use(said) and not asked.authorization:
            self.keep(asked, said, None, now_s)
        else:
            self.known = False


def _loosened(verdict: Verdict, asked: Asked) -> Verdict:
    """Who sends credentials or forbids storing may be served from the store or not."""
    free = asked.authorization or "no-store" in directives(asked.cache_control)
    return Verdict.MAY if free and verdict is Verdict.MUST else verdict
