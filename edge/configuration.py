"""A configuration that may be run: validated settings, the files they name, and the snapshot for Rust.

It is whole or it is not there: `load` raises `ConfigurationError` with every problem of the file, of what it refers to
and of how it fits together, and nothing is started or changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from edge.checks import cross_check
from edge.context import Fleet, Token
from edge.document import COMMAND_LINE, Document
from edge.materials import Materials, read_materials
from edge.peers import GROUP, PeersSettings, check_of, others
from edge.problems import ConfigurationError
from edge.settings import Settings
from edge.snapshot import to_snapshot
from edge.toml_lines import Path
from origin.discovery import Source
from origin.health import Target, Trust, targets_of

__all__ = ["Configuration", "ConfigurationError", "compile_check", "for_origin", "judge", "load"]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything a node is started, or reloaded, with."""

    source: str
    settings: Settings
    tokens: tuple[Token, ...]
    state_dir: FilePath | None
    """Where purges are kept over a restart; None keeps nothing."""
    snapshot: bytes = field(repr=False)
    fleet: Fleet | None = None
    checks: tuple[Target, ...] = ()
    """The origin servers that are checked."""
    neighbours: Target | None = None
    """How nodes that were found in the fleet are checked."""
    discovery: Mapping[str, Source] = field(default_factory=dict)
    """Where origins have their servers listed."""

    @property
    def sites(self) -> dict[str, tuple[str, ...]]:
        """The host patterns of each site; a site is called by its first host."""
        return {site.hosts[0]: tuple(site.hosts) for site in self.settings.site}


def load(file: FilePath, overrides: Mapping[Path, Any] | None = None) -> Configuration:
    """Read a TOML file; `overrides` are keys of the command line, which win."""
    return judge(Document.read(file).overridden(overrides or {}))


def for_origin(url: str, listen: str, overrides: Mapping[Path, Any] | None = None) -> Configuration:
    """One origin for every host: what `headland serve --origin URL --listen ADDRESS` runs."""
    values: dict[str, Any] = {
        "listen": {"http": [listen]},
        "site": [{"hosts": ["*"], "origin": "origin"}],
        "origin": {"origin": {"servers": [url]}},
    }
    return judge(Document(COMMAND_LINE, FilePath.cwd(), values).overridden(overrides or {}))


def judge(document: Document) -> Configuration:
    """Validate a document, read what it refers to, and compile it."""
    settings = document.settings()
    materials = read_materials(settings, document.base)
    problems = [*materials.problems, *cross_check(settings, _policy_origins(materials))]
    if problems:
        raise document.error(problems)
    return Configuration(
        source=document.source,
        settings=settings,
        tokens=tuple(materials.tokens),
        state_dir=_state_dir(document, settings),
        snapshot=to_snapshot(settings, materials),
        fleet=materials.fleet,
        checks=_checks(settings, materials),
        neighbours=_check_of_peers(settings.peers, materials) if settings.peers is not None else None,
        discovery={
            name: Source(origin.discovery, document.base)
            for name, origin in settings.origin.items()
            if origin.discovery is not None
        },
    )


def compile_check(configuration: Configuration) -> None:
    """Let Rust compile the snapshot, which knows regular expressions; starts nothing. Raises `ConfigurationError`."""
    import _headland  # noqa: PLC0415 - settings can be read where the extension is not built

    try:
        _headland.Node(configuration.snapshot)
    except _headland.SettingsError as error:
        raise ConfigurationError.of(str(error), configuration.source) from error


def _state_dir(document: Document, settings: Settings) -> FilePath | None:
    if settings.admin.state_dir is not None:
        return document.base / settings.admin.state_dir
    if document.source == COMMAND_LINE:
        return None  # a node without a file is for trying; nothing of it should stay behind
    state_home = os.environ.get("XDG_STATE_HOME") or FilePath.home() / ".local" / "state"
    return FilePath(state_home) / "headland" / settings.node.name


def _checks(settings: Settings, materials: Materials) -> tuple[Target, ...]:
    targets: list[Target] = []
    for name, origin in settings.origin.items():
        files = materials.trust[name]
        trust = Trust(
            ca_pem=files.ca_pem,
            client_cert_pem=files.client_cert_pem,
            client_key_pem=files.client_key_pem,
            server_name=origin.server_name,
            verify=origin.verify,
            version_min=origin.tls_version_min,
        )
        targets += targets_of(name, origin, trust)
    if settings.peers is not None:
        check = _check_of_peers(settings.peers, materials)
        targets += [replace(check, server=server.url) for server in others(settings.peers)]
    return tuple(targets)


def _check_of_peers(peers: PeersSettings, materials: Materials) -> Target:
    return check_of(peers, materials.peers_secret, materials.trust[GROUP].ca_pem)


def _policy_origins(materials: Materials) -> dict[int, set[str]]:
    return {
        index: {action["origin"] for rule in rules for action in rule.then if "origin" in action}
        for index, rules in materials.policies.items()
    }
