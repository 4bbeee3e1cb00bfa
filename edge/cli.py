"""The command `headland`: what can be asked of it, and with which words.

Only the parser lives here, so that `--help` and `--version` answer at once; `edge.commands`, which is imported when one
of them runs, does what they say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from edge.exits import Exit

__all__ = ["PURGE_KINDS", "main", "parser"]

PURGE_KINDS: Final = {
    "url": ("URL", "URLs"),
    "path": ("URL", "this path with every query"),
    "tag": ("TAG", "all with this surrogate key"),
    "prefix": ("PREFIX", "all that begins with this URL"),
    "wildcard": ("PATTERN", "all that fits, such as 'www.example.com/img/*.png'"),
    "regex": ("PATTERN", "all in whose path this is found, such as 'www.example.com~^/[0-9]+/'"),
    "host": ("HOST", "all of this host"),
    "site": ("SITE", "all hosts of the site that has this one"),
}
"""What can be purged besides everything: the word of the item, and what is meant."""
WAIT_S: Final = 10.0
"""Seconds that `--wait` waits when it says nothing."""

_INTRODUCTION: Final = """\
Headland is an HTTP cache that stands before your servers: it answers from memory what it may, asks
your servers for the rest over few, reused connections, and forgets what you purge at once.
"""

_EXAMPLES: Final = """\
examples:
  headland demo                                   a small site with a node before it; nothing to configure
  headland serve --origin http://127.0.0.1:9000   the same before a server of your own, on 127.0.0.1:8080
  headland check --config edge.toml               every mistake in a configuration, with its line
  headland serve --config edge.toml               what runs in production; SIGHUP reloads, SIGTERM drains
  headland explain https://www.example.com/a      would it be answered from the cache, and why (not)
  headland purge https://www.example.com/a        forget one URL
  headland probe https://www.example.com/a --http3   how long each step of a request takes
  headland fleet demo                             three nodes that share their purges
  headland settings                               every key of a configuration, with default and range
"""

_PURGE_EXAMPLES: Final = """\
examples:
  HEADLAND_TOKEN=... headland purge https://www.example.com/a https://www.example.com/b
  HEADLAND_TOKEN=... headland purge --prefix https://www.example.com/news/ --soft
  HEADLAND_TOKEN=... headland purge --tag article-17 --admin 10.0.0.5:9090 --wait
  HEADLAND_TOKEN=... headland purge --file urls.txt --partial
  HEADLAND_TOKEN=... headland purge https://www.example.com/a -H 'Accept-Language: de'
  HEADLAND_TOKEN=... headland purge --wildcard 'www.example.com/img/*.png' --dry-run

Soft makes stale: the object is still served within its grace while it is fetched anew, or when the origin fails.
"""

_EXPLAIN_EXAMPLES: Final = """\
examples:
  headland explain https://www.example.com/a
  headland explain https://www.example.com/a -H 'Accept-Encoding: gzip' -H 'Cookie: sid=1'
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the exit status."""
    options = parser().parse_args(arguments)
    if options.command is None:
        parser().print_help()
        return Exit.USAGE
    from edge import commands  # noqa: PLC0415 - keeps --help fast

    try:
        return int(commands.run(options))
    except KeyboardInterrupt:
        return 130  # as shells report SIGINT
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone, and python would complain about it at exit
        return Exit.OK


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="headland",
        description=_INTRODUCTION,
        epilog=f"{_EXAMPLES}\n{_statuses()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action=_Version, help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _demo(commands)
    _serve(commands)
    _check(commands)
    _purge(commands)
    _explain(commands)
    _cache(commands)
    _probe(commands)
    _fleet(commands)
    _settings(commands)
    return top


_Commands = argparse._SubParsersAction  # noqa: SLF001 - the only name that argparse has for it


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002 - argparse's word
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object) -> None:
        try:
            version = metadata.version("headland")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        print(f"headland {version}")
        parser.exit(Exit.OK)


def _statuses() -> str:
    rows = "\n".join(f"  {status.value}  {status.meaning}" for status in Exit)
    return f"exit status:\n{rows}"


def _command(
    commands: _Commands[argparse.ArgumentParser], name: str, summary: str, description: str = "", epilog: str = ""
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _demo(commands: _Commands[argparse.ArgumentParser]) -> None:
    demo = _command(commands, "demo", "serve a small site through a node, with things to try")
    demo.add_argument("--listen", metavar="ADDR", default="127.0.0.1:8080", help="for clients (default: %(default)s)")
    _node_options(demo)


def _serve(commands: _Commands[argparse.ArgumentParser]) -> None:
    serve = _command(commands, "serve", "run a node before an origin, or by a configuration file")
    source = serve.add_mutually_exclusive_group(required=True)
    source.add_argument("--origin", metavar="URL", help="one server for every host, such as http://127.0.0.1:9000")
    source.add_argument("--config", metavar="FILE", help="a TOML file; see headland settings")
    serve.add_argument(
        "--listen", metavar="ADDR", help="for clients, clear text (default with --origin: 127.0.0.1:8080)"
    )
    _node_options(serve)


def _node_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--admin", metavar="ADDR", help='for purges, metrics, health; "off" for none')
    command.add_argument("--workers", metavar="N", type=int, help="threads that serve (default: one per core)")
    command.add_argument("--log", choices=["json", "combined", "off"], help="the access log, on standard output")
    _set_option(command)


def _set_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="keys",
        help="any key of a configuration, such as cache.memory=1GiB; may be given several times",
    )


def _check(commands: _Commands[argparse.ArgumentParser]) -> None:
    check = _command(commands, "check", "report every mistake in a configuration, and start nothing")
    check.add_argument("--config", metavar="FILE", required=True, help="a TOML file")
    _set_option(check)


def _admin_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--admin", metavar="ADDR", default="127.0.0.1:9090", help="the node's admin address (default: %(default)s)"
    )
    command.add_argument(
        "--token-file", metavar="FILE", help="a file with the token; otherwise the environment's HEADLAND_TOKEN"
    )


def _purge(commands: _Commands[argparse.ArgumentParser]) -> None:
    purge = _command(
        commands, "purge", "make a node forget URLs, or all that shares a tag, prefix, pattern, host or site"
    )
    purge.epilog = _PURGE_EXAMPLES
    what = purge.add_mutually_exclusive_group(required=True)
    what.add_argument("url", nargs="*", metavar="URL", default=[], help='URLs; "-" reads them from standard input')
    for kind, (metavar, sentence) in PURGE_KINDS.items():
        if kind != "url":
            what.add_argument(f"--{kind}", action="append", metavar=metavar, help=sentence)
    what.add_argument("--all", action="store_true", help="everything")
    what.add_argument("--file", metavar="FILE", help='one item per line, of the kind --type; "-" is standard input')
    purge.add_argument("--type", choices=list(PURGE_KINDS), default="url", help="of the items in --file (default: url)")
    purge.add_argument(
        "-H",
        "--header",
        action="append",
        metavar="'Name: value'",
        dest="headers",
        default=[],
        help="of URLs, only the variant that a request with these headers would get; 'Name:' for one without",
    )
    purge.add_argument("--soft", action="store_true", help="make stale instead of gone")
    purge.add_argument(
        "--partial", action="store_true", help="leave bad items out instead of refusing all of a request"
    )
    purge.add_argument("--dry-run", action="store_true", help="count what would go, and purge nothing")
    purge.add_argument(
        "--wait",
        metavar="SECONDS",
        type=float,
        nargs="?",
        const=WAIT_S,
        help="wait until all live nodes of the fleet have applied it (default when given: %(const)s)",
    )
    _admin_options(purge)


def _fleet(commands: _Commands[argparse.ArgumentParser]) -> None:
    fleet = _command(commands, "fleet", "nodes that share their purges")
    what = fleet.add_subparsers(dest="fleet_command", metavar="COMMAND", required=True)
    demo = what.add_parser("demo", help="run a NATS server and several nodes on this machine, with things to try")
    demo.add_argument("--nodes", type=int, choices=range(2, 10), default=3, help="how many (default: %(default)s)")


def _explain(commands: _Commands[argparse.ArgumentParser]) -> None:
    explain = _command(commands, "explain", "tell what a node would do with a request, and why")
    explain.epilog = _EXPLAIN_EXAMPLES
    explain.add_argument("url", metavar="URL", help="an absolute URL")
    explain.add_argument(
        "-H", "--header", action="append", metavar="'Name: value'", dest="headers", default=[], help="of the request"
    )
    explain.add_argument("-X", "--method", default="GET", help="of the request (default: %(default)s)")
    explain.add_argument("--json", action="store_true", help="print the node's document as it is")
    _admin_options(explain)


def _cache(commands: _Commands[argparse.ArgumentParser]) -> None:
    cache = _command(commands, "cache", "look at what is on disk, of a running node or of its files")
    what = cache.add_subparsers(dest="what", metavar="COMMAND", required=True)
    sentences = {
        "stat": "how full the disks are: with what ages and sizes, of which sites",
        "verify": "read every record, and count and drop what is bad",
        "list": "tell what is stored",
        "evict": "drop what is stored",
    }
    parsers = {word: what.add_parser(word, help=sentence, description=sentence) for word, sentence in sentences.items()}
    parsers["list"].add_argument("--host", metavar="HOST", help="only of this host")
    parsers["list"].add_argument("--limit", metavar="N", type=int, default=100, help="(default: %(default)s)")
    evict = parsers["evict"]
    evict.add_argument("urls", nargs="*", metavar="URL", default=[], help="all variants of these")
    evict.add_argument("--host", metavar="HOST", action="append", default=[], help="all of this host")
    evict.add_argument("--expired", action="store_true", help="all that is stale")
    evict.add_argument("--all", action="store_true", help="everything")
    for parser in parsers.values():
        parser.add_argument(
            "--config", metavar="FILE", help="of the node; its files are looked at when it does not run"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document")
        _set_option(parser)
        parser.add_argument(
            "--admin", metavar="ADDR", help="of a running node (default: as configured, or 127.0.0.1:9090)"
        )
        parser.add_argument(
            "--token-file", metavar="FILE", help="a file with the token; otherwise the environment's HEADLAND_TOKEN"
        )


def _probe(commands: _Commands[argparse.ArgumentParser]) -> None:
    probe = _command(commands, "probe", "ask any server once, and tell how long each step took")
    probe.add_argument("url", metavar="URL", help="an http or https URL")
    probe.add_argument("--http3", action="store_true", help="over HTTP/3 instead of HTTP/1.1")
    probe.add_argument(
        "-H", "--header", action="append", metavar="'Name: value'", dest="headers", default=[], help="of the request"
    )
    probe.add_argument("--ca", metavar="FILE", type=Path, help="authorities that are trusted, instead of the system's")
    probe.add_argument("--insecure", action="store_true", help="take any certificate")
    probe.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="per step (default: %(default)g)")
    probe.add_argument("--json", action="store_true", help="one JSON document")


def _settings(commands: _Commands[argparse.ArgumentParser]) -> None:
    settings = _command(commands, "settings", "print every key of a configuration with type, default and range")
    settings.add_argument("table", nargs="?", metavar="TABLE", help="only this table, such as cache or site.rule")
    settings.add_argument("--markdown", action="store_true", help="as docs/settings.md has it")
