"""Policies: what each expression compiles to, and what is refused with place and reason."""

import re

import pytest

from edge.policy import PolicyError, always, load, request, response, when

STATUS_200 = {"status": [[200, 200]]}

CONDITIONS = [
    (always, "always"),
    (request.path == "/a", {"path": {"equals": "/a"}}),
    (request.path != "/a", {"not": {"path": {"equals": "/a"}}}),
    (request.path.startswith("/img/"), {"path": {"prefix": "/img/"}}),
    (request.path.endswith(".png", ".jpg"), {"any": [{"path": {"suffix": ".png"}}, {"path": {"suffix": ".jpg"}}]}),
    (request.path.glob("/a/**/b"), {"path": {"glob": "/a/**/b"}}),
    (request.path.matches("^/v[0-9]+/"), {"path": {"regex": "^/v[0-9]+/"}}),
    (request.query.contains("debug"), {"query": {"contains": "debug"}}),
    (request.host.is_in("a.org", "b.org"), {"host": {"one-of": ["a.org", "b.org"]}}),
    (request.method == "GET", {"method": ["GET"]}),
    (request.method.is_in("PUT", "POST"), {"method": ["PUT", "POST"]}),
    (request.header("Accept").contains("webp"), {"request-header": {"name": "accept", "test": {"contains": "webp"}}}),
    (request.header("Cookie").present(), {"request-header": {"name": "cookie", "test": "present"}}),
    (request.cookie("Sid") == "1", {"cookie": {"name": "Sid", "test": {"equals": "1"}}}),
    (request.client.within("10.0.0.0/8", "::1"), {"client": ["10.0.0.0/8", "::1/128"]}),
    (response.status == 200, STATUS_200),
    (response.status >= 500, {"status": [[500, 999]]}),
    (response.status < 300, {"status": [[100, 299]]}),
    (response.status.is_in(404, "5xx", "200-299"), {"status": [[404, 404], [500, 599], [200, 299]]}),
    (
        response.header("Content-Type").startswith("text/"),
        {"response-header": {"name": "content-type", "test": {"prefix": "text/"}}},
    ),
    ((request.path == "/a") & (response.status == 200), {"all": [{"path": {"equals": "/a"}}, STATUS_200]}),
    (
        (request.path == "/a") | ~(request.method == "GET"),
        {"any": [{"path": {"equals": "/a"}}, {"not": {"method": ["GET"]}}]},
    ),
]


def test_a_long_chain_stays_flat():
    condition = request.path == "/0"
    for number in range(1, 100):
        condition = condition | (request.path == f"/{number}")
    assert len(condition.json["any"]) == 100


@pytest.mark.parametrize(("condition", "json"), CONDITIONS)
def test_a_condition_compiles_to_the_table(condition, json):
    assert condition.json == json


ACTIONS = [
    (when(always).cache(), [{"cache": "honour"}]),
    (when(always).cache(ttl="1d", force=True), [{"ttl-ms": 86_400_000}, {"cache": "force"}]),
    (
        when(always).cache(grace="10m", stale_if_error="1d", ttl_status={404: "1m"}),
        [
            {"grace-ms": 600_000},
            {"stale-if-error-ms": 86_400_000},
            {"ttl-status-ms": {"from": 404, "to": 404, "ms": 60_000}},
            {"cache": "honour"},
        ],
    ),
    (when(always).bypass(), [{"cache": "bypass"}]),
    (
        when(always).key(query="sort", headers=["Accept-Language"]),
        [{"key-query": "sort"}, {"key-headers": ["accept-language"]}],
    ),
    (when(always).key(query_drop=("utm_source",)), [{"key-query": {"drop": ["utm_source"]}}]),
    (when(always).set_request_header("X-A", "1"), [{"request-header": {"set": {"name": "x-a", "value": "1"}}}]),
    (when(always).remove_request_header("X-A"), [{"request-header": {"remove": {"name": "x-a"}}}]),
    (when(always).set_header("X-A", "1"), [{"response-header": {"set": {"name": "x-a", "value": "1"}}}]),
    (when(always).add_header("X-A", "1"), [{"response-header": {"add": {"name": "x-a", "value": "1"}}}]),
    (when(always).remove_header("X-A"), [{"response-header": {"remove": {"name": "x-a"}}}]),
    (when(always).redirect("/b", status=301), [{"redirect": {"status": 301, "location": "/b"}}]),
    (when(always).deny(), [{"deny": {"status": 403}}]),
    (when(always).origin("other"), [{"origin": "other"}]),
]


@pytest.mark.parametrize(("rule", "then"), ACTIONS)
def test_actions_compile_to_the_table(rule, then):
    assert list(rule.compiled().then) == then


# Each expression stands on line 2 of a policy file.
REFUSED = [
    ("when(request.path == '/a' and response.status == 200).bypass()", "a condition has no value yet: join with & | ~"),
    ("when(not request.path.startswith('/')).bypass()", "a condition has no value yet"),
    ("when('/a' in request.path).bypass()", "`in` needs a value now: write .contains(...) or .is_in(...)"),
    ("when(request.method in ['GET']).bypass()", "a condition has no value yet"),
    ("when(200 <= response.status <= 299).bypass()", "a condition has no value yet"),
    ("when(request.path == request.query).bypass()", "only a constant text can be compared with, got another field"),
    ("when(request.path == 5).bypass()", "only a constant text can be compared with, got 5"),
    ("when(request.path).bypass()", "a field is no condition by itself: write .present() or compare it"),
    ("when(True).bypass()", "expected a condition, got True"),
    ("when(request.path.lower() == '/a').bypass()", "there is no lower here; known are contains, endswith, glob"),
    ("when(request.uri == '/a').bypass()", "there is no uri here; known are client, cookie, header"),
    ("when(always).set_header('x', f'{request.path}')", "a field of the message cannot be put into a text"),
    ("when(always).set_header('x y', 'z')", "expected the name of a header field"),
    ("when(always).set_header('connection', 'close')", "connection is set by the node itself"),
    ("when(always).cache(ttl='10 parsecs')", 'expected a duration such as "10s" or "1d"'),
    ("when(always).cache(ttl='400d')", 'expected a duration of at most "365d"'),
    ("when(always).cache(ttl=10)", "only a constant text"),
    ("when(always).key(query='sort', query_drop=['a'])", "expected one of query, query_allow and query_drop"),
    ("when(response.status == 404).deny()", "a denial is decided before the origin answers"),
    ("when(response.status == 'x').bypass()", "expected a status such as 404"),
    ("when(always).deny(200)", "expected a status from 400 to 599"),
    ("when(always).redirect('x')", "expected a URL or a path to redirect to"),
    ("when(always).redirect('/x', status=200)", "expected a status of a redirect"),
    ("when(request.client.within('10.0.0.1/8')).bypass()", "expected a network such as"),
    ("when(request.header('a b').present()).bypass()", "expected the name of a header field"),
    ("when(always)", "the rule does nothing"),
    ("[len(request.path)]", "a field of the message has no length yet"),
    ("list(request.path)", "a field of the message cannot be looped over"),
    ("1 / 0", "ZeroDivisionError: division by zero"),
    ("undefined", "NameError: name 'undefined' is not defined"),
    ("when(", "not Python: "),
]


@pytest.mark.parametrize(("expression", "reason"), REFUSED)
def test_what_cannot_compile_is_refused_with_place_and_reason(tmp_path, expression, reason):
    file = tmp_path / "policy.py"
    file.write_text(f"from edge.policy import always, request, response, when\nrules = [{expression}]\n")
    with pytest.raises(PolicyError, match=re.escape(f"policy.py:2: {reason}")):
        load(file)


@pytest.mark.parametrize("source", ["", "rules = 5", "from edge.policy import *\nrules = (when(always).bypass(),)"])
def test_a_file_without_a_list_of_rules_is_refused(tmp_path, source):
    (tmp_path / "policy.py").write_text(source)
    with pytest.raises(PolicyError, match=r"policy\.py: expected a list named rules"):
        load(tmp_path / "policy.py")


def test_something_else_among_the_rules_is_named(tmp_path):
    (tmp_path / "policy.py").write_text("from edge.policy import *\nrules = [when(always).bypass(), 5]")
    with pytest.raises(PolicyError, match=r"policy\.py: rules\[1\]: expected a rule that begins with when"):
        load(tmp_path / "policy.py")


def test_rules_are_named_by_their_line_or_as_told(tmp_path):
    (tmp_path / "policy.py").write_text(
        "from edge.policy import *\n\n"
        "rules = [\n    when(always).bypass(),\n    when(always).deny().named('closed'),\n]\n"
    )
    assert [rule.name for rule in load(tmp_path / "policy.py")] == ["policy.py:4", "closed"]
