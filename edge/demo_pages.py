"""The pages of the demo site: a small guide to a walk along an imaginary coast. Pure.

Every page carries one script, which asks for the page once more with HEAD and shows what the node says about it. The
laboratory has a card for each behaviour of the cache, to be tried with a click.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from edge.demo_art import COASTS

__all__ = ["ARTICLES", "CARDS", "Article", "Card", "article", "gallery", "home", "laboratory", "not_found", "private"]


@dataclass(frozen=True, slots=True)
class Article:
    """One stop of the walk."""

    slug: str
    title: str
    lead: str
    text: tuple[str, ...]
    picture: int


ARTICLES = (
    Article(
        "the-lighthouse",
        "The lighthouse",
        "It was lit in 1861 and has been out twice since.",
        (
            (
                "The tower stands where the path turns north. Its keepers counted ships, and wrote the count on "
                "slates that hang in the stairway to this day: three on a quiet night, forty when the herring ran."
            ),
            (
                "Climb it in the morning. From the gallery you see the whole walk at once, from the harbour wall to "
                "the far head, and understand why nobody ever agreed on its length."
            ),
        ),
        7,
    ),
    Article(
        "salt-pans",
        "The salt pans",
        "Shallow, square and pink in August.",
        (
            (
                "The pans were cut by hand into the shelf below the cliff. Spring tides fill them, the sun does the "
                "rest, and by late summer a crust forms that sounds like thin glass underfoot."
            ),
            "Keep to the walls. They are older than the village, and the only dry way across.",
        ),
        9,
    ),
    Article(
        "the-far-head",
        "The far head",
        "Where the map stops and the wind begins.",
        (
            (
                "Nothing stands here but a cairn and a bench. The bench faces inland, which visitors find odd until "
                "they have sat on it in a westerly."
            ),
            (
                "On clear evenings the islands come up out of the haze one after the other. The last is not on any "
                "chart that we know of."
            ),
        ),
        10,
    ),
)


@dataclass(frozen=True, slots=True)
class Card:
    """One behaviour to try."""

    path: str
    title: str
    text: str
    method: str = "GET"


CARDS = (
    Card(
        "/time",
        "The time, kept for ten seconds",
        "Ask twice: the second answer is the first one, and its age grows.",
    ),
    Card(
        "/slow",
        "A slow page",
        "The origin thinks for two seconds, then speaks haltingly. Click in two windows: one fetch serves both.",
    ),
    Card(
        "/swr",
        "Stale while revalidating",
        "Fresh for five seconds. After that the old one comes at once, and a new one is fetched behind your back.",
    ),
    Card(
        "/sie",
        "Stale if the origin fails",
        "Fresh for two seconds. Switch the origin off below, wait, and ask: the old answer is better than none.",
    ),
    Card(
        "/vary",
        "One URL, several languages",
        "Varies by Accept-Language and Accept-Encoding; each variant is stored apart.",
    ),
    Card("/private", "Something private", "Private, with a cookie: the node passes it on and keeps nothing."),
    Card("/no-store", "Never stored", "The origin says no-store; every request goes there."),
    Card("/error?status=503", "An error on demand", "Any status from 400 to 599: /error?status=418."),
    Card(
        "/big",
        "A hundred mebibytes",
        "Streams through while it is being stored. The second time it comes from memory, and so do ranges of it.",
        "HEAD",
    ),
    Card(
        "/articles/salt-pans",
        "A tagged page",
        "Carries Surrogate-Key: articles salt-pans. Purge the tag and it is fetched anew.",
    ),
    Card(
        "/switch?origin=down",
        "Switch the origin off",
        "From now on it breaks every connection. What is stored lives on.",
        "POST",
    ),
    Card("/switch?origin=up", "Switch the origin on", "And back again.", "POST"),
)


def _page(title: str, body: str, here: str) -> str:
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if path == here else ""}>{name}</a>'
        for path, name in (("/gallery", "Gallery"), ("/laboratory", "Laboratory"), ("/private", "For you"))
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="stylesheet" href="/assets/site.css">
<link rel="icon" href="/assets/icon.svg">
</head>
<body>
<nav><a class="name" href="/">The Headland Walk</a>{links}</nav>
<main>{body}</main>
<aside id="seen"><div>asking the node about this page…</div></aside>
<script src="/assets/site.js"></script>
</body>
</html>
"""


def home() -> str:
    """The first page."""
    stops = "".join(
        f'<a class="card" href="/articles/{stop.slug}"><img src="/img/{stop.picture}.svg" alt="" loading="lazy">'
        f"<div><h3>{escape(stop.title)}</h3><p>{escape(stop.lead)}</p></div></a>"
        for stop in ARTICLES
    )
    return _page(
        "The Headland Walk",
        f"""
<div class="hero"><img src="/img/1.svg" alt="A lighthouse on a headland above the sea">
<div><h1>Nine miles, mostly downhill</h1>
<p>A walk along a coast that does not exist, served by a node that does.</p></div></div>
<h2>Three stops on the way</h2>
<div class="grid">{stops}</div>
<h2>What you are looking at</h2>
<p>These pages come from a small origin inside <code>headland demo</code>, which takes its time with each of them. The
node in front keeps what it may. The line below tells how this page reached you; reload, and watch it change. The
<a href="/laboratory">laboratory</a> has a button for everything else.</p>
""",
        "/",
    )


def article(stop: Article) -> str:
    """One stop of the walk."""
    text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in stop.text)
    return _page(
        f"{stop.title}, The Headland Walk",
        f'<article class="story"><h1>{escape(stop.title)}</h1><img src="/img/{stop.picture}.svg" alt="">'
        f'<p class="soft">{escape(stop.lead)}</p>{text}</article>',
        "",
    )


def gallery() -> str:
    """All pictures: drawn ones and painted ones."""
    drawn = "".join(
        f'<figure><img src="/img/{number}.svg" alt="The coast, view {number + 1}" loading="lazy"></figure>'
        for number in range(COASTS)
    )
    painted = "".join(
        f'<figure><img src="/img/{number}.png" alt="Layers of rock, sample {number + 1}" loading="lazy"></figure>'
        for number in range(3)
    )
    return _page(
        "Gallery, The Headland Walk",
        f'<h1>Gallery</h1><h2>The coast, by the hour</h2><div class="grid">{drawn}</div>'
        f'<h2>The rock, close up</h2><div class="grid">{painted}</div>',
        "/gallery",
    )


def laboratory() -> str:
    """A card for each behaviour of the cache."""
    cards = "".join(_card(card) for card in CARDS)
    return _page(
        "Laboratory, The Headland Walk",
        '<h1>Laboratory</h1><p class="soft">Each button sends one request through the node and shows what came back. '
        "The browser's own cache is left aside.</p>"
        f'<div class="grid">{cards}</div>',
        "/laboratory",
    )


def _card(card: Card) -> str:
    word = "Send" if card.method == "POST" else "Fetch"
    request = card.path if card.method == "GET" else f"{card.method} {card.path}"
    return (
        f'<section class="card try" data-path="{escape(card.path)}" data-method="{card.method}"><div>'
        f"<h3>{escape(card.title)}</h3><p>{escape(card.text)}</p>"
        f'<div class="row"><button type="button">{word}</button><code>{escape(request)}</code></div>'
        "<output></output></div></section>"
    )


def private(visits: int) -> str:
    """A page for one visitor."""
    times = "for the first time" if visits == 1 else f"for the {visits}th time"
    return _page(
        "For you, The Headland Walk",
        f'<article class="story"><h1>Welcome{" back" if visits > 1 else ""}</h1><p>You are here {times}. That is '
        "in your cookie, this page is marked private, and the node keeps no copy of it: the line below says so "
        'however often you reload.</p><img src="/img/5.svg" alt=""></article>',
        "/private",
    )


def not_found(path: str) -> str:
    """The answer for a path that is not there."""
    return _page(
        "Off the path",
        f'<article class="story"><h1>Off the path</h1><p>There is nothing at <code>{escape(path[:200])}</code>. '
        'The node remembers that for ten seconds.</p><img src="/img/4.svg" alt=""></article>',
        "",
    )
