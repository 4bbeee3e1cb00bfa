"""Configurations: what is taken, and where and how each mistake is reported."""

import json
import ssl

import pytest

from edge.configuration import ConfigurationError, for_origin, load

GOOD = """\
[node]
name = "pop1"
[listen]
http = ["127.0.0.1:8080"]
[[site]]
hosts = ["www.example.com", "*.example.com"]
origin = "app"
[origin.app]
servers = ["http://10.0.0.1:80"]
"""


@pytest.fixture
def refusal(tmp_path):
    """Load a text and give back the lines of the refusal, without the directory."""

    def refuse(text, **overrides):
        file = tmp_path / "edge.toml"
        file.write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            load(file, overrides.get("overrides"))
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return refuse


def test_the_least_configuration_is_whole(tmp_path):
    (tmp_path / "edge.toml").write_text(GOOD)
    configuration = load(tmp_path / "edge.toml")
    snapshot = json.loads(configuration.snapshot)
    assert snapshot["node"]["name"] == "pop1"
    assert snapshot["sites"][0]["name"] == "www.example.com"
    assert snapshot["origins"][0]["servers"] == [
        {"url": "http://10.0.0.1:80", "weight": 1, "backup": False, "priority": 0, "zone": None}
    ]
    assert configuration.state_dir is not None


def test_one_origin_needs_no_file():
    snapshot = json.loads(for_origin("http://127.0.0.1:9000", "127.0.0.1:0").snapshot)
    assert snapshot["listeners"] == [
        {
            "address": "127.0.0.1:0",
            "kind": "http",
            "http3": False,
            "early_data": False,
            "alt_svc_ms": 86_400_000,
            "congestion": "bbr",
        }
    ]
    assert snapshot["sites"][0]["hosts"] == ["*"]


# Each row: what is added to the good configuration, and the one line that must come out.
MISTAKES = [
    ("[cache]\nmemory = 5", 'edge.toml:11: cache.memory: expected a size such as "512KiB" or "100MB", got 5'),
    ("[cache]\nmemory = '1KiB'", 'edge.toml:11: cache.memory: expected "16MiB" to "16TiB", got "1KiB"'),
    ("[cache]\nmemroy = '1GiB'", "edge.toml:11: cache.memroy: unknown key; did you mean memory?"),
    (
        "[cache.disk]\npath = '/x'\nsize = '1GiB'\nmore = [{ path = '/x', size = '1GiB' }]",
        "edge.toml:13: cache.disk.more[0].path: is given twice",
    ),
    (
        "[cache.disk]\npath = '/x'\nsize = '1GiB'\nmore = [{ path = '/y', size = '100MiB' }]",
        "edge.toml:13: cache.disk.more[0].size: must be four times cache.disk.segment at least",
    ),
    (
        "[cache]\ndisk = { path = '/x', size = '100MiB' }",
        "edge.toml:11: cache.disk.size: must be four times cache.disk.segment at least",
    ),
    ("[cache]\nfollowers_max = '5'", 'edge.toml:11: cache.followers_max: expected a whole number, got "5"'),
    ("[cache]\nfollowers_max = 1.5", "edge.toml:11: cache.followers_max: expected a whole number, got 1.5"),
    ("[cache]\nfollowers_max = true", "edge.toml:11: cache.followers_max: expected a whole number, got true"),
    ("[cache]\ntags_ignore_case = 1", "edge.toml:11: cache.tags_ignore_case: expected true or false, got 1"),
    ("[cache]\nuncacheable = '2d'", 'edge.toml:11: cache.uncacheable: expected "0s" to "1d", got "2d"'),
    (
        "[cache]\nmemory = '16MiB'\nobject_max = '17MiB'",
        "edge.toml:12: cache.object_max: is more than cache.memory, so that such an object could never be stored",
    ),
    ("[cahce]", "edge.toml:10: cahce: unknown key; did you mean cache?"),
    ("cache = 1", "edge.toml:10: origin.app.cache: unknown key"),
    ("[log]\nformat = 'xml'", 'edge.toml:11: log.format: expected "off", "json" or "combined", got "xml"'),
    ("[log]\npath = 5", "edge.toml:11: log.path: expected a text, got 5"),
    ("[log]\npath = ''", "edge.toml:11: log.path: expected something, got nothing"),
    ("[purge]\nallow = ['10.0.0.1/8']", 'edge.toml:11: purge.allow[0]: expected a network such as "10.0.0.0/8"'),
    ("[purge]\nallow = '10.0.0.0/8'", 'edge.toml:11: purge.allow: expected a list, got "10.0.0.0/8"'),
    (
        "[limits]\nrequest_line = '1KiB'\nheader_size = '15KiB'",
        "edge.toml:10: limits.field_size: one field cannot be larger than the whole head: limits.header_size",
    ),
    ("[[site]]\nhosts = '*'", "edge.toml:10: site[1].origin: required and not there. Which [origin.NAME]"),
    ("[[site]]\nhosts = '*'\norigin = 'ap'", "edge.toml:12: site[1].origin: there is no [origin.ap]; known are: app"),
    (
        "[[site]]\nhosts = ['x.org', 'WWW.example.com.']\norigin = 'app'",
        'edge.toml:11: site[1].hosts[1]: "www.example.com" is already a host of site[0]',
    ),
    (
        "[[site]]\nhosts = 'a b'\norigin = 'app'",
        'edge.toml:11: site[1].hosts: expected a host such as "www.example.com"',
    ),
    ("[[site]]\nhosts = []\norigin = 'app'", "edge.toml:11: site[1].hosts: expected something, got nothing"),
    ("[origin.b]", "edge.toml:10: origin.b.servers: required and not there. The servers"),
    ("[origin.b]\nservers = []", "edge.toml:11: origin.b.servers: expected something, got nothing"),
    ("[origin.b]\nservers = ['ftp://x']", "edge.toml:11: origin.b.servers[0]: expected an origin such as"),
    ("[origin.b]\nservers = ['http://x/path']", "edge.toml:11: origin.b.servers[0]: expected an origin such as"),
    ("[origin.b]\nservers = ['http://u@x']", "edge.toml:11: origin.b.servers[0]: expected an origin such as"),
    ("[origin.b]\nservers = ['http://x:99999']", "edge.toml:11: origin.b.servers[0]: expected an origin such as"),
    (
        "[origin.b]\nservers = [\n  'http://x',\n  { url = 'http://y', wieght = 2 },\n]",
        "edge.toml:13: origin.b.servers[1].wieght: unknown key; did you mean weight?",
    ),
    (
        "[origin.b]\nservers = 'http://x'\n[origin.b.deadlines]\nconnect = '10 parsecs'",
        'edge.toml:13: origin.b.deadlines.connect: expected a duration such as "10s" or "1d", got "10 parsecs"',
    ),
    (
        "[origin.b]\nservers = ['http://x']\ndeadlines = { connect = '2s', total = '1s' }",
        "edge.toml:12: origin.b.deadlines.total: is shorter than connect",
    ),
    (
        "[origin.b]\nservers = ['https://x']\nca = 'no.pem'",
        'edge.toml:12: origin.b.ca: "no.pem" cannot be read: No such file',
    ),
    ("[[tls]]\ncert = 'no.pem'", 'edge.toml:11: tls[0].cert: "no.pem" cannot be read: No such file or directory'),
    ("[[tls]]\ncert = 'edge.toml'", 'edge.toml:11: tls[0].cert: "edge.toml" has no PEM certificate'),
    (
        "[admin]\nlisten = '0.0.0.0:9090'",
        'edge.toml:11: admin.listen: "0.0.0.0:9090" can be reached from other machines: give admin.tokens',
    ),
    ("[admin]\nlisten = '127.0.0.1:8080'", 'edge.toml:11: admin.listen: "127.0.0.1:8080" is already in listen.http'),
    ("[admin]\nlisten = 'here'", 'edge.toml:11: admin.listen: expected an address such as "127.0.0.1:8080"'),
    (
        "[admin]\ntokens = [{ name = 'ci', env = 'HEADLAND_NOT_SET', scope = 'purge' }]",
        "edge.toml:11: admin.tokens[0].env: the environment variable HEADLAND_NOT_SET is not set",
    ),
    (
        "[admin]\ntokens = [\n { name = 'ci', scope = 'purge' }\n]",
        "edge.toml:12: admin.tokens[0]: expected one of env and file",
    ),
    (
        "[admin]\ntokens = [{ name = 'ci', file = 'edge.toml', scope = 'purge' }]",
        "edge.toml:11: admin.tokens[0].file: expected a secret of visible ASCII characters without blanks",
    ),
    (
        "[admin]\ntokens = [{ name = 'ci', env = 'PATH', scope = ['purge', 'everything'] }]",
        'edge.toml:11: admin.tokens[0].scope[1]: expected "purge", "purge:url", "purge:prefix"',
    ),
    ("[node.sub]", "edge.toml:10: node.sub: unknown key; known are drain, name,"),
]


@pytest.mark.parametrize(("addition", "line"), MISTAKES)
def test_each_mistake_is_one_line_with_its_place(refusal, addition, line):
    lines = refusal(GOOD + addition)
    assert [found[: len(line)] for found in lines] == [line]


RULES = [
    ("ttl = '10 parsecs'", 'ttl: expected a duration such as "10s" or "1d", got "10 parsecs"'),
    ("ttl = '400d'", 'ttl: expected "0s" to "365d", got "400d"'),
    ("ttl = 10", 'ttl: expected a duration such as "10s" or "1d", got 10'),
    ("ttl_status = { abc = '1m' }", 'ttl_status: expected a status such as 404, "200-299" or "5xx", got "abc"'),
    ("ttl_status = { 404 = 'x' }", 'ttl_status.404: expected a duration such as "10s" or "1d", got "x"'),
    ("cache = 'maybe'", "cache: expected true, false or \"force\", got 'maybe'"),
    ("name = 'idle'", "the rule does nothing: expected an action such as cache"),
    (
        "status = 404\ndeny = 403",
        "a denial is decided before the origin answers, but the condition asks for its answer",
    ),
    ("status = [404, '6xx']\nttl = '1s'", 'status[1]: expected a status such as 404, "200-299" or "5xx", got "6xx"'),
    ("status = '300-200'\nttl = '1s'", "status: expected a status such as 404"),
    ("deny = 200", "deny: expected 400 to 599, got 200"),
    ("redirect = 'somewhere'", "redirect: expected a URL or a path to redirect to"),
    ("redirect = '/x'\nredirect_status = 200", "redirect_status: expected 301, 302, 303, 307 or 308, got 200"),
    ("redirect = '/x'\ndeny = 403", "expected one of redirect and deny, got both"),
    ("redirect_status = 301\ndeny = 403", "redirect_status needs redirect"),
    ("key = {}", "key: expected one of query, query_allow, query_drop, headers, cookies and body"),
    (
        "key = { query = 'sort', query_drop = ['a'] }",
        "key: expected one of query, query_allow and query_drop, got query and",
    ),
    ("key = { headers = ['a b'] }", "key.headers: expected the name of a header field of letters"),
    ("set_header = { 'x y' = 'z' }", "set_header: expected the name of a header field"),
    ('set_header = { x-y = "a\\nb" }', "set_header: expected a header value in visible ASCII"),
    (
        "set_header = { content-length = '1' }",
        "set_header: content-length is set by the node itself and cannot be edited",
    ),
    (
        "set_request_header = { host = 'x' }",
        "set_request_header: host is set by the node itself and cannot be edited; see host",
    ),
    ("remove_header = 'Connection'", "remove_header: connection is set by the node itself"),
    (
        "header = { accept = 5 }\nttl = '1s'",
        "header: expected for accept a pattern, a list of patterns, true or false, got 5",
    ),
    ("method = 'GE T'\nttl = '1s'", "method: expected a method such as GET"),
    ("client = '10.0.0.0/33'\nttl = '1s'", "client: expected a network such as"),
    ("path = []\nttl = '1s'", "path: expected something, got nothing"),
    ("origin = 'none'", "origin: there is no [origin.none]; known are: app"),
    ("hedaer = { a = 'b' }\nttl = '1s'", "hedaer: unknown key; did you mean header?"),
]


@pytest.mark.parametrize(("rule", "sentence"), RULES)
def test_each_mistake_in_a_rule_names_the_rule(refusal, rule, sentence):
    lines = refusal(GOOD.replace("[origin.app]", f"[[site.rule]]\nttl = '1s'\n[[site.rule]]\n{rule}\n[origin.app]"))
    assert len(lines) == 1
    place, _, rest = lines[0].partition(": site[0].rule[1]")
    assert rest.removeprefix(".").removeprefix(": ").startswith(sentence)
    assert place.startswith("edge.toml:")


def test_all_mistakes_are_reported_in_the_order_of_the_file(refusal):
    lines = refusal(GOOD + "[cache]\nmemory = 1\nfoo = 2\n[log]\nformat = 1\n[node2]\n")
    assert [line.split(": ")[0] for line in lines] == ["edge.toml:11", "edge.toml:12", "edge.toml:14", "edge.toml:15"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = = 2\n", "edge.toml:2: not TOML at column 5: invalid value"),
        ("a = 1\na = 2\n", "edge.toml:2: not TOML at column 6: cannot overwrite a value"),
        ("[a\n", "edge.toml:1: not TOML at column 3: "),
        ("a = 'x", "edge.toml: not TOML at the end of the file: "),
    ],
)
def test_broken_toml_is_reported_with_its_line(refusal, text, line):
    (found,) = refusal(text)
    assert found.startswith(line)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no\.toml: cannot be read: No such file or directory"):
        load(tmp_path / "no.toml")


def test_a_file_that_is_not_utf8_is_reported_with_its_line(tmp_path):
    (tmp_path / "edge.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigurationError, match=r"edge\.toml:2: not UTF-8"):
        load(tmp_path / "edge.toml")


def test_an_empty_file_says_what_is_needed(refusal):
    lines = refusal("")
    assert any("site: there is no site: add a table [[site]]" in line for line in lines)
    assert any("listen: nothing to listen on" in line for line in lines)


def test_https_needs_a_certificate(refusal):
    (line,) = refusal(GOOD.replace('"127.0.0.1:8080"]', '"127.0.0.1:8080"]\nhttps = "127.0.0.1:8443"'))
    assert line == "edge.toml:5: listen.https: https needs a certificate: add a table [[tls]] with cert and key"


def test_what_the_command_line_says_wrong_is_placed_there(refusal):
    lines = refusal(GOOD, overrides={("node", "workers"): 0})
    assert lines == ["command line: node.workers: expected 1 to 256, got 0"]


def test_a_key_of_another_certificate_is_refused(tmp_path, refusal):
    from tests.certificates import make

    make(tmp_path / "a", "a.example")
    make(tmp_path / "b", "b.example")
    tls = "[[tls]]\ncert = 'a/cert.pem'\nkey = 'b/key.pem'\n"
    assert refusal(GOOD + tls) == ['edge.toml:12: tls[0].key: the key does not belong to the certificate "cert.pem"']


def test_a_certificate_with_its_key_is_taken(tmp_path):
    from tests.certificates import make

    make(tmp_path / "a", "a.example")
    (tmp_path / "edge.toml").write_text(GOOD + "[[tls]]\ncert = 'a/cert.pem'\nkey = 'a/key.pem'\n")
    (certificate,) = json.loads(load(tmp_path / "edge.toml").snapshot)["certificates"]
    assert ssl.PEM_cert_to_DER_cert(certificate["cert_pem"])
    assert "PRIVATE KEY" in certificate["key_pem"]


def test_tokens_come_from_the_environment_and_from_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADLAND_TEST_TOKEN", "secret-of-the-environment")
    (tmp_path / "token").write_text("secret-of-the-file\n")
    (tmp_path / "edge.toml").write_text(
        GOOD
        + """
[admin]
tokens = [
  { name = "ci", env = "HEADLAND_TEST_TOKEN", scope = ["purge", "read"] },
  { name = "ops", file = "token", scope = "read" },
]
"""
    )
    configuration = load(tmp_path / "edge.toml")
    assert [(token.name, token.secret) for token in configuration.tokens] == [
        ("ci", "secret-of-the-environment"),
        ("ops", "secret-of-the-file"),
    ]
    assert "secret-of" not in repr(configuration)


def test_the_access_log_lies_beside_the_configuration(tmp_path, refusal):
    file = tmp_path / "edge.toml"
    file.write_text(GOOD + "[log]\nformat = 'json'\npath = 'access.log'\n")
    assert json.loads(load(file).snapshot)["log"] == {
        "format": "json",
        "path": str(tmp_path / "access.log"),
        "tls_keys": None,
    }
    lines = refusal(GOOD + "[log]\nformat = 'json'\npath = 'logs/access.log'\n")
    assert lines == ['edge.toml:12: log.path: there is no directory "logs"']
