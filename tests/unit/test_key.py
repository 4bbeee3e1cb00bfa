"""The same keys in Python tools as in the core."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.key import key_bytes, key_hash

_headland = pytest.importorskip("_headland", reason="the extension is not built: make develop")

ascii_text = st.text(st.characters(max_codepoint=127), max_size=300)
parts = st.lists(st.tuples(st.binary(max_size=20), st.none() | st.binary(max_size=300)), max_size=4)


@given(st.sampled_from(["http", "https"]), ascii_text, ascii_text, parts)
def test_python_and_the_core_hash_every_key_alike(scheme, host, target, parts):
    assert key_hash(scheme, host, target, parts) == _headland.key_hash(scheme, host, target, parts)


def test_the_layout_is_the_documented_one():
    expected = b"\x02\x01\0\0\0\x02\0\0\0h/a" + b"\x01\0\0\0n\0" + b"\x01\0\0\0m\x01\0\0\0\0"
    assert key_bytes("https", "h", "/a", [(b"n", None), (b"m", b"")]) == expected


def test_urls_of_one_resource_have_one_key():
    keys = {
        key_hash(*_headland.canonical_url(url))
        for url in ("https://H.example:443/a/../%7Eb?x", "HTTPS://h.example./~b?x", "https://h.example/%7eb?x")
    }
    assert len(keys) == 1


@pytest.mark.parametrize("url", ["ftp://h/", "https://h/#f", "https://h/a b", "https:///", "https://h/..%2fx"])
def test_what_has_no_canonical_form_is_refused_with_the_reason(url):
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        _headland.canonical_url(url)
