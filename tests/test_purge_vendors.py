"""Clients of other products, as they come from the registries, purging a node that they take for theirs."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from purge_api.mount import mount
from tests.purging import READER, SECRET, SHOP, URL, Context, Wire, bearer


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path)


@pytest.fixture
async def client(context):
    app = web.Application()
    mount(app, context)
    async with TestClient(TestServer(app)) as client:
        yield client


def rules(context):
    return [rule[:3] for rule in context.ledger.applied]


# -- Cloudflare -------------------------------------------------------------------------------------------------------


def cloudflare_client(client, secret=SECRET):
    cloudflare = pytest.importorskip("cloudflare")
    base = str(client.make_url("/client/v4"))
    return cloudflare, cloudflare.Cloudflare(api_token=secret, base_url=base, max_retries=0)


@pytest.mark.parametrize(
    ("zone", "what", "expected"),
    [
        ("www.example.com", {"files": [URL]}, [("url", URL, False)]),
        ("www.example.com", {"files": [{"url": URL, "headers": {"Accept": "x"}}]}, [("url", URL, False)]),
        ("pop1", {"tags": ["a", "b"]}, [("tag", "a", False), ("tag", "b", False)]),
        ("pop1", {"hosts": ["www.example.com"]}, [("host", "www.example.com", False)]),
        ("pop1", {"prefixes": ["www.example.com/x/"]}, [("prefix", "https://www.example.com/x/", False)]),
        ("pop1", {"purge_everything": True}, [("all", "", False)]),
        ("shop.example", {"purge_everything": True}, [("site", "shop.example", False)]),
    ],
)
async def test_the_cloudflare_client_purges(client, context, zone, what, expected):
    _, sdk = cloudflare_client(client)
    answer = await asyncio.to_thread(lambda: sdk.cache.purge(zone_id=zone, **what))
    assert answer.id
    assert rules(context) == expected


@pytest.mark.parametrize(
    ("asked", "what", "error"),
    [
        (("wrong", "pop1"), {"tags": ["a"]}, "AuthenticationError"),
        ((READER, "pop1"), {"tags": ["a"]}, "PermissionDeniedError"),
        ((SHOP, "www.example.com"), {"purge_everything": True}, "PermissionDeniedError"),
        ((SECRET, "nowhere"), {"tags": ["a"]}, "NotFoundError"),
        ((SECRET, "pop1"), {"files": ["/relative"]}, "BadRequestError"),
    ],
)
async def test_the_cloudflare_client_hears_why_not(client, context, asked, what, error):
    secret, zone = asked
    cloudflare, sdk = cloudflare_client(client, secret)
    with pytest.raises(getattr(cloudflare, error)) as caught:
        await asyncio.to_thread(lambda: sdk.cache.purge(zone_id=zone, **what))
    assert caught.value.body["success"] is False
    assert caught.value.body["errors"][0]["message"]
    assert rules(context) == []


async def test_exactly_one_kind_is_expected_of_cloudflare(client):
    for body in ({}, {"tags": ["a"], "hosts": ["h"]}):
        answer = await client.post("/client/v4/zones/pop1/purge_cache", json=body, headers=bearer())
        assert answer.status == 400


# -- Fastly -----------------------------------------------------------------------------------------------------------


def fastly_api(client, secret=SECRET):
    fastly = pytest.importorskip("fastly")
    purge_api = pytest.importorskip("fastly.api.purge_api")
    configuration = fastly.Configuration(host=str(client.make_url("")).rstrip("/"))
    configuration.api_token = secret
    return fastly, purge_api.PurgeApi(fastly.ApiClient(configuration))


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("purge_tag", {"service_id": "pop1", "surrogate_key": "a/b"}, [("tag", "a/b", False)]),
        ("purge_tag", {"service_id": "pop1", "surrogate_key": "a"}, [("tag", "a", False)]),
        ("purge_tag", {"service_id": "pop1", "surrogate_key": "a", "fastly_soft_purge": 1}, [("tag", "a", True)]),
        ("bulk_purge_tag", {"service_id": "pop1", "surrogate_key": "a b"}, [("tag", "a", False), ("tag", "b", False)]),
        ("purge_all", {"service_id": "pop1"}, [("all", "", False)]),
        ("purge_all", {"service_id": "shop.example"}, [("site", "shop.example", False)]),
        ("purge_single_url", {"cached_url": "www.example.com/a"}, [("url", URL, False)]),
    ],
)
async def test_the_fastly_client_purges(client, context, call, arguments, expected):
    _, api = fastly_api(client)
    answer = await asyncio.to_thread(lambda: getattr(api, call)(**arguments))
    assert answer
    assert rules(context) == expected


async def test_the_fastly_client_hears_why_not(client, context):
    fastly, api = fastly_api(client, READER)
    with pytest.raises(fastly.exceptions.ForbiddenException):
        await asyncio.to_thread(lambda: api.purge_all(service_id="pop1"))
    assert rules(context) == []


async def test_many_keys_may_be_in_the_body(client, context):
    body = {"surrogate_keys": ["a", "b"]}
    answer = await client.post("/service/www.example.com/purge", json=body, headers={"Fastly-Key": SECRET})
    assert answer.status == 200
    assert set(await answer.json()) == {"a", "b"}
    assert rules(context) == [("tag", "a", False), ("tag", "b", False)]


async def test_purging_all_of_a_fastly_service_cannot_be_soft(client):
    fields = bearer() | {"Fastly-Soft-Purge": "1"}
    answer = await client.post("/service/pop1/purge_all", headers=fields)
    assert (answer.status, (await answer.json())["msg"]) == (400, "soft-purge-all")


async def test_fastly_clients_see_how_their_rate_stands(client):
    answer = await client.post("/service/pop1/purge/a", headers={"Fastly-Key": SECRET})
    assert answer.status == 200
    assert answer.headers["Fastly-Ratelimit-Remaining"] == "19999"
    assert set(await answer.json()) == {"status", "id"}


# -- the data port ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purge", "status"),
    [
        (Wire(allowed=True), 200),
        (Wire(allowed=False), 401),
        (Wire(allowed=False, fields=(("authorization", f"Bearer {SECRET}"),)), 200),
        (Wire(allowed=False, fields=(("fastly-key", SECRET),)), 200),
        (Wire(allowed=False, fields=(("fastly-key", "wrong"),)), 401),
        (Wire(allowed=False, fields=(("fastly-key", READER),)), 403),
        (Wire(allowed=False, fields=(("fastly-key", SHOP),)), 403),
        (Wire(allowed=False, url="https://shop.example/a", fields=(("fastly-key", SHOP),)), 200),
        (Wire(fields=(("x-magento-tags-pattern", "a.*"),)), 400),
    ],
)
async def test_the_data_port_takes_an_allowed_address_or_a_token(client, context, purge, status):
    (handler,) = context.on_purge
    assert (await handler(purge)).status == status
    assert len(context.ledger.applied) == (status == 200)
