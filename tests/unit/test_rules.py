"""`[[site.rule]]`: what each form compiles to."""

import json

import pytest

from edge.configuration import load

TEMPLATE = """\
[listen]
http = "127.0.0.1:0"
[[site]]
hosts = "*"
origin = "app"
[[site.rule]]
{rule}
[origin.app]
servers = "http://127.0.0.1:1"
"""


@pytest.fixture
def compiled(tmp_path):
    def compile_rule(rule):
        (tmp_path / "edge.toml").write_text(TEMPLATE.format(rule=rule))
        (site,) = json.loads(load(tmp_path / "edge.toml").snapshot)["sites"]
        return site["rules"][0]

    return compile_rule


CONDITIONS = [
    ("", "always"),
    ("path = '/a'", {"path": {"equals": "/a"}}),
    ("path = '/img/**'", {"path": {"prefix": "/img/"}}),
    ("path = '/img/*'", {"path": {"glob": "/img/*"}}),
    ("path = ['/a', '/b']", {"any": [{"path": {"equals": "/a"}}, {"path": {"equals": "/b"}}]}),
    ("path_prefix = '/a'", {"path": {"prefix": "/a"}}),
    ("path_suffix = ['.png']", {"path": {"suffix": ".png"}}),
    ("path_regex = '^/v\\d'", {"path": {"regex": "^/v\\d"}}),
    ("query = '*debug*'", {"query": {"contains": "debug"}}),
    ("host = 'm.*'", {"host": {"prefix": "m."}}),
    ("method = ['GET', 'HEAD']", {"method": ["GET", "HEAD"]}),
    ("header = { Accept = '*webp*' }", {"request-header": {"name": "accept", "test": {"contains": "webp"}}}),
    ("header = { a = 'x*y' }", {"request-header": {"name": "a", "test": {"glob": "x**y"}}}),
    ("header = { a = true }", {"request-header": {"name": "a", "test": "present"}}),
    ("header = { a = false }", {"not": {"request-header": {"name": "a", "test": "present"}}}),
    ("cookie = { Sid = '1' }", {"cookie": {"name": "Sid", "test": {"equals": "1"}}}),
    ("client = '10.0.0.0/8'", {"client": ["10.0.0.0/8"]}),
    ("status = ['200-299', 404, '5xx']", {"status": [[200, 299], [404, 404], [500, 599]]}),
    (
        "response_header = { content-type = 'text/*' }",
        {"response-header": {"name": "content-type", "test": {"prefix": "text/"}}},
    ),
    ("path = '/a'\nmethod = 'GET'", {"all": [{"path": {"equals": "/a"}}, {"method": ["GET"]}]}),
]


@pytest.mark.parametrize(("rule", "when"), CONDITIONS)
def test_conditions_compile_to_the_table(compiled, rule, when):
    assert compiled(f"ttl = '1s'\n{rule}")["when"] == when


ACTIONS = [
    ("cache = true", [{"cache": "honour"}]),
    ("cache = false", [{"cache": "bypass"}]),
    ("cache = 'force'\nttl = '1d'", [{"ttl-ms": 86_400_000}, {"cache": "force"}]),
    (
        "ttl_status = { 404 = '1m', '5xx' = '0s' }",
        [
            {"ttl-status-ms": {"from": 404, "to": 404, "ms": 60_000}},
            {"ttl-status-ms": {"from": 500, "to": 599, "ms": 0}},
        ],
    ),
    ("grace = '10m'\nstale_if_error = '1d'", [{"grace-ms": 600_000}, {"stale-if-error-ms": 86_400_000}]),
    ("key = { query = 'ignore' }", [{"key-query": "ignore"}]),
    ("key = { query_allow = 'id' }", [{"key-query": {"allow": ["id"]}}]),
    (
        "key = { query_drop = ['a', 'b'], headers = 'Accept' }",
        [{"key-query": {"drop": ["a", "b"]}}, {"key-headers": ["accept"]}],
    ),
    ("set_request_header = { X-A = '1' }", [{"request-header": {"set": {"name": "x-a", "value": "1"}}}]),
    ("remove_request_header = 'Cookie'", [{"request-header": {"remove": {"name": "cookie"}}}]),
    (
        "remove_header = ['Server']\nset_header = { X-A = '1' }\nadd_header = { X-B = '2' }",
        [
            {"response-header": {"remove": {"name": "server"}}},
            {"response-header": {"set": {"name": "x-a", "value": "1"}}},
            {"response-header": {"add": {"name": "x-b", "value": "2"}}},
        ],
    ),
    ("redirect = 'https://www.example.com/'", [{"redirect": {"status": 302, "location": "https://www.example.com/"}}]),
    ("redirect = '/'\nredirect_status = 308", [{"redirect": {"status": 308, "location": "/"}}]),
    ("deny = 403", [{"deny": {"status": 403}}]),
    ("origin = 'app'", [{"origin": "app"}]),
]


@pytest.mark.parametrize(("rule", "then"), ACTIONS)
def test_actions_compile_to_the_table(compiled, rule, then):
    assert compiled(rule)["then"] == then


def test_a_rule_is_named_by_its_place_or_as_told(compiled):
    assert compiled("ttl = '1s'")["name"] == "site[0].rule[0]"
    assert compiled("ttl = '1s'\nname = 'images'")["name"] == "images"


def test_rules_of_a_policy_file_follow_those_of_the_site(tmp_path):
    (tmp_path / "policy.py").write_text(
        "from edge.policy import *\nrules = [when(always).set_header('x-pop', 'fra')]\n"
    )
    text = TEMPLATE.format(rule="ttl = '1s'").replace('origin = "app"', "origin = \"app\"\npolicy = 'policy.py'")
    (tmp_path / "edge.toml").write_text(text)
    (site,) = json.loads(load(tmp_path / "edge.toml").snapshot)["sites"]
    assert [rule["name"] for rule in site["rules"]] == ["site[0].rule[0]", "policy.py:2"]
