"""What a configuration refers to and does not contain: certificates, authorities, secrets, policy files.

Everything is read when the configuration is loaded, relative to the file that names it, so that a node never starts, or
reloads, with half of it. Whatever cannot be read or does not fit is a problem at the key that names it.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Final

from edge import policy
from edge.context import Fleet, Neighbourhood, Token
from edge.fleet import fleet_of
from edge.peers import GROUP, origin_of
from edge.problems import Problem
from edge.rule_table import Rule
from edge.settings import LogSettings, Settings, TlsSettings, TokenSettings
from edge.toml_lines import Path
from origin.settings import OriginSettings

__all__ = ["Certificate", "Materials", "OriginTrust", "read_materials"]

_PEM_BYTES_MAX: Final = 16 * 1024 * 1024  # the system's whole list of authorities takes a quarter of a MiB


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain and its key, as PEM texts."""

    source: str
    cert_pem: str
    key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OriginTrust:
    """The files of one origin, as PEM texts."""

    ca_pem: str | None = None
    client_cert_pem: str | None = None
    client_key_pem: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Materials:
    """All of it, and what was wrong with it."""

    certificates: list[Certificate] = field(default_factory=list)
    trust: dict[str, OriginTrust] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    fleet: Fleet | None = None
    peers_secret: str = field(default="", repr=False)
    """What the nodes of one place know each other by."""
    policies: dict[int, list[Rule]] = field(default_factory=dict)
    """Rules of Python files, by the index of their site."""
    log_path: str = "-"
    tls_keys_path: str | None = None
    """The file of the access log, wherever the node is started; "-" is standard output."""
    disk_paths: list[str] = field(default_factory=list)
    """The directories of the disk tier, wherever the node is started."""
    problems: list[Problem] = field(default_factory=list)


def read_materials(settings: Settings, base: FilePath) -> Materials:
    """Read everything; `problems` of the result says what failed."""
    materials = Materials()
    reader = _Reader(base, materials.problems)
    for index, tls in enumerate(settings.tls):
        certificate = _certificate(reader, index, tls)
        materials.certificates += [certificate] if certificate else []
    for name, origin in settings.origin.items():
        materials.trust[name] = _trust(reader, ("origin", name), origin)
    for index, token in enumerate(settings.admin.tokens):
        secret = _secret(reader, ("admin", "tokens", index), token)
        if secret:
            materials.tokens.append(Token(token.name, secret, frozenset(token.scope), _site_names(settings, token)))
    materials.fleet = _fleet(reader, settings)
    if settings.peers is not None:
        materials.trust[GROUP] = _trust(reader, (GROUP,), origin_of(settings.peers))
        materials.peers_secret = _env_secret(reader, (GROUP,), "secret_env", settings.peers.secret_env) or ""
    materials.log_path = _log_path(reader, settings.log)
    if settings.log.tls_keys is not None:
        materials.tls_keys_path = str(reader.base / settings.log.tls_keys)
    if settings.cache.disk is not None:
        disk = settings.cache.disk
        materials.disk_paths = [str(base / path) for path in (disk.path, *(each.path for each in disk.more))]
    for index, site in enumerate(settings.site):
        if site.policy is not None:
            materials.policies[index] = reader.policy(("site", index, "policy"), site.policy)
    return materials


def _fleet(reader: _Reader, settings: Settings) -> Fleet | None:
    name = settings.fleet.password_env
    if name is not None and name not in os.environ:
        reader.problems.append(Problem(("fleet", "password_env"), f"the environment variable {name} is not set"))
    try:
        return fleet_of(
            settings.fleet, settings.node.name, reader.base, os.environ.get(name or ""), _neighbourhood(settings)
        )
    except OSError as error:
        reason = str(error.strerror or error).lower()
        reader.problems.append(Problem(("fleet",), f"ca, cert or key cannot be used: {reason}"))
        return None


def _neighbourhood(settings: Settings) -> Neighbourhood | None:
    peers = settings.peers
    return Neighbourhood(peers.place, peers.url) if peers is not None and peers.place is not None else None


def _site_names(settings: Settings, token: TokenSettings) -> frozenset[str]:
    """The sites that a token is bound to, by their first hosts; `edge.checks` refuses unknown ones."""
    return frozenset(site.hosts[0] for site in settings.site if set(site.hosts) & set(token.sites))


@dataclass(frozen=True, slots=True)
class _Reader:
    base: FilePath
    problems: list[Problem]

    def text(self, path: Path, name: str) -> str | None:
        """The text of a file, or a problem at the path."""
        try:
            with (self.base / name).open("rb") as file:
                raw = file.read(_PEM_BYTES_MAX + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.problems.append(Problem(path, f'"{name}" cannot be read: {reason}'))
            return None
        if len(raw) > _PEM_BYTES_MAX:
            self.problems.append(Problem(path, f'"{name}" is larger than {_PEM_BYTES_MAX} bytes'))
            return None
        return raw.decode(errors="replace")

    def policy(self, path: Path, name: str) -> list[Rule]:
        """The rules of a Python file, or a problem at the path."""
        try:
            return policy.load(self.base / name)
        except policy.PolicyError as error:
            self.problems.append(Problem(path, str(error)))
            return []


def _log_path(reader: _Reader, log: LogSettings) -> str:
    if log.path == "-":
        return log.path
    file = reader.base / log.path
    if log.format != "off" and not file.parent.is_dir():
        reader.problems.append(Problem(("log", "path"), f'there is no directory "{file.parent}"'))
    return str(file)


def _certificate(reader: _Reader, index: int, tls: TlsSettings) -> Certificate | None:
    cert_path: Path = ("tls", index, "cert")
    key_path: Path = ("tls", index, "key") if tls.key is not None else cert_path
    cert_pem = reader.text(cert_path, tls.cert)
    key_pem = reader.text(key_path, tls.key) if tls.key is not None else cert_pem
    if cert_pem is None or key_pem is None:
        return None
    if "-----BEGIN CERTIFICATE-----" not in cert_pem:
        reader.problems.append(Problem(cert_path, f'"{tls.cert}" has no PEM certificate'))
        return None
    if "PRIVATE KEY-----" not in key_pem:
        reader.problems.append(Problem(key_path, f'"{tls.key or tls.cert}" has no PEM private key'))
        return None
    refusal = _pair_refusal(reader.base / tls.cert, reader.base / (tls.key or tls.cert))
    if refusal is not None:
        reader.problems.append(Problem(key_path, refusal))
        return None
    return Certificate(tls.cert, cert_pem, key_pem)


def _pair_refusal(cert: FilePath, key: FilePath) -> str | None:
    """Why a certificate and a key cannot be used together, if so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The empty password keeps an encrypted key from asking on the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f'the key does not belong to the certificate "{cert.name}"'
        return f'"{cert.name}" and its key cannot be used: {(error.reason or str(error)).lower().replace("_", " ")}'
    except (OSError, ValueError) as error:
        return f'"{cert.name}" and its key cannot be used: {error}'
    return None


def _trust(reader: _Reader, path: Path, origin: OriginSettings) -> OriginTrust:
    def read(key: str, name: str | None) -> str | None:
        return None if name is None else reader.text((*path, key), name)

    ca_pem = read("ca", origin.ca)
    if origin.ca is not None and ca_pem is not None and "-----BEGIN CERTIFICATE-----" not in ca_pem:
        reader.problems.append(Problem((*path, "ca"), f'"{origin.ca}" has no PEM certificate'))
    cert_pem = read("client_cert", origin.client_cert)
    key_pem = read("client_key", origin.client_key) if origin.client_key is not None else cert_pem
    if origin.client_key is not None and origin.client_cert is None:
        reader.problems.append(Problem((*path, "client_key"), "needs client_cert"))
    return OriginTrust(ca_pem, cert_pem, key_pem)


def _secret(reader: _Reader, path: Path, token: TokenSettings) -> str | None:
    """The secret of a token from where it is said to be, or a problem there."""
    if (token.env is None) == (token.file is None):
        reader.problems.append(Problem(path, "expected one of env and file"))
        return None
    if token.file is None:
        return _env_secret(reader, path, "env", token.env or "")
    text = reader.text((*path, "file"), token.file)
    return None if text is None else _fit_secret(reader, (*path, "file"), text.strip())


def _env_secret(reader: _Reader, path: Path, key: str, name: str) -> str | None:
    secret = os.environ.get(name)
    if secret is None:
        reader.problems.append(Problem((*path, key), f"the environment variable {name} is not set"))
        return None
    return _fit_secret(reader, (*path, key), secret)


def _fit_secret(reader: _Reader, path: Path, secret: str) -> str | None:
    # It travels in a header field (RFC 6750 2.1), so that it can hold neither blanks nor control characters.
    if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
        reader.problems.append(Problem(path, "expected a secret of visible ASCII characters without blanks"))
        return None
    return secret
