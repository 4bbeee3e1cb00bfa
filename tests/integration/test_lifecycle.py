"""A node's process from its first line to its exit status."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from tests.origins import Origin
from tests.processes import ROOT, TOKEN, Headland, preamble

TEMPLATE = """\
[purge]
allow = ["127.0.0.0/8"]
[[site]]
hosts = "*"
origin = "app"
[[site.rule]]
set_header = {{ x-pop = "{pop}" }}
[origin.app]
servers = "{origin}"
"""


@pytest.fixture
def origin():
    with Origin() as running:
        yield running


@pytest.fixture
def configure(tmp_path, origin):
    def write(pop="one", drain="10s", **replacements):
        text = preamble(admin=True, drain=drain) + TEMPLATE.format(pop=pop, origin=origin.url)
        for old, new in replacements.items():
            text = text.replace(old, new)
        file = tmp_path / "edge.toml"
        file.write_text(text)
        return file

    return write


def get(address, path="/", method="GET", **headers):
    request = urllib.request.Request(f"http://{address}{path}", method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, dict(answer.headers), answer.read()


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        cwd=ROOT,
        env={**os.environ, "HEADLAND_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def wait_until_draining(admin):
    """Ask for health until the first signal has arrived."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            get(admin, "/healthz")
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return
            raise
    pytest.fail("the node does not drain")


def test_one_line_says_where_it_serves_and_then_it_does(configure):
    with Headland("serve", "--config", configure()) as node:
        places = node.serving()
        assert places["line"].startswith("headland pop1 serving http on 127.0.0.1:")
        assert not places["http"].endswith(":0")
        status, headers, body = get(places["http"], "/a")
        assert (status, headers["x-pop"], body) == (200, "one", b"/a")
        assert json.loads(get(places["admin"], "/healthz")[2])["status"] == "ok"
        node.signal(signal.SIGTERM)
        assert node.status() == 0
        assert node.rest_of("stdout") == ""
        assert node.rest_of("stderr") == ""


def test_an_origin_on_the_command_line_is_enough(origin):
    with Headland(
        "serve", "--origin", origin.url, "--listen", "127.0.0.1:0", "--admin", "off", "--workers", "1"
    ) as node:
        places = node.serving()
        assert "admin" not in places
        get(places["http"], "/a")
        get(places["http"], "/a")
        assert origin.asked == ["/a"]
        node.signal(signal.SIGINT)
        assert node.status() == 0


def test_sighup_takes_a_good_configuration_and_refuses_a_bad_one(configure):
    with Headland("serve", "--config", configure()) as node:
        places = node.serving()
        configure(pop="two")
        node.signal(signal.SIGHUP)
        assert node.line("stderr").startswith("headland: reloaded ")
        assert get(places["http"], "/a")[1]["x-pop"] == "two"

        file = configure(pop="three", drain="10 parsecs")
        node.signal(signal.SIGHUP)
        assert node.line("stderr") == "headland: reload refused, the running configuration stays:"
        assert node.line("stderr").startswith(f"{file}:4: node.drain: expected a duration")
        assert get(places["http"], "/a")[1]["x-pop"] == "two"
        metrics = get(places["admin"], "/metrics", Authorization=f"Bearer {TOKEN}")[2].decode()
        assert "\nheadland_config_last_reload_success 0.0\n" in metrics

        configure(pop="four")
        node.signal(signal.SIGHUP)
        assert node.line("stderr").startswith("headland: reloaded ")
        metrics = get(places["admin"], "/metrics", Authorization=f"Bearer {TOKEN}")[2].decode()
        assert "\nheadland_config_last_reload_success 1.0\n" in metrics


def test_what_only_a_restart_can_change_is_refused_by_name(configure):
    with Headland("serve", "--config", configure()) as node:
        node.serving()
        configure(**{'name = "pop1"': 'name = "pop2"'})
        node.signal(signal.SIGHUP)
        assert node.line("stderr") == "headland: reload refused, the running configuration stays:"
        assert node.line("stderr") == "node.name: only a restart can change it, from 'pop1' to 'pop2'"


def test_purges_by_command_and_on_the_data_port_outlive_a_restart(configure, origin):
    file = configure()
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        for path in ("/a", "/b", "/a", "/b"):
            get(places["http"], path)
        assert origin.asked == ["/a", "/b"]
        purged = command("purge", f"http://{places['http']}/a", "--admin", places["admin"])
        assert purged.returncode == 0, purged.stderr
        assert purged.stdout.startswith("purged 1 url (")
        assert get(places["http"], "/b", method="PURGE")[0] == 200
        for path in ("/a", "/b"):
            get(places["http"], path)
        assert origin.asked == ["/a", "/b", "/a", "/b"]
        node.signal(signal.SIGTERM)
        assert node.status() == 0
    with Headland("serve", "--config", file) as node:
        places = node.serving()
        metrics = get(places["admin"], "/metrics", Authorization=f"Bearer {TOKEN}")[2].decode()
        assert "\nheadland_purge_rules 2.0\n" in metrics


def test_a_wrong_token_purges_nothing(configure, origin):
    with Headland("serve", "--config", configure(), HEADLAND_TOKEN="another-token") as node:
        places = node.serving()
        refused = command("purge", "--all", "--admin", places["admin"])
        assert refused.returncode == 5
        assert refused.stderr.startswith("headland: ")
        assert "Traceback" not in refused.stderr


def test_explain_tells_hit_and_miss(configure):
    with Headland("serve", "--config", configure()) as node:
        places = node.serving()
        url = f"http://{places['http']}/a"
        before = json.loads(command("explain", url, "--json", "--admin", places["admin"]).stdout)
        get(places["http"], "/a")
        after = command("explain", url, "-H", "Accept-Encoding: gzip", "--admin", places["admin"])
        assert after.returncode == 0, after.stderr
        assert before != json.loads(command("explain", url, "--json", "--admin", places["admin"]).stdout)


def test_drain_lets_a_running_request_end(configure, origin):
    asked, go_on = threading.Event(), threading.Event()

    def slow(target):
        asked.set()
        assert go_on.wait(20)
        return 200, {}, b"slow"

    origin._answer = slow
    with Headland("serve", "--config", configure()) as node:
        places = node.serving()
        answers = []
        client = threading.Thread(target=lambda: answers.append(get(places["http"], "/slow")))
        client.start()
        assert asked.wait(10)
        node.signal(signal.SIGTERM)
        wait_until_draining(places["admin"])
        go_on.set()
        assert node.status() == 0
        client.join(10)
        assert answers[0][2] == b"slow"


@pytest.mark.parametrize("second_signal", [False, True])
def test_a_request_that_does_not_end_is_cut_and_the_status_says_so(configure, origin, second_signal):
    asked, go_on = threading.Event(), threading.Event()

    def stuck(target):
        asked.set()
        go_on.wait(30)
        return 200, {}, b""

    origin._answer = stuck
    drain = "20s" if second_signal else "100ms"
    with Headland("serve", "--config", configure(drain=drain)) as node:
        places = node.serving()
        with socket.create_connection(places["http"].split(":")) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert asked.wait(10)
            node.signal(signal.SIGTERM)
            if second_signal:
                wait_until_draining(places["admin"])  # two signals at once would be one
                node.signal(signal.SIGTERM)
            assert node.status() == 6
    go_on.set()


def test_a_taken_port_is_status_3_with_one_sentence(configure):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for key in ("listen.http", "admin.listen"):
            result = command("serve", "--config", configure(), "--set", f"{key}=127.0.0.1:{port}")
            assert result.returncode == 3, result.stderr
            assert result.stdout == ""
            assert f"127.0.0.1:{port}" in result.stderr
            assert "in use" in result.stderr.lower()
            assert result.stderr.count("\n") == 1


def test_a_state_directory_that_cannot_be_is_status_7(configure, tmp_path):
    (tmp_path / "state").write_text("a file where a directory should be")
    result = command("serve", "--config", configure())
    assert result.returncode == 7
    assert "cannot be used" in result.stderr
    assert result.stderr.count("\n") == 1


def test_check_knows_what_only_the_core_knows(configure):
    result = command("check", "--config", configure())
    assert result.returncode == 0
    assert result.stdout.endswith("edge.toml: ok, 1 site, 1 rule in it, 1 origin\n")
    result = command("check", "--config", configure(**{"[[site.rule]]": "[[site.rule]]\npath_regex = '('"}))
    assert result.returncode == 1
    assert "site[0].rule[0]" in result.stderr
