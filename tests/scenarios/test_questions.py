"""POST as a question, by rule: the body is part of the key. And Accept-Language reduced to the languages of a site."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import certificates
from tests.curls import Answer, Client
from tests.processes import Headland, preamble
from tests.scripted import ScriptedOrigin

CONFIGURATION = """\
[[site]]
hosts = "*"
origin = "app"
[[site.rule]]
method = "POST"
key = { body = true }
[[site.rule]]
path_prefix = "/"
languages = ["en", "de", "pt-BR"]
[[site.rule]]
header = { User-Agent = "*Mobile*" }
set_request_header = { User-Agent = "mobile" }
[origin.app]
servers = "ORIGIN"
"""
FIELDS = {"Cache-Control": "max-age=60"}


@pytest.fixture(scope="module")
def places(origin: ScriptedOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    file = tmp_path_factory.mktemp("questions") / "edge.toml"
    secure = certificates.make(file.parent, "a.example")
    file.write_text(preamble(secure=secure) + CONFIGURATION.replace("ORIGIN", origin.url))
    with Headland("serve", "--config", file) as node:
        yield node.serving()
        assert node.process.poll() is None, node.rest_of("stderr")


def _post(client: Client, path: str, body: str, *fields: str) -> Answer:
    return client.get(path, *fields, method="POST", body=body)


def test_equal_questions_share_an_answer(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, lambda it: it.answer(200, FIELDS, b"to " + it.body))
    assert [_post(client, path, "one").body for _ in range(3)] == [b"to one"] * 3
    assert _post(client, path, "one").cache == "hit"
    assert _post(client, path, "two").body == b"to two"
    assert [each.method for each in origin.asked(path)] == ["POST", "POST"]
    assert [each.body for each in origin.asked(path)] == [b"one", b"two"]


def test_the_type_of_a_question_is_part_of_it(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, lambda it: it.answer(200, FIELDS, it.headers["Content-Type"]))
    assert _post(client, path, "{}", "Content-Type: application/json").body == b"application/json"
    assert _post(client, path, "{}", "Content-Type: text/plain").body == b"text/plain"


def test_a_get_is_another_matter(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, lambda it: it.answer(200, FIELDS, it.method))
    assert _post(client, path, "").body == b"POST"
    assert client.get(path).body == b"GET"
    # Asking changes nothing: what is stored for GET stays.
    assert _post(client, path, "other").body == b"POST"
    assert client.get(path).cache == "hit"


def test_without_explicit_freshness_nothing_is_stored(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.says(path, {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, "x")
    for _ in range(2):
        assert _post(client, path, "one").body == b"x"
    assert len(origin.asked(path)) == 2


def test_a_long_question_is_passed_on(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, lambda it: it.answer(200, FIELDS, str(len(it.body))))
    long = "x" * (64 * 1024 + 1)
    for _ in range(2):
        assert _post(client, path, long).body == str(len(long)).encode()
    assert len(origin.asked(path)) == 2
    for _ in range(2):
        assert _post(client, path, long[:-1]).body == str(len(long) - 1).encode()
    assert len(origin.asked(path)) == 3


def test_many_clients_with_one_question_ask_once(
    client: Client, origin: ScriptedOrigin, path: str, gate: object
) -> None:
    def slow(it: object) -> None:
        gate.pass_through()  # type: ignore[attr-defined]
        it.answer(200, FIELDS, b"answer")  # type: ignore[attr-defined]

    origin.at(path, slow)
    transfers = [client.start(path, method="POST", body="same") for _ in range(5)]
    origin.wait_asked(path, 1)
    gate.set()  # type: ignore[attr-defined]
    assert [transfer.answer().body for transfer in transfers] == [b"answer"] * 5
    assert len(origin.asked(path)) == 1


@pytest.mark.parametrize("fields", [("fr", "es, fr;q=0.3"), ("de", "de-CH;q=0.9, en;q=0.1"), ("pt-br, de", "pt-BR")])
def test_a_site_has_as_many_variants_as_languages(
    client: Client, origin: ScriptedOrigin, path: str, fields: tuple[str, str]
) -> None:
    origin.at(path, lambda it: it.answer(200, {**FIELDS, "Vary": "Accept-Language"}, it.headers["Accept-Language"]))
    first, second = (client.get(path, f"Accept-Language: {value}") for value in fields)
    assert first.body == second.body
    assert second.cache == "hit"
    assert len(origin.asked(path)) == 1


def test_vary_is_about_what_the_origin_gets_to_see(client: Client, origin: ScriptedOrigin, path: str) -> None:
    origin.at(path, lambda it: it.answer(200, {**FIELDS, "Vary": "User-Agent"}, it.headers["User-Agent"]))
    assert client.get(path, "User-Agent: A Mobile/1").body == b"mobile"
    assert client.get(path, "User-Agent: B Mobile/2").cache == "hit"
    assert client.get(path, "User-Agent: desktop").body == b"desktop"
    assert len(origin.asked(path)) == 2
