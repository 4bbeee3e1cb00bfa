"""Twenty reloads of the configuration under load: nobody should notice."""

from __future__ import annotations

import os
import signal
import threading

from perf import open_load
from perf.bench import Bench
from perf.errors import WrongAnswerError
from perf.open_load import Arrivals, Waits
from perf.peer import Peer
from perf.process import Process
from perf.results import Measure
from perf.scenario import Scenario

ORDER = 85
PATH = "/hit/1k"
RATE = 2_000.0
RELOADS = 20
EVERY_S = 0.4


def run(bench: Bench) -> list[Measure]:
    open_load.generator()
    reloads = RELOADS // 5 if bench.pace.quick else RELOADS
    waits = Measure("p99", f"TTFB p99 while reloading {reloads} times, {RATE:,.0f}/s", "us")
    retried = Measure("retried", "Requests that found their kept connection closed", "per 1,000")
    for peer in bench.start(needs=("store",), only=("headland", "nginx-tuned")):
        if peer.process is None:
            continue
        bench.warm([peer], PATH, "1k")
        result = _under_reloads(bench, peer, peer.process, reloads)
        report = result.report
        waits.add(peer.name, result.first_byte_us("p99"), latency_us=report["first_byte"], curve=report["curve"])
        retried.add(peer.name, report["retried"] / report["answered"] * 1000)
        bench.commands[f"reload {peer.name}"] = result.command
        bench.progress(f"  {peer.name:22} p99 {result.first_byte_us('p99'):9.0f} us, {report['retried']} asked again")
        bench.check(peer, PATH, "1k", verdict="hit")
        bench.stop([peer])
    retried.notes.append(
        "a browser repeats such a request by itself; it costs a connection. Failed requests fail the scenario"
    )
    return [waits, retried]


def _under_reloads(bench: Bench, peer: Peer, process: Process, reloads: int) -> Waits:
    ended = threading.Event()

    def reload() -> None:
        for _ in range(reloads):
            if ended.wait(EVERY_S):
                return
            os.kill(process.pid, signal.SIGHUP)

    thread = threading.Thread(target=reload)
    thread.start()
    try:
        what = Arrivals(PATH, 1024, RATE, EVERY_S * (reloads + 1), connections=64, warm_s=0.0)
        return open_load.run(what, peer, bench.cores.load)
    except WrongAnswerError as error:
        raise WrongAnswerError(f"under reloads: {error}") from error
    finally:
        ended.set()
        thread.join()


SCENARIO = Scenario(
    "reload",
    "Reloads under load",
    f"SIGHUP every {EVERY_S:g} s during an open loop over 64 kept connections; no request may fail.",
    (),
    run,
)
