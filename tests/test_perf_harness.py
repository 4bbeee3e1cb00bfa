"""The perf suite's harness measures what is known beforehand, and refuses what is wrong. No speed is asserted.

`perf.known` is a server with a known delay, a known cost and known faults; it stands where a peer would stand.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # perf is no part of the wheel

from perf import accounting, drain, flame, load, page, plot, profile, report, runner, scenario, stats, template, wan  # noqa: E402
from perf.bench import Bench, Pace  # noqa: E402
from perf.errors import NotAvailableError, WrongAnswerError  # noqa: E402
from perf.load import Load  # noqa: E402
from perf.machine import plan_cores  # noqa: E402
from perf.profile import Profile  # noqa: E402
from perf.progress import Progress  # noqa: E402
from perf.results import Bar, Measure, Outcome, judge  # noqa: E402

NEEDED = [name for name in ("nginx", "wrk", "taskset", "openssl") if not shutil.which(name)]
needs_tools = pytest.mark.skipif(bool(NEEDED), reason=f"not installed: {', '.join(NEEDED)}")
CORES = plan_cores()
ONE_ROUND = Pace(rounds=1, seconds=1.0, quick=True)


def known(name: str, *flags: str) -> Profile:
    return Profile(
        name=name,
        title=name,
        about="a server of known behaviour",
        needs=(),
        version=(),
        start=("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "perf.known", "@http@", *flags),
        capabilities=frozenset({"h1", "store"}),
        files={},
        values={},
        variants={},
        verdict_header="x-cache",
        hit=re.compile("^HIT$"),
        miss=re.compile("^MISS$"),
    )


@pytest.fixture
def bench_of(tmp_path):
    made = []

    def make(*profiles: Profile, pace: Pace = ONE_ROUND) -> Bench:
        folder = tmp_path / "bench"
        folder.mkdir()
        bench = Bench(
            folder, {each.name: each for each in profiles}, tuple(each.name for each in profiles), CORES, pace
        )
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.close()


# --- arithmetic ---------------------------------------------------------------------------------------------------


def test_a_ratio_is_formed_within_a_round_so_that_a_slow_machine_cancels_out():
    reference, slow_phase = [10.0, 10.0, 30.0, 30.0, 10.0], [1, 1, 3, 3, 1]
    subject = [6.0 * factor for factor in slow_phase]
    assert stats.spread(stats.paired_ratios(subject, reference)).median == pytest.approx(0.6)
    with pytest.raises(ValueError, match="unpaired"):
        stats.paired_ratios([1.0], reference)


def test_the_spread_of_few_rounds_is_their_extremes_and_of_more_their_quartiles():
    assert stats.spread([3.0, 1.0, 2.0]) == stats.Spread(2.0, 1.0, 3.0, 3)
    assert stats.spread([1.0, 2.0, 3.0, 4.0, 100.0]) == stats.Spread(3.0, 2.0, 4.0, 5)


def test_the_reference_counts_at_its_best_variant():
    measure = Measure("h1", "cost", "us")
    for subject, corked, uncorked in ((5.0, 20.0, 10.0), (5.0, 22.0, 10.0)):
        measure.add("headland", subject)
        measure.add("nginx-tuned", corked)
        measure.add("nginx-tuned/uncorked", uncorked)
    verdict = judge(Bar("h1", 0.75, goal=0.4), measure, "headland", "nginx-tuned")
    assert (verdict.reference, verdict.reached, verdict.reached_goal) == ("nginx-tuned/uncorked", True, False)
    assert verdict.value is not None
    assert verdict.value.median == pytest.approx(0.5)


def test_a_side_that_was_not_measured_passes_no_verdict():
    measure = Measure("h1", "cost", "us")
    measure.add("nginx-tuned", 10.0)
    verdict = judge(Bar("h1", 0.75), measure, "headland", "nginx-tuned")
    assert (verdict.value, verdict.reached) == (None, None)


def test_a_bar_may_be_held_against_a_peer_of_its_own():
    measure = Measure("h3", "cost", "us")
    for name, value in (("headland", 8.0), ("nginx-tuned", 1.0), ("nginx-http3", 10.0), ("nginx-http3/plain", 16.0)):
        measure.add(name, value)
    verdict = judge(Bar("h3", 0.9, reference="nginx-http3"), measure, "headland", "nginx-tuned")
    assert (verdict.reference, verdict.reached) == ("nginx-http3", True)


def test_rounds_in_which_the_generator_was_late_are_not_counted_and_too_many_make_the_verdict_invalid():
    measure = Measure("80", "wait", "us")
    for number, mine in enumerate((5.0, 500.0, 5.0)):
        measure.add("headland", mine, "the generator was 90 us late itself" if number == 1 else "")
        measure.add("nginx-tuned", 10.0)
    verdict = judge(Bar("80", 0.7), measure, "headland", "nginx-tuned")
    assert verdict.value == stats.Spread(0.5, 0.5, 0.5, 2)
    measure.add("headland", 5.0)
    measure.add("nginx-tuned", 10.0, "the generator was 70 us late itself")
    verdict = judge(Bar("80", 0.7), measure, "headland", "nginx-tuned")
    assert (verdict.value, verdict.reached) == (None, None)
    assert "2 of 4 rounds" in verdict.invalid
    assert "INVALID" in page.verdict_words(dataclasses.asdict(verdict))


def test_what_was_spoiled_is_named_on_the_page_and_never_drawn():
    measure = Measure("80", "wait", "us")
    measure.add("headland", 777.0, "the generator was 90 us late itself")
    measure.add("nginx-tuned", 10.0)
    cost = Measure("cost", "cost against load", "us", lines={"headland": [(10.0, 4.0), (80.0, 5.0)]})
    outcome = Outcome(
        "x", "x", "", measures=[measure, cost], verdicts=[judge(Bar("80", 1.0), measure, "headland", "n")]
    )
    data = report.assemble([outcome], profiles={}, peers=(), cores=CORES, pace=ONE_ROUND, arguments=[])
    shown = page.render(orjson.loads(orjson.dumps(data)))
    assert "headland: invalid: 1 of 1 rounds, the generator was 90 us late itself" in shown
    assert "777" not in shown
    assert "against requests per second" in shown
    assert "wait (us): headland invalid, nginx-tuned 10" in report.table(data)


def test_a_place_without_a_value_is_named():
    assert template.fill("listen @http@; $host {x}", {"http": "80"}) == "listen 80; $host {x}"
    with pytest.raises(KeyError, match="admin"):
        template.fill("@admin@", {})


# --- accounting ---------------------------------------------------------------------------------------------------


def test_the_accounting_sees_a_child_of_a_child_that_computes_and_one_that_has_ended():
    burn = "import time\nwhile time.process_time() < {s}: pass\n"
    wait = "print(1, flush=True)\nimport signal\nsignal.pause()"
    code = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn.format(s=0.15)!r}])\n"
        f"child = subprocess.Popen([sys.executable, '-c', {burn.format(s=0.25) + wait!r}])\n"
        "child.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"
        cost = accounting.cost(parent.pid)
        os.killpg(parent.pid, signal.SIGKILL)
    assert 0.36 <= cost.cpu_s <= 1.5
    assert cost.processes == 2
    assert cost.rss_bytes > cost.pss_bytes > 1_000_000
    assert cost.rss_peak_bytes >= cost.rss_bytes
    assert accounting.cost(parent.pid).processes == 0


WAITER = """
import signal
print("ready", flush=True)
signal.sigtimedwait([], 0.2)
print("waited", flush=True)
signal.pause()
"""


def test_a_process_that_waits_costs_nothing():
    with subprocess.Popen([sys.executable, "-c", WAITER], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        before = accounting.cost(child.pid)
        child.stdout.readline()
        assert accounting.cost(child.pid).since(before).cpu_s <= 0.02
        child.kill()


def test_cores_are_never_shared_when_there_are_two():
    assert plan_cores((4, 5)).server == (5,)
    assert plan_cores((4, 5)).load == plan_cores((4, 5)).origin == (4,)
    assert not plan_cores((0, 1, 2, 3)).shared
    assert plan_cores((7,)).shared


# --- measuring ----------------------------------------------------------------------------------------------------


@needs_tools
def test_a_peer_that_stands_aside_is_started_only_where_it_is_named(bench_of):
    bench = bench_of(known("plain"), dataclasses.replace(known("aside"), aside=True))
    assert [peer.name for peer in bench.start()] == ["plain"]
    assert [peer.name for peer in bench.start(only=("aside",))] == ["aside"]


@needs_tools
def test_a_known_delay_is_measured_as_such(bench_of):
    bench = bench_of(known("slow", "--delay-ms", "50"))
    (peer,) = bench.start()
    run = load.run(Load("/hit/1k", 1024, connections=8), peer, 1.0, CORES.load)
    waited_ms = 8 / (run.requests / run.wall_s) * 1000  # Little's law: eight are always under way
    assert 50 <= waited_ms <= 100
    assert run.load_busy < 0.5


@needs_tools
def test_a_peer_that_computes_more_is_reported_as_dearer_by_as_much(bench_of):
    bench = bench_of(known("plain"), known("burning", "--burn-us", "2000"))
    peers = bench.start()
    measure = bench.cpu_per_request(Measure("h1", "cost", "us"), peers, Load("/hit/1k", 1024))
    (plain,), (burning,) = measure.values["plain"], measure.values["burning"]
    assert burning - plain == pytest.approx(2000, rel=0.25)
    verdict = judge(Bar("h1", 1.0), measure, "burning", "plain")
    assert verdict.reached is False


@needs_tools
@pytest.mark.parametrize(
    ("flag", "words"), [("--wrong", "bytes are not the 1024"), ("--short", "1023 bytes are not the 1024")]
)
def test_a_wrong_answer_fails_the_scenario(tmp_path, flag, words):
    liar = known("liar", flag)

    def run(bench: Bench) -> list[Measure]:
        bench.warm(bench.start(), "/hit/1k", "1k")
        return []

    lie = scenario.Scenario("lie", "A lie", "", (), run)
    outcome = runner.run_one(lie, Bench(tmp_path / "lie", {"liar": liar}, ("liar",), CORES, ONE_ROUND), "liar", "liar")
    assert outcome.state == "failed"
    assert words in outcome.reason
    assert not (tmp_path / "lie").exists()


@needs_tools
def test_a_wrong_cache_verdict_and_a_short_body_under_load_are_refused(bench_of):
    bench = bench_of(known("short", "--short"), known("plain"))
    short, plain = bench.start()
    with pytest.raises(WrongAnswerError, match="1023 bytes of body"):
        load.run(Load("/hit/1k", 1024, connections=2), short, 1.0, CORES.load)
    with pytest.raises(WrongAnswerError, match="expected a miss"):
        bench.check(plain, "/hit/1k", "1k", verdict="miss")


@needs_tools
def test_a_run_during_which_the_clock_was_set_is_made_again_and_what_is_late_in_truth_is_refused(bench_of, monkeypatch):
    bench = bench_of(known("plain"))
    peers, measured, took_s = bench.start(), load._measured, [load.TIMEOUT_S - 1.0, load.TIMEOUT_S + 1.0]

    def late(command: list[str], seconds: float) -> tuple[str, float, float]:
        output, wall_s, cpu_s = measured(command, seconds)
        if took_s:
            output, wall_s = output.replace('"timeout":0', '"timeout":30'), took_s.pop(0)
        return output, wall_s, cpu_s

    monkeypatch.setattr(load, "_measured", late)
    with pytest.raises(WrongAnswerError, match="'timeout': 30"):  # the first is made again, the second is refused
        bench.cpu_per_request(Measure("h1", "cost", "us"), peers, Load("/hit/1k", 1024))
    assert not took_s
    measure = bench.cpu_per_request(Measure("h1", "cost", "us"), peers, Load("/hit/1k", 1024))
    assert len(measure.values["plain"]) == 1


@needs_tools
def test_a_long_answer_is_drained_to_its_last_byte_and_hashed(bench_of):
    bench = bench_of(known("plain"))
    expected = bench.origin.make_large(3 * 1024 * 1024 + 7)
    told = drain.drain("127.0.0.1", bench.origin.http, f"/nocache/large/{3 * 1024 * 1024 + 7}")
    assert (told["status"], told["bytes"], told["xxh3"]) == (200, 3 * 1024 * 1024 + 7, expected)


@needs_tools
def test_a_peer_that_does_not_start_is_left_out_with_its_words(bench_of):
    bench = bench_of(known("plain"), known("broken", "--no-such-flag"))
    assert [peer.name for peer in bench.start()] == ["plain"]
    assert "unrecognized arguments" in bench.absent["broken"]


@needs_tools
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_a_link_has_the_round_trip_that_it_was_given(tmp_path):
    home = Path("/proc/self/ns/net").readlink()
    waited = []
    try:
        with wan.up(wan.Link(delay_ms=20.0), tmp_path, CORES.load) as link:
            for _ in range(3):
                start = time.monotonic()
                with pytest.raises(ConnectionRefusedError), socket.create_connection((link.address, 9)):
                    pass  # a refusal is one round trip
                waited.append(time.monotonic() - start)
    except NotAvailableError as error:
        pytest.skip(str(error))
    assert Path("/proc/self/ns/net").readlink() == home
    assert 0.040 <= min(waited) < 0.060


# --- the whole ----------------------------------------------------------------------------------------------------


@needs_tools
def test_a_scenario_runs_from_the_command_line_to_a_page_without_network(tmp_path):
    command = [sys.executable, "-m", "perf", "--only", "proxy", "--quick", "--rounds", "1", "--peers", "nginx-tuned"]
    done = subprocess.run([*command, "--report", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = orjson.loads((tmp_path / "report.json").read_bytes())
    (found,) = data["scenarios"]
    assert found["state"] == "measured", found["reason"]
    assert found["verdicts"][0]["value"] is None  # the node was not asked for
    assert "not measured" in report.table(data)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert not re.search(r"(src|href)=|url\(", page)


def test_every_scenario_names_bars_and_every_profile_loads():
    scenarios, profiles = scenario.load_all(), profile.load_all()
    wanted = {"hit-1k", "proxy", "miss-stored", "rss-100k", "pool", "hit-sizes", "hit-ttfb", "wan-miss", "herd", "idle"}
    assert wanted <= set(scenarios)
    assert {"headland", "nginx-tuned", "nginx-stock", "direct"} <= set(profiles)
    text = runner.listing(scenarios, profiles)
    assert all(name in text for name in (*scenarios, *profiles))


def test_a_flame_graph_has_a_box_for_each_function_as_wide_as_its_share():
    stacks = [["server", "main", "read"]] * 3 + [["server", "main", "write_[k]"]]
    root = flame.tree(iter(stacks))
    assert (root.samples, root.callees["server"].callees["main"].callees["read"].samples) == (4, 3)
    picture = flame.svg(root, "a < b")
    assert picture.count("<rect") == 4
    assert "read (75.0%)" in picture
    assert "write_[k] (25.0%)" in picture
    assert "a &lt; b: 4 samples" in picture


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_for_terminals_and_the_lines_are_for_all():
    for stream in (io.StringIO(), Terminal()):
        with Progress(4, stream) as progress:
            progress.scenario(3, "mix", "A PoP in small")
            progress.line("  a reading")
            assert progress.bar().startswith("█" * 12 + "░" * 12 + " 3/4 mix ")
        shown = stream.getvalue()
        assert "[3/4] mix: A PoP in small\n" in shown
        assert "  a reading\n" in shown
        assert ("░" in shown) == stream.isatty()
        assert shown.endswith("\x1b[2K" if stream.isatty() else "\n")


def test_plots_are_drawn_for_values_of_any_size():
    for values in ([0.0], [1e-3, 2e-3], [5.0, 7.0], [1e6, 2e6]):
        assert plot.strip({"a & b": values}, "us").endswith("</svg>")
    assert "bad" in plot.gauge(0.9, 0.8, 1.0, 0.75)
    assert plot.curves({"a": [(1.0, 100.0), (0.01, 5000.0)]}, "us").count("polyline") == 1
