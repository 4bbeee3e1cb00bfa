"""Durations and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.units import duration_ms, duration_text, size_bytes, size_text


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0s", 0),
        ("1ms", 1),
        ("1500ms", 1500),
        ("10s", 10_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1.5s", 1500),
        ("10 s", 10_000),
    ],
)
def test_a_duration_is_read_in_milliseconds(text, ms):
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "10 parsecs",
        "-1s",
        "+1s",
        "1e3s",
        "10S",
        "1  s",
        " 1s",
        "1s ",
        "1.0005s",
        "1.5ms",
        "1,5s",
        "\u0661s",
        "9" * 16 + "s",
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r'expected a duration such as "10s" or "1d"'):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0),
        ("512B", 512),
        ("512KiB", 524_288),
        ("100MB", 100_000_000),
        ("1GiB", 1_073_741_824),
        ("1.5KiB", 1536),
        ("2TiB", 2 * 1024**4),
    ],
)
def test_a_size_is_read_in_bytes(text, count):
    assert size_bytes(text) == count


@pytest.mark.parametrize("text", ["", "1", "1G", "1gib", "1 GiBs", "0.5B", "999999999999999TiB"])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r'expected a size such as "512KiB" or "100MB"'):
        size_bytes(text)


@given(st.integers(0, 10**15))
def test_a_duration_reads_back_what_it_was_written_from(ms):
    assert duration_ms(duration_text(ms)) == ms


@given(st.integers(0, 10**15))
def test_a_size_reads_back_what_it_was_written_from(count):
    assert size_bytes(size_text(count)) == count
