"""The node's counters as Prometheus metrics.

`NodeCollector` asks the node once per scrape and names what it gets; nothing is counted in Python. Names, units and
labels follow Prometheus: base units, `_total`, and only labels whose values are bounded (enums of the core, sites and
certificates of the configuration). Outcomes are the label `cache_result`, in the words of Cache-Status and the log.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from edge.context import NodeFace, ReloadState

__all__ = ["CONTENT_TYPE", "NodeCollector", "exposition", "register"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The type of what `exposition` gives: the text format, in the version that every Prometheus reads."""
TIER = "memory"
"""The label `tier` of the store; there is one so far."""
MICROSECONDS = 1_000_000
"""In a second."""
Document = Mapping[str, Any]


def register(registry: CollectorRegistry, node: NodeFace, reload_state: ReloadState, version: str) -> None:
    """Add the node's metrics and those of the process to a registry."""
    registry.register(NodeCollector(node, reload_state, version))
    ProcessCollector(registry=registry)


def exposition(registry: CollectorRegistry) -> bytes:
    """Everything in a registry, in the text format."""
    return generate_latest(registry)


class NodeCollector(Collector):
    """Reads the node's counters at each scrape.

    Args:
        node: The node.
        reload_state: How the last reading of the configuration went.
        version: The version in `headland_build_info`.
    """

    def __init__(self, node: NodeFace, reload_state: ReloadState, version: str) -> None:
        self._node = node
        self._reload_state = reload_state
        self._version = version

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known without asking the node, so registering does not scrape it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, in the order of the groups below."""
        document: Document = orjson.loads(self._node.metrics())
        for group in (_requests, _times, _origin, _store, _disk, _recoding, _doors, _quic, _peers, _certificates):
            yield from group(document)
        yield from self._own(document)

    def _own(self, document: Document) -> Iterator[Metric]:
        state = self._reload_state
        yield _gauge("config_last_reload_success", "Whether the last configuration read was taken.", int(state.success))
        yield _gauge(
            "config_last_reload_success_timestamp_seconds",
            "Unix time of the last configuration that was taken.",
            state.success_at_s,
        )
        yield _counter("config_reloads", "Times the configuration was read again.", state.reloads)
        yield _gauge("uptime_seconds", "Time since the node was made.", document["uptime_ms"] / 1000)
        build = GaugeMetricFamily("headland_build_info", "Version of the node.", labels=["version", "python"])
        build.add_metric([self._version, platform.python_version()], 1)
        yield build


def _requests(document: Document) -> Iterator[Metric]:
    labels = ["site", "status_class", "cache_result", "proto"]
    requests = CounterMetricFamily("headland_requests", "Requests answered.", labels=labels)
    for row in document["requests"]:
        requests.add_metric([row["site"], row["status_class"], row["outcome"], row["protocol"]], row["count"])
    yield requests
    yield _counters("response_bytes", "Bytes of response bodies sent.", "cache_result", document["response_bytes"])
    yield _counters("refused_requests", "Requests refused before routing.", "reason", document["refused"])
    yield _counter("collapsed_requests", "Requests that joined a fill that was running.", document["collapsed"])
    yield _counters("stale_served", "Responses served stale.", "reason", document["stale_served"])
    yield _counter("access_log_dropped", "Access log lines dropped because the disk was slow.", document["log_dropped"])


def _times(document: Document) -> Iterator[Metric]:
    bounds = document["bucket_bounds_us"]
    yield _histograms("ttfb_seconds", "From the request's head to the first byte.", bounds, document["ttfb"])
    yield _histograms(
        "request_duration_seconds", "From the request's head to the last byte.", bounds, document["duration"]
    )


def _origin(document: Document) -> Iterator[Metric]:
    origin = document["origin"]
    yield _counter("origin_requests", "Requests sent to origins.", origin["requests"])
    yield _counter("origin_bytes", "Bytes of response bodies from origins.", origin["bytes"])
    yield _counters("origin_errors", "Fetches that failed.", "reason", origin["errors"])
    yield _counters(
        "origin_connections",
        "Connections taken for a request, by whether they had been used before.",
        "reused",
        {"yes": origin["connections_reused"], "no": origin["connections_opened"]},
    )
    yield _counter(
        "origin_connections_opened_ahead",
        "Connections opened before a request needed them.",
        origin["connections_opened_ahead"],
    )
    pool = GaugeMetricFamily("headland_origin_pool_connections", "Connections held.", labels=["state"])
    pool.add_metric(["idle"], origin["idle"])
    pool.add_metric(["busy"], origin["open"] - origin["idle"])
    yield pool
    yield _counter("origin_retries", "Requests sent again.", origin["retries"])
    yield _counter("origin_retries_refused", "Requests not sent again for want of budget.", origin["retries_refused"])
    yield _counters(
        "origin_early_data",
        "Requests that went out with a TLS handshake, by whether the server took them; failed ones were asked again.",
        "result",
        origin["early_data"],
    )
    yield _counters(
        "origin_hedges",
        "Requests asked of a second server as well, by whether it answered first.",
        "result",
        origin["hedges"],
    )
    yield _counters("origin_ejections", "Servers taken out for a while.", "reason", origin["ejections"])
    yield from _servers(document)
    family = HistogramMetricFamily("headland_origin_ttfb_seconds", "From sending to the origin's first byte.")
    _add_histogram(family, [], document["bucket_bounds_us"], origin["ttfb"])
    yield family


def _servers(document: Document) -> Iterator[Metric]:
    """One sample per server of the configuration."""
    labels = ["origin", "server"]
    up = GaugeMetricFamily("headland_origin_server_up", "Whether requests are sent to a server.", labels=labels)
    busy = GaugeMetricFamily("headland_origin_server_requests", "Requests that a server works on.", labels=labels)
    latency = GaugeMetricFamily(
        "headland_origin_server_latency_seconds", "What a server is expected to take to its first byte.", labels=labels
    )
    most = GaugeMetricFamily(
        "headland_origin_server_requests_limit", "Requests that a server may work on at a time.", labels=labels
    )
    for origin in document["origins"]:
        for server in origin["servers"]:
            at = [origin["origin"], server["server"]]
            up.add_metric(at, int(not (server["ejected"] or server["down"])))
            busy.add_metric(at, server["in_flight"])
            if server["requests_max"]:
                most.add_metric(at, server["requests_max"])
            latency.add_metric(at, server["latency_us"] / MICROSECONDS)
    yield from (up, busy, most, latency)


def _store(document: Document) -> Iterator[Metric]:
    store = document["store"]
    for name, text, value in (
        ("store_objects", "Responses stored.", store["objects"]),
        ("store_bytes", "Bytes used, everything counted.", store["bytes"]),
        ("store_capacity_bytes", "Bytes that may be used.", store["capacity_bytes"]),
    ):
        yield _gauge(name, text, value, tier=TIER)
    admissions = CounterMetricFamily("headland_admissions", "Responses by whether stored.", labels=["tier", "result"])
    admissions.add_metric([TIER, "stored"], store["stored"])
    admissions.add_metric([TIER, "refused"], store["not_stored"])
    yield admissions
    evictions = CounterMetricFamily("headland_evictions", "Responses evicted.", labels=["tier", "reason"])
    evictions.add_metric([TIER, "capacity"], store["evictions"])
    evictions.add_metric([TIER, "variants"], store["variants_dropped"])
    yield evictions
    yield _counter("fills_resumed", "Times an origin that had broken off continued its answer.", store["resumed"])
    yield _counter("parts_stored", "Parts of responses that are stored in parts.", store["parts_stored"])
    yield _gauge("fills", "Fills running.", store["fills"])
    yield _gauge("fill_bytes", "Bytes held by running fills.", store["fill_bytes"])
    tables = document["tables"]
    held = GaugeMetricFamily("headland_table_bytes", "Bytes remembered beside the store.", labels=["table"])
    for table, usage in tables.items():
        held.add_metric([table], usage["bytes"])
    yield held
    forgotten = {table: usage["forgotten"] for table, usage in tables.items()}
    yield _counters("table_forgotten", "Times a table beside the store forgot at its bound.", "table", forgotten)
    purges = document["purges"]
    yield _gauge("purge_rules", "Purge rules held.", purges["rules"])
    yield _counter("purge_rules_folded", "Purge rules folded into broader ones at a bound.", purges["folded"])
    yield _gauge("refills_waiting", "Purged responses that wait to be fetched anew.", purges["refills"]["waiting"])
    yield _counter("refills_waited", "Purged responses that had to wait.", purges["refills"]["waited"])
    yield _counter("refills_refused", "Of these, those that waited too long.", purges["refills"]["refused"])


def _peers(document: Document) -> Iterator[Metric]:
    told = document["peers"]
    yield _counters(
        "peer_requests",
        "Requests passed on to the nodes that own their keys: answered by them, fetched through them to be kept,"
        " failed, or outdated by a purge.",
        "result",
        {result: told[result] for result in ("relayed", "copied", "failed", "outdated")},
    )
    yield _counter("peer_requests_served", "Requests of other nodes for what is owned here.", told["served"])
    yield _counters(
        "peer_notices",
        "Peers that were to be told what an unsafe request has changed: told, or not in time.",
        "result",
        {"told": told["told"], "failed": told["untold"]},
    )
    yield _gauge("peer_copies", "Copies of what other nodes own.", told["copies"])
    yield _gauge("peer_copies_bytes", "Their bytes.", told["copies_bytes"])
    yield _counter("peer_copies_dropped", "Copies that had to go for newer ones.", told["copies_dropped"])


def _disk(document: Document) -> Iterator[Metric]:
    disk = document["disk"]
    if disk is None:
        return
    volumes = disk["volumes"]
    for name, text, key in (
        ("store_objects", "Responses stored.", "records"),
        ("store_bytes", "Bytes used, everything counted.", "bytes"),
        ("store_capacity_bytes", "Bytes that may be used.", "capacity_bytes"),
    ):
        yield _gauge(name, text, sum(volume[key] for volume in volumes), tier="disk")
    yield _counter("disk_hits", "Responses that came back from disk.", disk["hits"])
    for name, text, key in (
        ("disk_used_bytes", "Bytes of records on the disk.", "bytes"),
        ("disk_size_bytes", "Bytes that may be used on the disk.", "capacity_bytes"),
        ("disk_index_bytes", "Memory of the index of records on the disk.", "index_bytes"),
        ("disk_reads_waiting", "Reads that wait for a thread.", "reads_waiting"),
        ("disk_index_loading", "Whether the index does not have everything yet.", "is_loading"),
    ):
        yield _by_path(GaugeMetricFamily(f"headland_{name}", text, labels=["path"]), volumes, key)
    for name, text, key in (
        ("disk_writes", "Responses written.", "written"),
        ("disk_written_bytes", "Bytes of records written.", "written_bytes"),
        ("disk_reads", "Records and pieces read.", "reads"),
        ("disk_read_bytes", "Bytes of records read.", "read_bytes"),
        ("disk_reads_refused", "Reads that found too many waiting.", "reads_refused"),
        ("disk_writes_dropped", "Writes that found the queue full.", "dropped"),
        ("disk_segments_reclaimed", "Segments that made room.", "reclaimed"),
    ):
        yield _by_path(CounterMetricFamily(f"headland_{name}", text, labels=["path"]), volumes, key)
    yield from _disk_health(volumes, document["bucket_bounds_us"])


def _by_path(
    family: CounterMetricFamily | GaugeMetricFamily, volumes: Sequence[Document], key: str
) -> CounterMetricFamily | GaugeMetricFamily:
    for volume in volumes:
        family.add_metric([volume["path"]], volume[key])
    return family


def _disk_health(volumes: Sequence[Document], bounds: Sequence[int]) -> Iterator[Metric]:
    service = GaugeMetricFamily("headland_disk_in_service", "Whether the disk is used.", labels=["path", "for"])
    errors = CounterMetricFamily("headland_disk_errors", "What went wrong on the disk.", labels=["path", "kind"])
    reads = HistogramMetricFamily("headland_disk_read_seconds", "Reads that waited for the disk.", labels=["path"])
    writes = HistogramMetricFamily("headland_disk_write_seconds", "Writes of the disk's thread.", labels=["path"])
    for volume in volumes:
        path = volume["path"]
        service.add_metric([path, "writing"], int(volume["is_written"]))
        service.add_metric([path, "reading"], int(volume["is_read"]))
        for kind, count in volume["errors"].items():
            errors.add_metric([path, kind], count)
        _add_histogram(reads, [path], bounds, volume["read_latency"])
        _add_histogram(writes, [path], bounds, volume["write_latency"])
    yield from (service, errors, reads, writes)


def _recoding(document: Document) -> Iterator[Metric]:
    recoding = document["recoding"]
    yield _counters("recoded_bodies", "Bodies compressed, or undone.", "form", recoding["bodies"])
    yield _counter("recoded_bytes_in", "Bytes of bodies that were compressed or undone.", recoding["bytes_in"])
    yield _counter("recoded_bytes_out", "Bytes that came of them.", recoding["bytes_out"])
    yield _counters(
        "recoding_failures",
        "Bodies sent as they were because all coders were busy, or that could not be undone.",
        "reason",
        {"crowded": recoding["crowded"], "broken": recoding["failed"]},
    )


def _doors(document: Document) -> Iterator[Metric]:
    connections, handshakes = document["connections"], document["tls_handshakes"]
    yield _gauge("connections", "Client connections.", connections["active"], state="active")
    yield _counter("connections_accepted", "Client connections accepted.", connections["accepted"])
    yield _counter("connections_refused", "Client connections refused at a bound.", connections["refused"])
    yield _counter("connections_flooded", "HTTP/2 connections ended for a flood of frames.", connections["flooded"])
    yield _counters("connections_opened", "Client connections by protocol.", "proto", connections["by_protocol"])
    yield _counters(
        "tls_handshakes",
        "TLS handshakes completed, by whether a session was resumed.",
        "resumed",
        {"yes": handshakes["resumed"], "no": handshakes["full"]},
    )
    yield _counter("tls_handshake_failures", "TLS handshakes that failed.", handshakes["failed"])


def _quic(document: Document) -> Iterator[Metric]:
    quic = document["quic"]
    yield _counter("quic_retries", "Clients that had to prove their address before a handshake.", quic["retries"])
    yield _counter(
        "quic_handshakes_refused",
        "Handshakes refused to addresses that had proven themselves and began too many.",
        quic["handshakes_refused"],
    )
    yield _counter(
        "quic_datagrams_ignored",
        "Datagrams of handshakes that were not looked at, since their source sent too many.",
        quic["ignored"],
    )
    yield _counter("quic_priority_updates", "Priorities that clients changed.", quic["priority_updates"])
    yield _counter(
        "quic_priorities_forgotten",
        "Changed priorities that were forgotten, since there were too many of a connection.",
        quic["priorities_forgotten"],
    )
    yield _counters(
        "quic_early_requests",
        "Requests in TLS early data, by when they were answered.",
        "answered",
        {"at-once": quic["early_answered"], "after-handshake": quic["early_waited"]},
    )
    yield _counter("quic_migrations", "Addresses that clients moved to and proved.", quic["migrations"])
    yield _counters(
        "quic_datagrams", "UDP datagrams.", "way", {"out": quic["datagrams_sent"], "in": quic["datagrams_received"]}
    )
    yield _counter("quic_sends", "System calls that sent datagrams.", quic["sends"])
    yield _counter("quic_packets_sent", "QUIC packets sent.", quic["packets_sent"])
    yield _counter("quic_packets_lost", "QUIC packets sent that were lost.", quic["packets_lost"])
    yield _counters(
        "quic_strays",
        "Datagrams that came to another worker than their connection's, by what became of them.",
        "fate",
        {"handed-over": quic["handed_over"], "dropped": quic["dropped"]},
    )
    family = HistogramMetricFamily(
        "headland_quic_rtt_seconds", "Round-trip time of QUIC connections, when they end.", labels=[]
    )
    _add_histogram(family, [], document["bucket_bounds_us"], quic["rtt"])
    yield family


def _certificates(document: Document) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "headland_cert_expiry_seconds", "Unix time at which a certificate expires.", labels=["source"]
    )
    for certificate in document["certificates"]:
        family.add_metric([certificate["source"]], certificate["not_after_s"])
    yield family


def _gauge(name: str, text: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(f"headland_{name}", text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"headland_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"headland_{name}", text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def _histograms(name: str, text: str, bounds_us: Sequence[int], rows: Iterable[Document]) -> Metric:
    family = HistogramMetricFamily(f"headland_{name}", text, labels=["cache_result"])
    for row in rows:
        _add_histogram(family, [row["outcome"]], bounds_us, row)
    return family


def _add_histogram(
    family: HistogramMetricFamily, labels: Sequence[str], bounds_us: Sequence[int], row: Document
) -> None:
    """Buckets of the node count each for itself, those of Prometheus include the ones before."""
    edges = [*(str(bound / MICROSECONDS) for bound in bounds_us), "+Inf"]
    cumulative = 0
    buckets = []
    for edge, count in zip(edges, row["buckets"], strict=True):
        cumulative += count
        buckets.append((edge, cumulative))
    family.add_metric(labels, buckets, row["sum_us"] / MICROSECONDS)
