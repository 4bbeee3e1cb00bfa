"""Vary: each client gets the variant made for it, and variants are shared as far as they can be."""

from __future__ import annotations

FRESH = {"Cache-Control": "max-age=60"}


def echo(*names):
    """Answer with what the origin saw of some fields, and name them in Vary."""

    def script(exchange):
        seen = "|".join(exchange.headers.get(name, "-") for name in names)
        exchange.answer(200, FRESH | {"Vary": ", ".join(names)}, seen)

    return script


def test_each_language_is_its_own_variant(origin, client, path):
    origin.at(path, echo("Accept-Language"))
    assert client.get(path, "Accept-Language: de").cache == "fwd=uri-miss; stored"
    english = client.get(path, "Accept-Language: en")
    assert (english.body, english.cache) == (b"en", "fwd=vary-miss; stored")
    for language in ("de", "en"):
        answer = client.get(path, f"Accept-Language: {language}")
        assert (answer.body, answer.cache) == (language.encode(), "hit")
    assert client.get(path).body == b"-"
    assert client.get(path).cache == "hit"


def test_spelling_does_not_make_a_variant(origin, client, path):
    origin.at(path, echo("Accept-Language"))
    client.get(path, "Accept-Language: de,en")
    assert client.get(path, "Accept-Language:  de ,  en").cache == "hit"


def test_codings_are_compared_by_what_they_allow(origin, client, path):
    origin.at(path, echo("Accept-Encoding"))
    client.get(path, "Accept-Encoding: gzip, br")
    for same in ("br, gzip", "gzip,br", "br;q=1.0, gzip;q=0.8", "gzip, br, unknown"):
        assert client.get(path, f"Accept-Encoding: {same}").cache == "hit", same
    for other in ("gzip", "br", "identity"):
        assert client.get(path, f"Accept-Encoding: {other}").cache == "fwd=vary-miss; stored", other
    assert client.get(path, "Accept-Encoding: gzip;q=0, br").cache == "hit"


def test_two_fields_in_vary(origin, client, path):
    origin.at(path, echo("Accept-Language", "X-Device"))
    for language in ("de", "en"):
        for device in ("phone", "desk"):
            fields = (f"Accept-Language: {language}", f"X-Device: {device}")
            assert client.get(path, *fields).body == f"{language}|{device}".encode()
    for language in ("de", "en"):
        for device in ("phone", "desk"):
            fields = (f"Accept-Language: {language}", f"X-Device: {device}")
            answer = client.get(path, *fields)
            assert (answer.body, answer.cache) == (f"{language}|{device}".encode(), "hit")
    assert len(origin.asked(path)) == 4


def test_a_variant_that_expired_is_validated_by_itself(origin, client, path):
    def script(exchange):
        language = exchange.headers["Accept-Language"]
        tag = f'"{language}"'
        if exchange.headers.get("If-None-Match") == tag:
            return exchange.answer(304, FRESH | {"ETag": tag, "Vary": "Accept-Language"})
        fields = {"Cache-Control": "max-age=10", "Age": "11", "ETag": tag, "Vary": "Accept-Language"}
        return exchange.answer(200, fields, language)

    origin.at(path, script)
    for language in ("de", "en", "de", "en"):
        answer = client.get(path, f"Accept-Language: {language}")
        assert (answer.status, answer.body) == (200, language.encode())
    asked = [exchange.headers.get("If-None-Match") for exchange in origin.asked(path)]
    assert asked == [None, None, '"de"', '"en"']
    assert client.get(path, "Accept-Language: de").cache == "hit"


def test_many_variants_stay_bounded_and_right(origin, client, path):
    origin.at(path, echo("X-Number"))
    for number in [*range(40), *range(40)]:
        assert client.get(path, f"X-Number: {number}").body == str(number).encode()
