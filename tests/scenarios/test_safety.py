"""What is one user's never reaches another: Authorization, Set-Cookie, hosts, schemes of the key."""

from __future__ import annotations

import pytest

FRESH = {"Cache-Control": "max-age=60"}


def whoami(fields):
    return lambda exchange: exchange.answer(200, fields, exchange.headers.get("Authorization", "nobody"))


def test_an_answer_to_a_user_is_his_alone(origin, client, path):
    origin.at(path, whoami(FRESH))
    assert client.get(path, "Authorization: Basic a").body == b"Basic a"
    assert client.get(path, "Authorization: Basic b").body == b"Basic b"
    assert client.get(path).body == b"nobody"


@pytest.mark.parametrize("word", ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"])
def test_the_origin_may_share_an_answer_to_a_user(origin, client, path, word):
    origin.at(path, whoami({"Cache-Control": word}))
    client.get(path, "Authorization: Basic a")
    assert client.get(path, "Authorization: Basic b").body == b"Basic a"


def test_users_at_once_do_not_share_a_fill(origin, client, path, gate):
    def script(exchange):
        if exchange.number == 1:
            gate.pass_through()
        exchange.answer(200, FRESH, exchange.headers.get("Authorization", "nobody"))

    origin.at(path, script)
    with client.start(path, "Authorization: Basic a") as one, client.start(path, "Authorization: Basic b") as two:
        origin.wait_asked(path, 1)
        gate.set()
        assert {one.answer().body, two.answer().body} == {b"Basic a", b"Basic b"}


def test_set_cookie_is_never_shared(origin, client, path):
    origin.at(path, lambda exchange: exchange.answer(200, FRESH | {"Set-Cookie": f"id={exchange.number}"}, "x"))
    seen = [client.get(path).headers.get("set-cookie") for _ in range(4)]
    shared = [cookie for cookie in seen if cookie is not None]
    assert seen[0] == "id=1"
    assert len(shared) == len(set(shared)), seen


def test_fields_that_an_origin_calls_private_are_not_stored(origin, client, path):
    fields = {"Cache-Control": 'max-age=60, private="X-User"', "X-User": "a", "X-Other": "b"}
    origin.says(path, fields, "x")
    client.get(path)
    second = client.get(path)
    assert "x-user" not in second.headers or second.cache != "hit"


def test_hosts_do_not_meet(origin, client, path):
    origin.at(path, lambda exchange: exchange.answer(200, FRESH, exchange.headers["Host"]))
    for _ in range(2):
        for host in ("a.test", "b.test"):
            assert client.get(path, host=host).body == host.encode()
    assert client.get(path, host="A.TEST").cache == "hit"
    assert client.get(path, host=f"a.test:{client.usual_port}").cache == "hit"


def test_the_same_target_by_another_spelling_is_one_key(origin, client, path):
    origin.says(path + "/~a", FRESH, "x")
    client.get(path + "/~a")
    for spelling in ("/%7Ea", "/%7ea", "/./~a", "/b/../~a"):
        assert client.get(path + spelling).cache == "hit", spelling


def test_queries_are_part_of_the_key(origin, client, path):
    origin.at(path, lambda exchange: exchange.answer(200, FRESH, exchange.target))
    for query in ("?a=1&b=2", "?b=2&a=1", "", "?"):
        answer = client.get(path + query)
        assert answer.body == (path + query).encode()
        assert answer.cache != "hit"


def test_a_header_of_a_client_that_is_not_in_the_key_does_not_stay(origin, client, path):
    origin.says(path, FRESH, "x")
    client.get(path, "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https", "Forwarded: host=evil.test")
    sent = origin.asked(path)[0].headers
    assert "evil.test" not in (sent.get("X-Forwarded-Host") or "")
    assert "evil.test" not in (sent.get("Forwarded") or "")


def test_an_error_of_the_origin_is_not_kept_unasked(origin, client, path):
    origin.says(path, {}, "x", status=500)
    client.get(path)
    origin.says(path, FRESH, "y")
    assert client.get(path).body == b"y"
