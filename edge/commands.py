"""What each command of `headland` does; the words are in `edge.cli`, the statuses in `edge.exits`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from edge.cli import PURGE_KINDS
from edge.exits import Exit
from edge.problems import ConfigurationError
from edge.toml_lines import Path as KeyPath

__all__ = ["UsageError", "run"]

DEFAULT_LISTEN: Final = "127.0.0.1:8080"
DEFAULT_ADMIN: Final = "127.0.0.1:9090"


class UsageError(Exception):
    """Words of the command line that do not make sense; one sentence."""


def run(options: argparse.Namespace) -> Exit:
    """Run the chosen command; the answer is the exit status."""
    commands: dict[str, Callable[[argparse.Namespace], Exit]] = {
        "demo": _demo,
        "serve": _serve,
        "check": _check,
        "purge": _purge,
        "explain": _explain,
        "cache": _cache,
        "probe": _probe,
        "fleet": _fleet,
        "settings": _settings,
    }
    try:
        return commands[options.command](options)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIGURATION
    except UsageError as error:
        print(f"headland {options.command}: {error}", file=sys.stderr)
        return Exit.USAGE


def _demo(options: argparse.Namespace) -> Exit:
    from edge import demo  # noqa: PLC0415 - with it comes the whole node

    return Exit(demo.run(options.listen, _overrides(options)))


def _serve(options: argparse.Namespace) -> Exit:
    from edge import configuration  # noqa: PLC0415 - the models take a moment to load

    overrides = _overrides(options)
    if options.origin is not None:
        fixed = configuration.for_origin(options.origin, options.listen or DEFAULT_LISTEN, overrides)
        return _live(fixed, None)
    if options.listen is not None:
        overrides = {("listen", "http"): [options.listen], **overrides}

    def read() -> configuration.Configuration:
        return configuration.load(Path(options.config), overrides)

    return _live(read(), read)


def _live(configuration: Any, reload: Callable[[], Any] | None) -> Exit:
    from edge import lifecycle  # noqa: PLC0415 - with it comes the whole node

    return asyncio.run(lifecycle.serve(configuration, reload))


def _check(options: argparse.Namespace) -> Exit:
    from edge import configuration  # noqa: PLC0415 - the models take a moment to load

    loaded = configuration.load(Path(options.config), _overrides(options))
    configuration.compile_check(loaded)
    sites, rules = len(loaded.settings.site), sum(len(site.rule) for site in loaded.settings.site)
    print(f"{options.config}: ok, {_count(sites, 'site')}, {_count(rules, 'rule')} in it, "
          f"{_count(len(loaded.settings.origin), 'origin')}")  # fmt: skip
    return Exit.OK


def _purge(options: argparse.Namespace) -> Exit:
    from edge import purging  # noqa: PLC0415 - only this command needs it

    named = {kind: getattr(options, kind) for kind in PURGE_KINDS if getattr(options, kind)}
    kind, items = next(iter(named.items()), ("all", []))
    file = options.file
    if file is not None:
        kind = options.type
    elif kind == "url" and items == ["-"]:
        file = "-"
    order = purging.Order(
        kind=kind,
        items=items,
        file=file,
        soft=options.soft,
        partial=options.partial,
        dry_run=options.dry_run,
        wait_s=options.wait or 0.0,
        headers={name: value or None for name, value in _headers(options)} or None,
    )
    return purging.purge(_remote(options), order)


def _fleet(options: argparse.Namespace) -> Exit:
    from edge import fleet_demo  # noqa: PLC0415 - only this command needs it

    return fleet_demo.run(options.nodes)


def _explain(options: argparse.Namespace) -> Exit:
    from edge import remote  # noqa: PLC0415 - only this command needs it

    headers = _headers(options)
    return remote.explain(_remote(options), options.url, headers, method=options.method, as_json=options.json)


def _cache(options: argparse.Namespace) -> Exit:
    from edge import cache_command, configuration  # noqa: PLC0415 - the models take a moment to load

    loaded = None if options.config is None else configuration.load(Path(options.config), _overrides(options))
    if options.admin is None:
        options.admin = DEFAULT_ADMIN if loaded is None else loaded.settings.admin.listen
    question: dict[str, Any] = {"what": options.what}
    if options.what == "list":
        question |= {"host": options.host, "limit": options.limit}
    if options.what == "evict":
        question |= {
            "urls": options.urls,
            "hosts": options.host,
            "expired": options.expired,
            "all": options.all,
        }
        if not any((options.urls, options.host, options.expired, options.all)):
            raise UsageError("evict needs URLs, --host, --expired or --all")
    return cache_command.inspect(loaded, _remote(options), question, as_json=options.json)


def _headers(options: argparse.Namespace) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    for text in options.headers:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise UsageError(f'expected a header such as "Accept-Encoding: gzip", got "{text}"')
        headers.append((name.strip(), value.strip()))
    return headers


def _probe(options: argparse.Namespace) -> Exit:
    from edge import probe  # noqa: PLC0415 - only this command needs it

    headers = tuple(_headers(options))
    try:
        request = probe.Request(
            probe.parse(options.url),
            headers,
            http3=options.http3,
            verify=not options.insecure,
            ca=options.ca,
            timeout_s=options.timeout,
        )
        reading = probe.probe(request)
    except probe.ProbeError as error:
        print(f"headland probe: {error}", file=sys.stderr)
        return Exit.UNREACHABLE
    print(probe.json_text(reading) if options.json else probe.table(reading))
    return Exit.OK


def _settings(options: argparse.Namespace) -> Exit:
    from edge import settings_text  # noqa: PLC0415 - the models take a moment to load

    text = settings_text.markdown() if options.markdown else settings_text.plain(options.table)
    if not text:
        raise UsageError(f'there is no table "{options.table}"')
    print(text, end="")
    return Exit.OK


def _remote(options: argparse.Namespace) -> Any:
    from edge import remote  # noqa: PLC0415

    if options.token_file is None:
        return remote.Remote.from_environment(options.admin)
    try:
        return remote.Remote(options.admin, Path(options.token_file).read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{options.token_file} cannot be read as a token: {error}") from error


def _overrides(options: argparse.Namespace) -> Mapping[KeyPath, Any]:
    """Keys of the configuration that stand on the command line."""
    words: dict[KeyPath, Any] = {
        ("admin", "listen"): getattr(options, "admin", None),
        ("node", "workers"): getattr(options, "workers", None),
        ("log", "format"): getattr(options, "log", None),
    }
    given = {path: value for path, value in words.items() if value is not None}
    for text in options.keys:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f'expected KEY=VALUE, such as cache.memory=1GiB, got "{text}"')
        given[tuple(part.strip() for part in key.split("."))] = _toml_value(value)
    return given


def _toml_value(text: str) -> Any:
    """A value as in TOML; what is none is a text without its quotes, since shells make quotes tedious."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
