"""What one key alone cannot tell: whether the parts of a configuration fit together."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from cache.settings import DiskSettings
from edge.peers import GROUP
from edge.problems import Problem
from edge.settings import AdminSettings, Settings
from edge.toml_lines import Path

__all__ = ["cross_check"]


def cross_check(settings: Settings, policy_origins: dict[int, set[str]]) -> list[Problem]:
    """Every contradiction; `policy_origins` are the origins that policy files name, by site."""
    checks = (_sites, _hosts, _listeners, _admin, _sizes, _peers)
    return [
        *(problem for check in checks for problem in check(settings)),
        *_policy_origins(settings, policy_origins),
    ]


def _sites(settings: Settings) -> Iterator[Problem]:
    if not settings.site:
        yield Problem(("site",), "there is no site: add a table [[site]] with hosts and origin")
    for index, site in enumerate(settings.site):
        yield from _origin(settings, ("site", index, "origin"), site.origin)
        if site.disk is not None and settings.cache.disk is None:
            yield Problem(("site", index, "disk"), "there is no disk: add a table [cache.disk] with path and size")
        for at, rule in enumerate(site.rule):
            if rule.origin is not None:
                yield from _origin(settings, ("site", index, "rule", at, "origin"), rule.origin)


def _policy_origins(settings: Settings, origins: dict[int, set[str]]) -> Iterator[Problem]:
    for index, names in origins.items():
        for name in sorted(names):
            yield from _origin(settings, ("site", index, "policy"), name)


def _origin(settings: Settings, path: Path, name: str) -> Iterator[Problem]:
    if name not in settings.origin:
        known = ", ".join(sorted(settings.origin)) or "none"
        yield Problem(path, f"there is no [origin.{name}]; known are: {known}")


def _hosts(settings: Settings) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, site in enumerate(settings.site):
        for at, host in enumerate(site.hosts):
            if host in first:
                yield Problem(("site", index, "hosts", at), f'"{host}" is already a host of site[{first[host]}]')
            first.setdefault(host, index)


def _listeners(settings: Settings) -> Iterator[Problem]:
    if not settings.listen.http and not settings.listen.https:
        yield Problem(("listen",), 'nothing to listen on: give http or https, such as http = ["0.0.0.0:8080"]')
    if settings.listen.https and not settings.tls:
        yield Problem(("listen", "https"), "https needs a certificate: add a table [[tls]] with cert and key")
    seen: dict[str, str] = {}
    for kind, addresses in (("http", settings.listen.http), ("https", settings.listen.https)):
        for at, address in enumerate(addresses):
            if address in seen and not address.endswith(":0"):
                yield Problem(("listen", kind, at), f'"{address}" is already in {seen[address]}')
            seen.setdefault(address, f"listen.{kind}")
    if settings.admin.listen in seen and not settings.admin.listen.endswith(":0"):
        yield Problem(("admin", "listen"), f'"{settings.admin.listen}" is already in {seen[settings.admin.listen]}')


def _admin(settings: Settings) -> Iterator[Problem]:
    admin = settings.admin
    # Metrics and explain tell what a node serves and to whom: not for everybody who reaches the address.
    if admin.listen != "off" and not admin.tokens and not _is_local(admin):
        yield Problem(("admin", "listen"), f'"{admin.listen}" can be reached from other machines: give admin.tokens')
    first: dict[str, int] = {}
    for index, token in enumerate(admin.tokens):
        if token.name in first:
            yield Problem(("admin", "tokens", index, "name"), f'"{token.name}" is already the name of another token')
        first.setdefault(token.name, index)
        for at, host in enumerate(token.sites):
            if not any(host in site.hosts for site in settings.site):
                yield Problem(("admin", "tokens", index, "sites", at), f'no site has the host "{host}"')


def _is_local(admin: AdminSettings) -> bool:
    host = admin.listen.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _disks(disk: DiskSettings) -> Iterator[Problem]:
    paths = [disk.path]
    if disk.segment_bytes * 4 > disk.size_bytes:
        yield Problem(("cache", "disk", "size"), "must be four times cache.disk.segment at least")
    for number, more in enumerate(disk.more):
        if disk.segment_bytes * 4 > more.size_bytes:
            yield Problem(("cache", "disk", "more", number, "size"), "must be four times cache.disk.segment at least")
        if more.path in paths:
            yield Problem(("cache", "disk", "more", number, "path"), "is given twice")
        paths.append(more.path)


def _peers(settings: Settings) -> Iterator[Problem]:
    peers = settings.peers
    if peers is None:
        return
    if (peers.place is None) == (not peers.nodes):
        yield Problem((GROUP,), "expected one of nodes and place")
    if peers.place is not None and not settings.fleet.servers:
        yield Problem((GROUP, "place"), "nodes find each other in a fleet: give fleet.servers")
    if "name" not in settings.node.model_fields_set:
        yield Problem((GROUP,), "each node needs a node.name of its own, so that no request goes round")
    if GROUP in settings.origin:
        yield Problem(("origin", GROUP), "is what the nodes of [peers] are called: give the origin another name")


def _sizes(settings: Settings) -> Iterator[Problem]:
    cache, limits = settings.cache, settings.limits
    if cache.object_bytes_max > cache.memory_bytes and "object_bytes_max" in cache.model_fields_set:
        yield Problem(
            ("cache", "object_max"), "is more than cache.memory, so that such an object could never be stored"
        )
    if cache.disk is not None:
        yield from _disks(cache.disk)
    if limits.field_bytes > limits.header_bytes:
        yield Problem(("limits", "field_size"), "one field cannot be larger than the whole head: limits.header_size")
    if limits.request_line_bytes > limits.header_bytes:
        yield Problem(("limits", "request_line"), "a line cannot be larger than the whole head: limits.header_size")
    for name, origin in settings.origin.items():
        if (origin.hash_by == "header") != (origin.hash_header is not None):
            yield Problem(("origin", name, "hash_header"), 'goes together with hash_by = "header"')
        deadlines = origin.deadlines
        if deadlines.total_ms < deadlines.connect_ms:
            yield Problem(("origin", name, "deadlines", "total"), "is shorter than connect")
