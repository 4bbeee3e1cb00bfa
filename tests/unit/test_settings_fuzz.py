"""No configuration, however wrong, gets anything but a list of problems with places."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import schema
from edge.configuration import ConfigurationError, judge
from edge.document import Document
from edge.toml_lines import toml_lines

# Keys that exist, so that values get past the first check, and some that do not.
KEYS = sorted(
    {part for pattern in tuple(schema.keys()) for part in pattern.replace("[]", "").split(".")} | {"app", "x y", ""}
)
TEXTS = st.one_of(
    st.sampled_from(
        ["*", "app", "10s", "1GiB", "http://127.0.0.1:1", "127.0.0.1:0", "404", "200-299", "GET", "/a/**", "off"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8),
)
VALUES = st.recursive(
    st.one_of(st.integers(-5, 2**63), st.booleans(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=12,
)


def _good():
    return {
        "listen": {"http": "127.0.0.1:0"},
        "site": [{"hosts": "*", "origin": "app", "rule": [{"ttl": "1s"}]}],
        "origin": {"app": {"servers": "http://127.0.0.1:1"}},
    }


def _paths(value, path=()):
    yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in steps:
        yield from _paths(item, (*path, step))


@st.composite
def documents(draw):
    """The good configuration with a few values replaced or added anywhere."""
    document = _good()
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([path for path in _paths(document) if path]))
        place = document
        for step in way:
            place = place[step]
        if isinstance(place, dict) and draw(st.booleans()):
            last = draw(st.sampled_from(KEYS))
        place[last] = draw(VALUES)
    return document


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_any_document_is_taken_whole_or_refused_with_places(document):
    text = _toml(document)
    values = tomllib.loads(text)
    lines = toml_lines(text)
    try:
        configuration = judge(Document("edge.toml", Path("/nonexistent"), values, lines))
    except ConfigurationError as error:
        refusal = error
    else:
        json.loads(configuration.snapshot)
        return
    assert refusal.problems
    for problem in refusal.problems:
        assert problem.sentence
        assert "input should" not in problem.sentence.lower()
        assert problem.file == "edge.toml"
        assert 1 <= (problem.line or 0) <= text.count("\n") + 1


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_taken_or_refused_with_a_reason(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("fuzz") / "edge.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigurationError, match=r"edge\.toml"):
        judge(Document.read(file))


def _toml(document):
    return "".join(f"{_quoted(key)} = {_value(value)}\n" for key, value in document.items())


def _value(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if "inf" in repr(value) or "." in repr(value) or "e" in repr(value) else f"{value}.0"
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\x7f", "\\u007F") + '"'
