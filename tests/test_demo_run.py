"""`headland demo` as a user runs it: a process of its own, what it prints, what it prints tried, Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 30
DEMO = [sys.executable, "-m", "edge", "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]


@dataclass
class Demo:
    process: subprocess.Popen[str]
    text: str
    site: str
    admin: str
    token: str
    commands: list[str]


@pytest.fixture(scope="module")
def demo():
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = []
        while not lines or not lines[-1].startswith("Ctrl-C"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            lines.append(line)
        text = "".join(lines)
        yield Demo(
            process,
            text,
            re.search(r"site +(http://\S+)/\n", text)[1],
            re.search(r"dashboard +(http://\S+)/\n", text)[1],
            re.search(r"Bearer ([\w-]+)", text)[1],
            [line.strip() for line in lines if re.match(r"  (curl|for) ", line)],
        )
        process.kill()


def get(url: str, method: str = "GET", **fields: str):
    request = urllib.request.Request(url, method=method, headers=fields)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def cache_status(url: str, **fields: str) -> str:
    return get(url, **fields)[1]["Cache-Status"]


def purge(demo: Demo, body: dict, token: str | None = None):
    request = urllib.request.Request(
        demo.admin + "/v1/purges",
        orjson.dumps(body),
        {"Authorization": f"Bearer {token or demo.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return orjson.loads(answer.read())


def test_a_page_is_a_miss_and_then_a_hit(demo):
    assert "fwd=uri-miss" in cache_status(demo.site + "/articles/the-far-head")
    assert "hit" in cache_status(demo.site + "/articles/the-far-head")


def test_a_private_page_is_never_a_hit(demo):
    for _ in range(2):
        assert "hit" not in cache_status(demo.site + "/private").replace("fwd=uri-miss", "")


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        ("url", ["{site}/articles/salt-pans"]),
        ("prefix", ["{site}/articles/"]),
        ("host", ["{host}"]),
        ("tag", ["salt-pans"]),
        ("all", None),
    ],
)
def test_a_hard_purge_of_each_kind_makes_the_next_request_a_miss(demo, kind, items):
    page = demo.site + "/articles/salt-pans"
    get(page)
    assert "hit" in cache_status(page)
    body = {"type": kind}
    if items:
        body["items"] = [item.format(site=demo.site, host=demo.site.removeprefix("http://")) for item in items]
    assert purge(demo, body)["state"] == "applied"
    assert "hit" not in cache_status(page).replace("fwd=", "")
    assert "hit" in cache_status(page)


def test_a_soft_purge_makes_stale_and_the_origin_confirms(demo):
    style = demo.site + "/assets/site.css"
    get(style)
    purge(demo, {"type": "url", "items": [style], "mode": "soft"})
    assert "fwd=stale; fwd-status=304" in cache_status(style)
    assert "hit" in cache_status(style)


def test_a_soft_purge_leaves_what_may_be_served_while_revalidating(demo):
    page = demo.site + "/articles/the-far-head"
    get(page)
    purge(demo, {"type": "tag", "items": ["the-far-head"], "mode": "soft"})
    assert "detail=stale-while-revalidate" in cache_status(page)


def test_purge_on_the_data_port_is_answered_with_its_id(demo):
    page = demo.site + "/articles/the-lighthouse"
    get(page)
    assert "hit" in cache_status(page)
    status, _, body = get(page, "PURGE")
    assert status == 200, body
    purge_id = orjson.loads(body)["id"]
    assert "hit" not in cache_status(page)
    shown = get(f"{demo.admin}/v1/purges/{purge_id}", Authorization=f"Bearer {demo.token}")
    assert orjson.loads(shown[2])["type"] == "url"


def test_a_wrong_token_purges_nothing(demo):
    page = demo.site + "/gallery"
    get(page)
    with pytest.raises(urllib.error.HTTPError, match="401") as caught:
        purge(demo, {"type": "all"}, token="wrong")
    caught.value.close()
    assert "hit" in cache_status(page)


def test_the_admin_address_tells_how_the_node_does(demo):
    get(demo.site + "/gallery")
    assert orjson.loads(get(demo.admin + "/healthz")[2])["status"] == "ok"
    stats = orjson.loads(get(demo.admin + "/v1/stats")[2])
    assert stats["node"] == "headland-demo"
    explained = get(f"{demo.admin}/v1/explain?url={demo.site}/gallery")
    assert explained[0] == 200, explained
    assert orjson.loads(explained[2])
    text = get(demo.admin + "/metrics")[2].decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    answered = sum(sample.value for sample in families["headland_requests"].samples)
    assert answered > 0
    assert sum(sample.value for sample in families["headland_purges"].samples if sample.name.endswith("_total")) > 0
    assert b"<title>Headland" in get(demo.admin + "/")[2]


def test_what_is_printed_works_as_it_is_printed(demo):
    assert len(demo.commands) == 5
    for command in demo.commands:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, (command, done.stderr)
    last = done.stdout
    assert "the origin is down" in last
    assert "HTTP/1.1 200" in last
    assert "stale-if-error" in last
    get(demo.site + "/switch?origin=up", "POST")


def test_the_slow_page_is_fetched_once_for_five(demo):
    purge(demo, {"type": "url", "items": [demo.site + "/slow"]})
    command = next(command for command in demo.commands if "/slow" in command)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert sum("collapsed" in line for line in lines) == 4, lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_clean(number):
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 0
        assert process.stderr.read() == ""
