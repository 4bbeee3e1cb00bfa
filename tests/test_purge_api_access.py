"""Who may purge what, over HTTP: tokens, scopes, sites, pages of other sites."""

from __future__ import annotations

import hmac

import pytest

from purge_api.auth import Tokens
from purge_api.errors import Refused
from tests.purging import READER, SECRET, SHOP, TAGGER, TOKENS, URL, Context, Token, bearer, order, problem, serving


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path)


@pytest.fixture
async def client(context):
    async with serving(context) as client:
        yield client


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 401),
        (bearer("wrong"), 401),
        (bearer(""), 401),
        (bearer(SECRET[:-1]), 401),
        (bearer(SECRET + "x"), 401),
        ({"Authorization": f"Basic {SECRET}"}, 401),
        ({"Authorization": SECRET}, 401),
        ({"Cookie": f"token={SECRET}"}, 401),
        ({"X-Token": SECRET}, 401),
        (bearer(READER), 403),
        (bearer(TAGGER), 403),
        ({"Fastly-Key": SECRET, "AccessKey": "other"}, 400),
        (bearer(), 201),
        ({"authorization": f"bearer   {SECRET}"}, 201),
        ({"Fastly-Key": SECRET}, 201),
        ({"AccessKey": SECRET}, 201),
        ({"X-Auth-Key": SECRET, "X-Auth-Email": "a@example.com"}, 201),
        (bearer() | {"Fastly-Key": SECRET}, 201),
    ],
)
async def test_only_a_known_token_with_the_scope_purges(client, context, fields, status):
    response = await client.post("/v1/purges", json=order(), headers=fields)
    assert response.status == status
    assert len(context.ledger.applied) == (status == 201)
    if status == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert SECRET not in await response.text()


async def test_a_token_in_the_query_is_never_looked_at(client):
    response = await client.post(f"/v1/purges?token={SECRET}&access_token={SECRET}", json=order())
    await problem(response, 401, "no-token")


async def test_a_scope_may_be_for_one_kind(client):
    assert (await client.post("/v1/purges", json=order("tag", ("a",)), headers=bearer(TAGGER))).status == 201
    document = await problem(await client.post("/v1/purges", json=order(), headers=bearer(TAGGER)), 403, "scope")
    assert "purge:url" in document["detail"]


@pytest.mark.parametrize(
    ("kind", "items", "rules"),
    [
        ("url", ("https://shop.example/a",), [("url", "https://shop.example/a")]),
        ("host", ("shop.example:8443",), [("host", "shop.example:8443")]),
        ("wildcard", ("shop.example/*",), [("wildcard", "shop.example/*")]),
        ("all", (), [("site", "shop.example")]),
        ("site", ("shop.example",), [("site", "shop.example")]),
        ("url", ("https://shop.example/a", URL), None),
        ("host", ("x.shop.example",), None),
        ("site", ("www.example.com",), None),
        ("wildcard", ("*/a",), None),
        ("tag", ("a",), None),
    ],
)
async def test_a_token_bound_to_a_site_purges_nothing_else(client, context, kind, items, rules):
    response = await client.post("/v1/purges", json=order(kind, items), headers=bearer(SHOP))
    if rules is None:
        await problem(response, 403, "site")
        rules = []
    assert [rule[:2] for rule in context.ledger.applied] == rules


async def test_without_tokens_there_is_no_purging(client, context):
    context.tokens = ()
    document = await problem(await client.post("/v1/purges", json=order(), headers=bearer()), 403, "no-tokens")
    assert "no token is configured" in document["detail"]


async def test_tokens_are_replaced_without_a_restart(client, context):
    context.tokens = (Token("new", "fresh", frozenset({"purge"})),)
    assert (await client.post("/v1/purges", json=order(), headers=bearer())).status == 401
    assert (await client.post("/v1/purges", json=order(), headers=bearer("fresh"))).status == 201


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:9090"}, 201),
        ({"Host": "[::1]:9090"}, 201),
        ({"Host": "127.0.0.1"}, 201),
        ({"Host": "localhost:9090", "Origin": "http://localhost:9090", "Sec-Fetch-Site": "same-origin"}, 201),
    ],
)
async def test_pages_of_other_sites_and_rebound_names_are_refused(client, context, fields, status):
    response = await client.post("/v1/purges", json=order(), headers=bearer() | fields)
    assert response.status == status
    assert "Access-Control-Allow-Origin" not in response.headers
    assert len(context.ledger.applied) == (status == 201)


async def test_a_preflight_is_refused(client):
    response = await client.options(
        "/v1/purges", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    await problem(response, 405, "method")
    assert "Access-Control-Allow-Origin" not in response.headers


def test_every_token_is_compared_whichever_fits(monkeypatch):
    compared = []
    real = hmac.compare_digest

    def counting(known, digest):
        compared.append(known)
        return real(known, digest)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    tokens = Tokens(TOKENS)
    for secret, name in ((SECRET, "ci"), (TAGGER, "tagger")):
        compared.clear()
        assert tokens.authenticate(bearer(secret)).name == name
        assert len(compared) == len(TOKENS)
    compared.clear()
    with pytest.raises(Refused, match="not known"):
        tokens.authenticate(bearer("wrong"))
    assert len(compared) == len(TOKENS)
    assert {len(known) for known in compared} == {32}
