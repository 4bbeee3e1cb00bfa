"""The node's counters as Prometheus text and as the figures of dashboard and live line."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from edge import metrics
from edge.context import ReloadState
from edge.readings import History, Interval, Reading, quantile

BOUNDS_US = [100, 1_000, 10_000]


def _volume(path: str) -> dict[str, Any]:
    return {
        "path": path,
        "records": 11,
        "bytes": 22,
        "capacity_bytes": 33,
        "index_bytes": 44,
        "is_written": path == "/one",
        "is_read": True,
        "is_loading": True,
        "reads_waiting": 2,
        "written": 6,
        "written_bytes": 7,
        "dropped": 8,
        "reads": 9,
        "read_bytes": 10,
        "reads_refused": 4,
        "reclaimed": 1,
        "errors": {"write": 1, "read": 2, "damaged": 3},
        "read_latency": {"buckets": [0, 1, 7, 0], "sum_us": 50_000},
        "write_latency": {"buckets": [1, 0, 0, 0], "sum_us": 5},
    }


PEERS = {
    "relayed": 5,
    "copied": 4,
    "failed": 3,
    "outdated": 2,
    "served": 9,
    "told": 8,
    "untold": 1,
    "copies": 7,
    "copies_bytes": 700,
    "copies_dropped": 6,
}
ORIGINS = [
    {
        "origin": "app",
        "servers": [
            {
                "server": "http://10.0.0.1",
                "in_flight": 3,
                "ejected": True,
                "down": False,
                "latency_us": 2_000,
                "requests_max": 20,
            }
        ],
    }
]
QUIC = {
    "retries": 1,
    "handshakes_refused": 2,
    "ignored": 6,
    "priority_updates": 8,
    "priorities_forgotten": 0,
    "early_answered": 4,
    "early_waited": 1,
    "migrations": 2,
    "datagrams_sent": 30,
    "sends": 10,
    "datagrams_received": 20,
    "packets_sent": 31,
    "packets_lost": 3,
    "handed_over": 5,
    "dropped": 0,
    "rtt": {"buckets": [0, 1, 7, 0], "sum_us": 50_000},
}


def document(**changes: object) -> dict:
    """A small document of the shape of `Node.metrics()`."""
    whole = {
        "uptime_ms": 61_500,
        "requests": [
            {"site": "www.example.com", "outcome": "hit", "status_class": "2xx", "protocol": "h2", "count": 90},
            {"site": "www.example.com", "outcome": "miss", "status_class": "2xx", "protocol": "h1", "count": 8},
            {"site": "-", "outcome": "local", "status_class": "5xx", "protocol": "h1", "count": 2},
        ],
        "refused": {"header-bytes": 3},
        "bucket_bounds_us": BOUNDS_US,
        "ttfb": [
            {"outcome": "hit", "buckets": [80, 10, 0, 0], "sum_us": 9_000},
            {"outcome": "miss", "buckets": [0, 0, 6, 2], "sum_us": 90_000},
        ],
        "duration": [{"outcome": "hit", "buckets": [70, 20, 0, 0], "sum_us": 12_000}],
        "response_bytes": {"hit": 9_000, "miss": 1_000},
        "store": {
            "objects": 8,
            "bytes": 9_999,
            "capacity_bytes": 1 << 20,
            "evictions": 4,
            "variants_dropped": 9,
            "resumed": 8,
            "parts_stored": 6,
            "fills": 1,
            "fill_bytes": 77,
            "stored": 12,
            "not_stored": 3,
        },
        "collapsed": 5,
        "stale_served": {"revalidate": 2, "error": 1},
        "recoding": {"bodies": {"br": 5}, "bytes_in": 50, "bytes_out": 20, "crowded": 1, "failed": 2},
        "disk": {"hits": 5, "volumes": [_volume("/one"), _volume("/two")]},
        "tables": {"alternates": {"bytes": 7, "forgotten": 3}},
        "origin": {
            "connections_opened": 2,
            "connections_reused": 6,
            "connections_opened_ahead": 2,
            "open": 2,
            "idle": 1,
            "requests": 8,
            "bytes": 1_000,
            "errors": {"refused": 1},
            "retries": 1,
            "retries_refused": 4,
            "early_data": {"taken": 3, "refused": 2, "failed": 1},
            "hedges": {"won": 6, "lost": 5},
            "ejections": {"failures": 2, "errors": 1, "latency": 0},
            "ttfb": {"buckets": [0, 1, 7, 0], "sum_us": 50_000},
        },
        "origins": ORIGINS,
        "connections": {"accepted": 10, "refused": 2, "flooded": 1, "active": 3, "by_protocol": {"h1": 7, "h2": 3}},
        "tls_handshakes": {"full": 4, "resumed": 3, "failed": 1},
        "quic": QUIC,
        "peers": PEERS,
        "purges": {"rules": 6, "applied": 9, "folded": 2, "refills": {"waiting": 4, "waited": 11, "refused": 1}},
        "log_dropped": 0,
        "certificates": [{"source": "a.pem", "not_after_s": 1_900_000_000}],
    }
    return whole | changes


class CountingNode:
    """Answers with a document."""

    def __init__(self) -> None:
        self.scrapes = 0

    def metrics(self) -> bytes:
        self.scrapes += 1
        return orjson.dumps(document())


@pytest.fixture
def samples():
    registry = CollectorRegistry()
    node = CountingNode()
    metrics.register(registry, node, ReloadState(success=True, success_at_s=1_700_000_000.0, reloads=2), "1.2.3")
    assert node.scrapes == 0
    text = metrics.exposition(registry).decode()
    assert node.scrapes == 1
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        (
            "requests_total",
            {"site": "www.example.com", "status_class": "2xx", "cache_result": "hit", "proto": "h2"},
            90,
        ),
        ("response_bytes_total", {"cache_result": "hit"}, 9_000),
        ("refused_requests_total", {"reason": "header-bytes"}, 3),
        ("collapsed_requests_total", {}, 5),
        ("stale_served_total", {"reason": "error"}, 1),
        ("ttfb_seconds_bucket", {"cache_result": "hit", "le": "0.0001"}, 80),
        ("ttfb_seconds_bucket", {"cache_result": "hit", "le": "0.001"}, 90),
        ("ttfb_seconds_bucket", {"cache_result": "miss", "le": "+Inf"}, 8),
        ("ttfb_seconds_count", {"cache_result": "miss"}, 8),
        ("ttfb_seconds_sum", {"cache_result": "miss"}, 0.09),
        ("request_duration_seconds_count", {"cache_result": "hit"}, 90),
        ("origin_requests_total", {}, 8),
        ("origin_bytes_total", {}, 1_000),
        ("origin_connections_total", {"reused": "yes"}, 6),
        ("origin_connections_total", {"reused": "no"}, 2),
        ("origin_errors_total", {"reason": "refused"}, 1),
        ("origin_pool_connections", {"state": "busy"}, 1),
        ("origin_retries_total", {}, 1),
        ("origin_retries_refused_total", {}, 4),
        ("origin_early_data_total", {"result": "refused"}, 2),
        ("origin_hedges_total", {"result": "won"}, 6),
        ("origin_server_requests_limit", {"origin": "app", "server": "http://10.0.0.1"}, 20),
        ("origin_ejections_total", {"reason": "failures"}, 2),
        ("origin_server_up", {"origin": "app", "server": "http://10.0.0.1"}, 0),
        ("origin_server_requests", {"origin": "app", "server": "http://10.0.0.1"}, 3),
        ("origin_server_latency_seconds", {"origin": "app", "server": "http://10.0.0.1"}, 0.002),
        ("origin_ttfb_seconds_count", {}, 8),
        ("store_objects", {"tier": "memory"}, 8),
        ("store_bytes", {"tier": "memory"}, 9_999),
        ("store_capacity_bytes", {"tier": "memory"}, 1 << 20),
        ("evictions_total", {"tier": "memory", "reason": "capacity"}, 4),
        ("evictions_total", {"tier": "memory", "reason": "variants"}, 9),
        ("fills_resumed_total", {}, 8),
        ("parts_stored_total", {}, 6),
        ("store_objects", {"tier": "disk"}, 22),
        ("store_capacity_bytes", {"tier": "disk"}, 66),
        ("disk_in_service", {"path": "/one", "for": "writing"}, 1),
        ("disk_in_service", {"path": "/two", "for": "writing"}, 0),
        ("disk_index_bytes", {"path": "/one"}, 44),
        ("disk_index_loading", {"path": "/two"}, 1),
        ("disk_read_seconds_count", {"path": "/two"}, 8),
        ("disk_write_seconds_count", {"path": "/two"}, 1),
        ("disk_hits_total", {}, 5),
        ("disk_writes_dropped_total", {"path": "/one"}, 8),
        ("disk_errors_total", {"path": "/two", "kind": "damaged"}, 3),
        ("origin_connections_opened_ahead_total", {}, 2),
        ("recoded_bodies_total", {"form": "br"}, 5),
        ("recoded_bytes_in_total", {}, 50),
        ("recoded_bytes_out_total", {}, 20),
        ("recoding_failures_total", {"reason": "crowded"}, 1),
        ("recoding_failures_total", {"reason": "broken"}, 2),
        ("table_bytes", {"table": "alternates"}, 7),
        ("table_forgotten_total", {"table": "alternates"}, 3),
        ("connections", {"state": "active"}, 3),
        ("connections_refused_total", {}, 2),
        ("connections_opened_total", {"proto": "h2"}, 3),
        ("admissions_total", {"tier": "memory", "result": "stored"}, 12),
        ("admissions_total", {"tier": "memory", "result": "refused"}, 3),
        ("connections_accepted_total", {}, 10),
        ("tls_handshakes_total", {"resumed": "yes"}, 3),
        ("tls_handshakes_total", {"resumed": "no"}, 4),
        ("tls_handshake_failures_total", {}, 1),
        ("quic_retries_total", {}, 1),
        ("quic_early_requests_total", {"answered": "at-once"}, 4),
        ("quic_migrations_total", {}, 2),
        ("quic_datagrams_total", {"way": "out"}, 30),
        ("quic_sends_total", {}, 10),
        ("quic_packets_lost_total", {}, 3),
        ("quic_strays_total", {"fate": "handed-over"}, 5),
        ("quic_rtt_seconds_count", {}, 8),
        ("purge_rules", {}, 6),
        ("purge_rules_folded_total", {}, 2),
        ("peer_requests_total", {"result": "relayed"}, 5),
        ("peer_requests_total", {"result": "copied"}, 4),
        ("peer_requests_total", {"result": "failed"}, 3),
        ("peer_requests_total", {"result": "outdated"}, 2),
        ("peer_requests_served_total", {}, 9),
        ("peer_notices_total", {"result": "told"}, 8),
        ("peer_notices_total", {"result": "failed"}, 1),
        ("peer_copies", {}, 7),
        ("peer_copies_bytes", {}, 700),
        ("peer_copies_dropped_total", {}, 6),
        ("refills_waiting", {}, 4),
        ("refills_waited_total", {}, 11),
        ("refills_refused_total", {}, 1),
        ("cert_expiry_seconds", {"source": "a.pem"}, 1_900_000_000),
        ("config_last_reload_success", {}, 1),
        ("config_last_reload_success_timestamp_seconds", {}, 1_700_000_000),
        ("config_reloads_total", {}, 2),
        ("uptime_seconds", {}, 61.5),
    ],
)
def test_each_counter_has_its_name_and_labels(samples, name, labels, value):
    assert samples["headland_" + name, *sorted(labels.items())] == pytest.approx(value)


def test_the_build_and_the_process_are_described(samples):
    assert any(key[0] == "headland_build_info" and ("version", "1.2.3") in key for key in samples)
    assert samples["process_open_fds",] > 0


def test_labels_are_escaped():
    registry = CollectorRegistry()
    node = CountingNode()
    odd = 'a"b\\c\nd'
    rows = [{"site": odd, "outcome": "hit", "status_class": "2xx", "protocol": "h1", "count": 1}]
    node.metrics = lambda: orjson.dumps(document(requests=rows))
    metrics.register(registry, node, ReloadState(), "1")
    text = metrics.exposition(registry).decode()
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert any(sample.labels.get("site") == odd for sample in found)


# -- figures ----------------------------------------------------------------------------------------------------------


def reading(at_s: float, **changes: object) -> Reading:
    return Reading.of(at_s, orjson.dumps(document(**changes)))


NOTHING = {
    "requests": [],
    "response_bytes": {},
    "ttfb": [{"outcome": word, "buckets": [0] * 4, "sum_us": 0} for word in ("hit", "miss")],
}


def test_an_interval_has_rates_ratios_and_quantiles():
    figures = Interval(reading(10.0, **NOTHING), reading(12.0)).figures()
    assert figures["requests_per_s"] == 50
    assert figures["bytes_per_s"] == 5_000
    assert figures["hit_ratio"] == pytest.approx(90 / 98)
    assert figures["byte_hit_ratio"] == pytest.approx(0.9)
    assert figures["error_ratio"] == pytest.approx(0.02)
    assert figures["hit_p50_ms"] == pytest.approx(0.05625)
    assert figures["miss_p50_ms"] == pytest.approx(7.0)
    assert figures["miss_p95_ms"] == pytest.approx(10.0)


def test_an_interval_without_requests_has_rates_of_zero_and_no_ratios():
    figures = Interval(reading(10.0), reading(11.0)).figures()
    assert (figures["requests_per_s"], figures["bytes_per_s"]) == (0, 0)
    assert {name for name, value in figures.items() if value is None} == {
        "hit_ratio",
        "byte_hit_ratio",
        "error_ratio",
        "hit_p50_ms",
        "hit_p95_ms",
        "miss_p50_ms",
        "miss_p95_ms",
    }


@pytest.mark.parametrize(
    ("q", "buckets", "expected"),
    [
        (0.5, [0, 0, 0, 0], None),
        (0.5, [10, 0, 0, 0], 50),
        (1.0, [10, 0, 0, 0], 100),
        (0.5, [5, 5, 0, 0], 100),
        (0.75, [5, 5, 0, 0], 550),
        (0.99, [0, 0, 0, 7], 10_000),
        (0.0, [0, 4, 0, 0], 100),
    ],
)
def test_quantiles_are_linear_within_a_bucket(q, buckets, expected):
    assert quantile(q, BOUNDS_US, buckets) == expected


def test_history_is_bounded_and_knows_the_last_seconds():
    history = History(readings_max=5)
    assert history.newest is None
    assert history.last(10) is None
    for second in range(9):
        history.add(reading(float(second)))
    assert len(history.steps()) == 4
    assert history.last(2.0).seconds == 2
    assert history.last(100.0).seconds == 4
    assert history.last(0.1).seconds == 1
