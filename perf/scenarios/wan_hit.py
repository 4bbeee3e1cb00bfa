"""Hits for a visitor who is far away, on a line of limited rate that loses packets: what a PoP's users have.

The node's part of it is small: kernels send, wait and send again. It is asked all the same, because what a node writes
and when (whole heads with their bodies, corked or not) decides how many round trips the first byte and the last one
take, and what is lost is waited for.
"""

from __future__ import annotations

from perf import open_load, wan
from perf.bench import Bench
from perf.open_load import Arrivals
from perf.own_load import Door
from perf.results import Measure
from perf.scenario import Scenario
from perf.wan import Link

ORDER = 61
LINK = Link(delay_ms=20.0, loss_percent=1.0, mbit=50.0)
SIZES = {"1k": ("1 KiB", 1024, 50.0), "100k": ("100 KiB", 100 * 1024, 10.0)}  # words, bytes, requests/s
SECONDS, QUICK_SECONDS = 6.0, 2.0
ROUNDS = 3


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    measures = []
    with wan.up(LINK, bench.folder, bench.cores.load) as link:
        peers = bench.start(needs=("store", "tls"), only=("headland", "nginx-tuned"), listen=link.near_address)
        for size, (words, count, rate) in SIZES.items():
            if bench.pace.quick and size != "1k":
                continue
            first = Measure(f"{size}-first", f"TTFB p95 of hits, {words} over TLS, a new connection each", "us")
            whole = Measure(f"{size}-whole", f"Last byte p95 of hits, {words} over TLS, a new connection each", "us")
            bench.warm(peers, f"/hit/{size}", size, door="tls")
            seconds = QUICK_SECONDS if bench.pace.quick else SECONDS
            door: Door = "tls"
            what = Arrivals(f"/hit/{size}", count, rate, seconds, door, new_connections=True)
            for number in range(1 if bench.pace.quick else ROUNDS):
                for peer in peers:
                    waits = open_load.run(what, peer, bench.cores.load, link.far)
                    bench.commands[f"{size} {peer.name}"] = waits.command
                    p95 = waits.first_byte_us("p95")
                    told = {"latency_us": waits.report["first_byte"], "curve": waits.report["curve"]}
                    first.add(peer.name, p95, waits.spoiled("p95"), **told)
                    whole.add(peer.name, waits.whole_us("p95"), waits.spoiled("p95"))
                    bench.progress(f"  {size:4} round {number + 1}  {peer.name:22} p95 {p95 / 1000:6.1f} ms")
            measures += [first, whole]
        bench.stop(peers)
    return measures


SCENARIO = Scenario(
    "wan-hit",
    "Hits, visitor 40 ms away",
    f"{LINK.delay_ms:g} ms each way, {LINK.loss_percent:g} % loss, {LINK.mbit:g} Mbit/s; TLS, open loop.",
    (),
    run,
)
