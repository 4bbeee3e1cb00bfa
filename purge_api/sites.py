"""The sites of a node, as purging needs them: which hosts a site has, and to which site a host belongs. Pure.

A site is known by its first host. Hosts are patterns as in the configuration: a name, `*.` and a name, or `*` for every
host that no other site has. Routing is the node's: exact names first, then the longest `*.`, then `*`.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ANY_HOST", "Sites"]

ANY_HOST = "*"


class Sites:
    """The sites of one configuration.

    Args:
        hosts: The host patterns of each site, by its name.
    """

    def __init__(self, hosts: Mapping[str, tuple[str, ...]]) -> None:
        self._hosts = dict(hosts)
        self._site_of = {pattern: name for name, patterns in hosts.items() for pattern in patterns}

    def named(self, name: str) -> str | None:
        """The site called so, or which has a host that is spelled so; None when there is none."""
        return name if name in self._hosts else self._site_of.get(name.lower().removesuffix("."))

    def hosts(self, site: str) -> tuple[str, ...]:
        """The host patterns of a site."""
        return self._hosts[site]

    def of_host(self, host: str) -> str | None:
        """The site that answers for a canonical host, whose port does not count."""
        name = host if host.endswith("]") else host.partition(":")[0] if host[:1] != "[" else host.rpartition(":")[0]
        candidates = [name, *(f"*{name[dot:]}" for dot, letter in enumerate(name) if letter == "."), ANY_HOST]
        return next((self._site_of[each] for each in candidates if each in self._site_of), None)
