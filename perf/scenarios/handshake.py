"""What a TLS 1.3 handshake costs: a new connection with one small hit, full and resumed, for both kinds of
certificate; over TCP, and in QUIC.
"""

from __future__ import annotations

from perf import certificate, http3_columns, open_load
from perf.bench import Bench
from perf.open_load import Arrivals
from perf.own_load import Door
from perf.peer import Peer
from perf.results import Measure
from perf.scenario import Scenario

ORDER = 70
PATH = "/hit/1k"
RATE = 400.0
KINDS = {"ec": "ECDSA P-256", "rsa": "RSA 2048"}


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    measures = []
    for kind, title in list(KINDS.items())[: 1 if bench.pace.quick else None]:
        cert, key = certificate.make(bench.folder, kind)
        peers = bench.start(needs=("tls", "store"), only=("headland", "nginx-tuned"), cert=str(cert), key=str(key))
        bench.warm(peers, PATH, "1k", door="tls")
        for resume in (False, True):
            word = "resumed" if resume else "full"
            measure = Measure(f"{kind}-{word}", f"{title}, {word} handshake and one hit", "us CPU/connection")
            measures.append(_rounds(bench, peers, measure, resume=resume))
        bench.stop(peers)
        if not bench.pace.quick:
            measures += _over_http3(bench, kind, title, (str(cert), str(key)))
    return measures


def _over_http3(bench: Bench, kind: str, title: str, certificate: tuple[str, str]) -> list[Measure]:
    peers = bench.start(needs=("h3",), only=http3_columns.PEERS, cert=certificate[0], key=certificate[1])
    bench.warm(peers, PATH, "1k", door="h3")
    measures = []
    for resume in (False, True):
        word = "resumed" if resume else "full"
        measure = Measure(f"{kind}-{word}-h3", f"{title}, HTTP/3, {word} handshake and one hit", "us CPU/connection")
        measures.append(_rounds(bench, peers, measure, resume=resume, door="h3"))
    bench.stop(peers)
    return measures


def _rounds(bench: Bench, peers: list[Peer], measure: Measure, *, resume: bool, door: Door = "tls") -> Measure:
    pace = bench.pace.in_short()
    what = Arrivals(PATH, 1024, RATE, pace.seconds, door, new_connections=True, warm_s=0.0, resume=resume)
    for number in range(pace.rounds):
        for peer in peers:
            before = peer.cost(memory=False)
            result = open_load.run(what, peer, bench.cores.load)
            cpu_s = peer.cost(memory=False).since(before).cpu_s
            report = result.report
            value = cpu_s / report["connections"] * 1e6
            measure.add(
                peer.name,
                value,
                resumed_share=report["resumed"] / report["connections"],
                per_cpu_second=1e6 / value,
                latency_us=report["first_byte"],
                curve=report["curve"],
            )
            bench.commands[f"{measure.key} {peer.name}"] = result.command
            bench.progress(
                f"  {measure.key:12} round {number + 1}/{pace.rounds}  {peer.name:22} {value:7.1f} us, "
                f"{report['resumed']} of {report['connections']} resumed"
            )
    return measure


SCENARIO = Scenario(
    "handshake",
    "TLS 1.3 handshakes",
    f"{RATE:g} new connections per second (X25519), each with one 1 KiB hit; server's CPU per connection.",
    (),
    run,
)
