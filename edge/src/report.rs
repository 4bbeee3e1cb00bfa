//! The node's counters as one JSON document, summed over workers: what the Python side turns into metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use headland_cache::disk::{Latency, VolumeReport};
use headland_cache::{Form, Outcome};
use headland_origin::ServerStatus;
use headland_origin::counters::FAULT_WORDS;
use headland_origin::eject::Cause;
use serde_json::{Value, json};

use crate::counter::{Counter, Histogram, HistogramTotal, bounds_us};
use crate::h1::Reason;
use crate::metrics::{Protocol, WorkerMetrics};
use crate::node::Node;
use crate::quic::steering::Lanes;

/// Everything that is counted.
pub fn report(node: &Node) -> Value {
    json!({
        "uptime_ms": node.clock.uptime_ms(),
        "requests": requests(node),
        "refused": by_word(node, Reason::ALL.map(Reason::word), |worker| &worker.refused.0),
        "bucket_bounds_us": bounds_us(),
        "ttfb": histograms(node, |worker| &worker.ttfb),
        "duration": histograms(node, |worker| &worker.duration),
        "response_bytes": by_word(node, Outcome::WORDS, |worker| &worker.response_bytes),
        "collapsed": sum(node, |worker| &worker.collapsed),
        "stale_served": stale_served(node),
        "store": store(node),
        "disk": disk(node),
        "recoding": recoding(node),
        "tables": tables(node),
        "origin": origin(node),
        "origins": origins(node),
        "connections": connections(node),
        "tls_handshakes": {
            "full": sum(node, |worker| &worker.tls_full),
            "resumed": sum(node, |worker| &worker.tls_resumed),
            "failed": sum(node, |worker| &worker.tls_failed),
        },
        "quic": quic(node),
        "peers": peers(node),
        "purges": purges(node),
        "log_dropped": node.log().dropped(),
        "certificates": certificates(node),
    })
}

fn sum(node: &Node, of: impl Fn(&WorkerMetrics) -> &Counter) -> u64 {
    node.metrics.workers().iter().map(|worker| of(worker).get()).sum()
}

fn by_word<const N: usize>(
    node: &Node,
    words: [&'static str; N],
    of: impl Fn(&WorkerMetrics) -> &[Counter; N],
) -> BTreeMap<&'static str, u64> {
    words.into_iter().enumerate().map(|(at, word)| (word, sum(node, |worker| &of(worker)[at]))).collect()
}

fn requests(node: &Node) -> Vec<Value> {
    let sites = node.metrics.sites();
    let rows = sites.iter().flat_map(|site| site.totals().into_iter().map(move |row| (&site.name, row)));
    rows.map(|(site, (outcome, class, protocol, count))| {
        json!({"site": site, "outcome": outcome, "status_class": class, "protocol": protocol, "count": count})
    })
    .collect()
}

fn histograms<'n>(
    node: &'n Node,
    of: impl Fn(&'n WorkerMetrics) -> &'n [Histogram; Outcome::WORDS.len()],
) -> Vec<Value> {
    let total = |at: usize| {
        let mut total = HistogramTotal::default();
        node.metrics.workers().iter().for_each(|worker| of(worker)[at].add_to(&mut total));
        total
    };
    let rows = Outcome::WORDS.into_iter().enumerate().map(|(at, outcome)| (outcome, total(at)));
    rows.map(|(outcome, total)| json!({"outcome": outcome, "buckets": total.buckets, "sum_us": total.sum_us})).collect()
}

fn stale_served(node: &Node) -> Value {
    let count = |outcome: &str| -> u64 {
        let sites = node.metrics.sites();
        let rows = sites.iter().flat_map(|site| site.totals());
        rows.filter(|row| row.0 == outcome).map(|row| row.3).sum()
    };
    json!({
        "revalidating": count(Outcome::StaleWhileRevalidate.word()),
        "error": count(Outcome::StaleIfError.word()),
    })
}

fn store(node: &Node) -> Value {
    let stats = node.store.stats();
    json!({
        "objects": stats.objects,
        "bytes": stats.bytes,
        "capacity_bytes": stats.capacity_bytes,
        "evictions": stats.evicted,
        "variants_dropped": stats.variants_dropped,
        "fills": node.collapse.fills(),
        "fill_bytes": node.collapse.fill_bytes(),
        "stored": sum(node, |worker| &worker.stored),
        "not_stored": sum(node, |worker| &worker.not_stored),
        "resumed": sum(node, |worker| &worker.resumed),
        "parts_stored": sum(node, |worker| &worker.parts_stored),
    })
}

fn peers(node: &Node) -> Value {
    let (copies, bytes, dropped) = node.copies.usage();
    json!({
        "relayed": sum(node, |worker| &worker.peers.relayed),
        "copied": sum(node, |worker| &worker.peers.copied),
        "failed": sum(node, |worker| &worker.peers.failed),
        "outdated": sum(node, |worker| &worker.peers.outdated),
        "served": sum(node, |worker| &worker.peers.served),
        "told": sum(node, |worker| &worker.peers.told),
        "untold": sum(node, |worker| &worker.peers.untold),
        "copies": copies,
        "copies_bytes": bytes,
        "copies_dropped": dropped,
    })
}

/// What is remembered beside the store.
fn tables(node: &Node) -> Value {
    let told = |(bytes, forgotten): (usize, u64)| json!({"bytes": bytes, "forgotten": forgotten});
    json!({"alternates": told(node.ledger.alternates.usage()), "early_hints": told(node.hints.usage())})
}

fn recoding(node: &Node) -> Value {
    let counters = &node.workshop.counters;
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    let bodies: BTreeMap<_, _> =
        Form::ALL.into_iter().map(|form| (form.name(), count(&counters.bodies[form as usize]))).collect();
    json!({
        "bodies": bodies,
        "bytes_in": count(&counters.bytes_in),
        "bytes_out": count(&counters.bytes_out),
        "crowded": count(&counters.crowded),
        "failed": count(&counters.failed),
    })
}

/// Null where there is no disk tier.
fn disk(node: &Node) -> Value {
    let Some(disk) = node.disk.get() else { return Value::Null };
    let volumes: Vec<Value> = disk.report().map(|report| volume(&report)).collect();
    json!({"hits": sum(node, |worker| &worker.disk_hits), "volumes": volumes})
}

fn volume(report: &VolumeReport<'_>) -> Value {
    let counters = report.counters;
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    let latency = |latency: &Latency| {
        let (buckets, sum_us) = latency.totals();
        HistogramTotal { buckets, sum_us }
    };
    json!({
        "path": report.path,
        "records": report.records,
        "bytes": report.bytes,
        "capacity_bytes": report.capacity_bytes,
        "index_bytes": report.index_bytes,
        "is_written": report.is_written,
        "is_read": report.is_read,
        "is_loading": report.is_loading,
        "reads_waiting": report.reads_waiting,
        "written": count(&counters.written),
        "written_bytes": count(&counters.written_bytes),
        "dropped": count(&counters.dropped),
        "reads": count(&counters.reads),
        "read_bytes": count(&counters.read_bytes),
        "reads_refused": count(&counters.reads_refused),
        "reclaimed": count(&counters.reclaimed),
        "errors": {
            "write": count(&counters.write_errors),
            "read": count(&counters.read_errors),
            "damaged": count(&counters.damaged),
        },
        "read_latency": latency(&counters.read_latency),
        "write_latency": latency(&counters.write_latency),
    })
}

fn origin(node: &Node) -> Value {
    let counters = node.client.counters();
    let connections = node.client.open_connections();
    let mut ttfb = HistogramTotal::default();
    node.metrics.workers().iter().for_each(|worker| worker.origin_ttfb.add_to(&mut ttfb));
    let errors: BTreeMap<_, _> = FAULT_WORDS.into_iter().zip(counters.errors).collect();
    json!({
        "requests": counters.requests,
        "bytes": sum(node, |worker| &worker.origin_bytes),
        "connections_opened": counters.opened,
        "connections_reused": counters.reused,
        "connections_opened_ahead": counters.opened_ahead,
        "open": connections.open,
        "idle": connections.idle,
        "errors": errors,
        "retries": counters.retries,
        "retries_refused": counters.retries_refused,
        "early_data": {
            "taken": counters.early_taken,
            "refused": counters.early_refused,
            "failed": counters.early_failed,
        },
        "hedges": {"won": counters.hedges_won, "lost": counters.hedges.saturating_sub(counters.hedges_won)},
        "ejections": Cause::WORDS.into_iter().zip(counters.ejections).collect::<BTreeMap<_, _>>(),
        "ttfb": ttfb,
    })
}

/// Every server of the configuration.
fn origins(node: &Node) -> Vec<Value> {
    let now = std::time::Instant::now();
    let server = |each: ServerStatus| {
        json!({
            "server": &*each.name,
            "in_flight": each.in_flight,
            "ejected": each.ejected,
            "down": each.down,
            "backup": each.backup,
            "latency_us": each.latency_micros,
            "requests_max": each.requests_max,
        })
    };
    let snapshot = node.snapshot();
    let groups = snapshot.groups.values();
    groups
        .map(|group| {
            let servers: Vec<Value> = group.servers(now).into_iter().map(server).collect();
            json!({"origin": &**group.name(), "servers": servers})
        })
        .collect()
}

fn connections(node: &Node) -> Value {
    json!({
        "accepted": sum(node, |worker| &worker.connections_accepted),
        "refused": sum(node, |worker| &worker.connections_refused),
        "flooded": sum(node, |worker| &worker.connections_flooded),
        "active": node.census.open(),
        "by_protocol": by_word(node, Protocol::WORDS, |worker| &worker.connections),
    })
}

fn quic(node: &Node) -> Value {
    let mut rtt = HistogramTotal::default();
    node.metrics.workers().iter().for_each(|worker| worker.quic.rtt.add_to(&mut rtt));
    let lanes = node.lanes.lock();
    let lanes = |of: fn(&Lanes) -> &AtomicU64| -> u64 { lanes.iter().map(|lanes| of(lanes).load(Relaxed)).sum() };
    json!({
        "retries": sum(node, |worker| &worker.quic.retries),
        "early_answered": sum(node, |worker| &worker.quic.early_answered),
        "early_waited": sum(node, |worker| &worker.quic.early_waited),
        "handshakes_refused": sum(node, |worker| &worker.quic.handshakes_refused),
        "priority_updates": sum(node, |worker| &worker.quic.priority_updates),
        "priorities_forgotten": sum(node, |worker| &worker.quic.priorities_forgotten),
        "migrations": sum(node, |worker| &worker.quic.migrations),
        "datagrams_sent": sum(node, |worker| &worker.quic.datagrams_sent),
        "sends": sum(node, |worker| &worker.quic.sends),
        "datagrams_received": sum(node, |worker| &worker.quic.datagrams_received),
        "packets_sent": sum(node, |worker| &worker.quic.packets_sent),
        "packets_lost": sum(node, |worker| &worker.quic.packets_lost),
        "ignored": lanes(|lanes| &lanes.ignored),
        "handed_over": lanes(|lanes| &lanes.handed_over),
        "dropped": lanes(|lanes| &lanes.dropped),
        "rtt": rtt,
    })
}

fn purges(node: &Node) -> Value {
    let stats = node.ledger.stats();
    let (waiting, waited, refused) = node.refills.usage();
    json!({
        "rules": stats.rules,
        "applied": stats.applied,
        "folded": stats.folded,
        "refills": {"waiting": waiting, "waited": waited, "refused": refused},
    })
}

fn certificates(node: &Node) -> Vec<Value> {
    let table = node.certificates.load();
    table.list.iter().map(|each| json!({"source": each.source, "not_after_s": each.not_after_s})).collect()
}
