"""From validated settings to the JSON document that Rust compiles: `edge/src/settings.rs` is its other end.

Field names of the models are those of the snapshot, so most tables are written as they are; what differs is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from edge.materials import Materials
from edge.peers import GROUP, origin_of, snapshot_of
from edge.settings import Settings, SiteSettings
from origin.settings import OriginSettings, Server

__all__ = ["to_snapshot", "with_servers"]


def to_snapshot(settings: Settings, materials: Materials) -> bytes:
    """The whole snapshot; `materials` must have been read without problems."""
    return orjson.dumps(
        {
            "node": settings.node.model_dump(exclude={"zone"}),
            "listeners": [
                {
                    "address": address.replace("localhost", "127.0.0.1"),
                    "kind": kind,
                    "http3": settings.listen.http3 and kind == "https",
                    "early_data": settings.listen.early_data,
                    "alt_svc_ms": settings.listen.alt_svc_ms,
                    "congestion": settings.listen.congestion,
                }
                for kind, addresses in (("http", settings.listen.http), ("https", settings.listen.https))
                for address in addresses
            ],
            "certificates": [
                {"source": each.source, "cert_pem": each.cert_pem, "key_pem": each.key_pem}
                for each in materials.certificates
            ],
            "limits": settings.limits.model_dump(),
            "cache": _cache(settings, materials),
            "purge": settings.purge.model_dump(),
            "log": {
                "format": settings.log.format,
                "path": materials.log_path,
                "tls_keys": materials.tls_keys_path,
            },
            "pool": settings.pool.model_dump(),
            "origins": [
                _origin(name, origin, settings.node.zone, materials) for name, origin in settings.origin.items()
            ],
            "peers": _peers(settings, materials),
            "sites": [_site(index, site, materials) for index, site in enumerate(settings.site)],
        }
    )


def with_servers(snapshot: bytes, found: Mapping[str, Iterable[Server]]) -> bytes:
    """The same snapshot with the servers that were found for some origins."""
    document = orjson.loads(snapshot)
    for origin in document["origins"]:
        if origin["name"] in found:
            origin["servers"] = [server.model_dump() for server in found[origin["name"]]]
    if GROUP in found and document["peers"] is not None:
        document["peers"]["group"]["servers"] = [server.model_dump() for server in found[GROUP]]
    return orjson.dumps(document)


def _peers(settings: Settings, materials: Materials) -> dict[str, Any] | None:
    peers = settings.peers
    if peers is None:
        return None
    return snapshot_of(peers, materials.peers_secret, _origin(GROUP, origin_of(peers), None, materials))


def _cache(settings: Settings, materials: Materials) -> dict[str, Any]:
    cache = settings.cache.model_dump()
    disk = settings.cache.disk
    if disk is not None:
        sizes = [disk.size_bytes, *(each.size_bytes for each in disk.more)]
        volumes = [{"path": path, "size_bytes": size} for path, size in zip(materials.disk_paths, sizes, strict=True)]
        cache["disk"] = disk.model_dump(exclude={"path", "size_bytes", "more"}) | {"volumes": volumes}
    # A small memory needs no second number: an object that could not stay is not stored.
    return cache | {"object_bytes_max": min(cache["object_bytes_max"], cache["memory_bytes"])}


def _origin(name: str, origin: OriginSettings, zone: str | None, materials: Materials) -> dict[str, Any]:
    trust = materials.trust[name]
    elsewhere = {
        *("ca", "server_name", "verify", "client_cert", "client_key", "tls_version_min", "early_data"),
        *("hash_by", "hash_header", "hash_load_percent"),
        *("health", "discovery"),
    }
    return {
        "name": name,
        **origin.model_dump(exclude=elsewhere),
        "zone": zone,
        "hash": {"by": origin.hash_by, "header": origin.hash_header, "load_percent": origin.hash_load_percent},
        "tls": {
            "ca_pem": trust.ca_pem,
            "server_name": origin.server_name,
            "verify": origin.verify,
            "version_min": origin.tls_version_min,
            "early_data": origin.early_data,
            "client_cert_pem": trust.client_cert_pem,
            "client_key_pem": trust.client_key_pem,
        },
    }


def _site(index: int, site: SiteSettings, materials: Materials) -> dict[str, Any]:
    rules = [rule.compiled(f"site[{index}].rule[{at}]") for at, rule in enumerate(site.rule)]
    rules += materials.policies.get(index, [])
    return {
        "name": site.hosts[0],
        "hosts": site.hosts,
        "origin": site.origin,
        "host_header": site.host_header,
        "honour_client_directives": site.honour_client_directives,
        "no_vary_search": site.no_vary_search,
        "early_hints": site.early_hints,
        "partial_content": site.partial_content,
        "disk": site.disk,
        "compression": site.compression.model_dump() if site.compression else None,
        "rules": [rule.json() for rule in rules],
    }
