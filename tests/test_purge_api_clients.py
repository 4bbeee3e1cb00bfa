"""Orders sent again, too many orders, and the client that sends them, against the purge API on loopback."""

from __future__ import annotations

import asyncio

import pytest

from purge_api.client import Answered, PurgeClient, Unreachable
from purge_api.rate import RateLimiter
from tests.purging import READER, SECRET, TAGGER, URL, Context, bearer, find_api, order, problem, serving


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path)


@pytest.fixture
async def client(context):
    async with serving(context) as client:
        yield client


async def test_the_same_key_with_the_same_body_gets_the_first_answer(client, context):
    fields = bearer() | {"Idempotency-Key": "deploy-1"}
    first = await client.post("/v1/purges", json=order(), headers=fields)
    again = await client.post("/v1/purges", json=order(), headers=fields)
    assert (first.status, again.status) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await first.json() == await again.json()
    assert len(context.ledger.applied) == 1
    other = await client.post("/v1/purges", json=order("tag", ("x",)), headers=fields)
    await problem(other, 422, "idempotency-key-reused")
    elsewhere = await client.post(
        "/v1/purges", json=order("tag", ("x",)), headers=bearer(TAGGER) | {"Idempotency-Key": "deploy-1"}
    )
    assert elsewhere.status == 201
    bad = await client.post("/v1/purges", json=order(), headers=bearer() | {"Idempotency-Key": "x" * 256})
    await problem(bad, 400, "bad-idempotency-key")


async def test_one_key_sent_at_once_many_times_is_applied_once(client, context):
    fields = bearer() | {"Idempotency-Key": "deploy-1"}
    answers = await asyncio.gather(*(client.post("/v1/purges", json=order(), headers=fields) for _ in range(20)))
    ids = {(await answer.json())["id"] for answer in answers}
    assert len(ids) == 1
    assert len(context.ledger.applied) == 1


async def test_idempotency_keys_outlive_a_restart(tmp_path):
    ids = []
    for _ in range(2):
        async with serving(Context(tmp_path)) as client:
            answer = await client.post("/v1/purges", json=order(), headers=bearer() | {"Idempotency-Key": "k"})
            ids.append((await answer.json())["id"])
    assert ids[0] == ids[1]


async def test_a_token_that_purges_too_much_is_told_when_to_come_back(client, monkeypatch):
    now_s = 100.0
    limiter = RateLimiter(lambda: now_s, per_second=2, burst=4)
    monkeypatch.setattr(find_api(client)._desk, "_limiter", limiter)
    assert (await client.post("/v1/purges", json=order("tag", ("a", "b", "c")), headers=bearer())).status == 201
    refused = await client.post("/v1/purges", json=order("tag", ("a", "b", "c")), headers=bearer())
    await problem(refused, 429, "rate")
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit"] == '"items";r=1;t=2'
    assert refused.headers["RateLimit-Policy"] == '"items";q=4;w=2'
    other = await client.post("/v1/purges", json=order("tag", ("a",)), headers=bearer(TAGGER))
    assert other.status == 201
    now_s += 1
    accepted = await client.post("/v1/purges", json=order("tag", ("a", "b", "c")), headers=bearer())
    assert accepted.status == 201
    assert accepted.headers["X-RateLimit-Remaining"] == "0"


# -- the client -------------------------------------------------------------------------------------------------------


async def test_the_client_purges_and_reads_back(client, context):
    base = str(client.make_url("/"))
    purger, reader = PurgeClient(base, SECRET), PurgeClient(base, READER)
    result = await asyncio.to_thread(purger.purge, "url", [URL], soft=True)
    assert (result.state, result.items, result.epoch) == ("applied", (URL,), 1)
    assert await asyncio.to_thread(purger.show, result.id) == result
    assert (await asyncio.to_thread(purger.purge, "all")).epoch == 2
    many = await asyncio.to_thread(lambda: list(purger.purge_many("tag", [f"t{n}" for n in range(300)])))
    assert [len(part.items) for part in many] == [256, 44]
    assert len(await asyncio.to_thread(reader.recent)) == 4
    assert len(context.ledger.applied) == 302


async def test_the_client_says_what_went_wrong(client):
    base = str(client.make_url("/"))
    with pytest.raises(Answered, match="item 0 is refused") as caught:
        await asyncio.to_thread(PurgeClient(base, SECRET).purge, "url", ["nonsense"])
    assert caught.value.status == 400
    assert caught.value.problem["errors"][0]["index"] == 0
    with pytest.raises(Answered, match="expected Authorization") as caught:
        await asyncio.to_thread(PurgeClient(base, None).purge, "all")
    assert caught.value.status == 401
    with pytest.raises(Unreachable, match="no answer from"):
        await asyncio.to_thread(PurgeClient("http://127.0.0.1:1", SECRET).purge, "all")
    with pytest.raises(ValueError, match="not an http"):
        PurgeClient("ftp://host", None)
