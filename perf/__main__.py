"""`python -m perf`: run the scenarios, print the verdicts, write report.json and report.html beside this file."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from perf import profile, report, runner, scenario
from perf.bench import Pace
from perf.machine import plan_cores

HERE = Path(__file__).parent
FULL = Pace(rounds=5, seconds=1.6, quick=False)
QUICK = Pace(rounds=2, seconds=1.0, quick=True)
PEERS = "headland,nginx-tuned,nginx-http3,nginx-stock,floor,direct"
QUICK_PEERS = "headland,nginx-tuned,direct"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m perf", description="The node beside NGINX, in one run, as ratios.")
    parser.add_argument("--list", action="store_true", help="name scenarios and peers, run nothing")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this scenario only (may be repeated)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: within three minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per measure (default: 5, quick 2)")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of one run (default: 1.6, quick 1)")
    parser.add_argument("--peers", metavar="A,B", help=f"default: {PEERS}; quick: {QUICK_PEERS}")
    parser.add_argument("--subject", default="headland", help="the peer that the bars are for (default: %(default)s)")
    parser.add_argument("--reference", default="nginx-tuned", help="the peer it is held against (default: %(default)s)")
    parser.add_argument("--report", type=Path, default=HERE, metavar="DIR", help="where report.json and report.html go")
    parser.add_argument("--flame", action="store_true", help="flame graphs of the CPU scenarios beside the report")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="where caches and bodies go (default: the system's tmp)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when everything asked for was measured, 1 when a scenario failed, 2 for a wrong argument."""
    options = parse(arguments)
    scenarios, profiles = scenario.load_all(), profile.load_all()
    if options.list:
        print(runner.listing(scenarios, profiles))
        return 0
    asked = options.peers or (QUICK_PEERS if options.quick else PEERS)
    peers = tuple(name for name in asked.split(",") if name)
    unknown = [name for name in options.only if name not in scenarios] + [
        name for name in peers if name not in profiles
    ]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; --list names what there is", file=sys.stderr)
        return 2
    base = QUICK if options.quick else FULL
    flame = options.report if options.flame else None
    pace = Pace(options.rounds or base.rounds, options.seconds or base.seconds, options.quick, flame)
    chosen = [scenarios[name] for name in options.only] or [each for each in scenarios.values() if not each.by_name]
    cores = plan_cores()
    with tempfile.TemporaryDirectory(prefix="headland-perf-", dir=options.work) as folder:
        outcomes = runner.run_all(
            chosen,
            folder=Path(folder),
            profiles=profiles,
            peers=peers,
            cores=cores,
            pace=pace,
            subject=options.subject,
            reference=options.reference,
        )
    data = report.assemble(
        outcomes,
        profiles=profiles,
        peers=peers,
        cores=cores,
        pace=pace,
        arguments=sys.argv[1:] if arguments is None else arguments,
    )
    report.write(data, options.report)
    print(report.table(data))
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
