"""What the shapes of other products share: from a request of theirs to one purge of ours, and back.

A service or zone in a path is a site by one of its hosts, or the node by its name, which stands for all sites. So a
client is pointed here by its base URL and that name, and needs no other change.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from purge_api.auth import Identity
from purge_api.desk import Asked, PurgeDesk
from purge_api.errors import Refused
from purge_api.models import PurgeRequest, order_of
from purge_api.record import PurgeRecord

__all__ = ["VendorDesk"]


class VendorDesk:
    """The desk as handlers of other shapes use it."""

    def __init__(self, desk: PurgeDesk) -> None:
        self.desk = desk

    def everything_of(self, name: str, *, soft: bool) -> PurgeRequest:
        """A purge of all of a service or zone. Raises `Refused` with 404 for a name that is neither."""
        if name == self.desk.context.node_name:
            return order_of("all", None, self.desk.context.canonicalise, self.desk.sites, soft=soft)
        self.known(name)
        return self.order("site", [name], soft=soft)

    def known(self, name: str) -> None:
        """Raises `Refused` with 404 unless the name is that of a site or of the node."""
        if name != self.desk.context.node_name and self.desk.sites.named(name) is None:
            raise Refused(404, "unknown-site", f"{name!r} is neither a host of a site nor the name of this node")

    def order(self, kind: str, items: Any, *, soft: bool) -> PurgeRequest:
        """A purge of checked items. Raises `Refused`."""
        return order_of(kind, items, self.desk.context.canonicalise, self.desk.sites, soft=soft)

    async def apply(
        self, orders: list[PurgeRequest], asked: Asked, identity: Identity
    ) -> tuple[list[PurgeRecord], dict[str, str]]:
        """Apply orders that belong together, all of them allowed before the first; and the fields of the rate."""
        orders = [self.desk.allow(order, identity) for order in orders]
        fields: dict[str, str] = {}
        for order in orders:
            fields = self.desk.charge(order, identity)
        return [await self.desk.apply(order, asked, identity.name) for order in orders], fields

    def admit(self, request: web.Request, asked: Asked) -> Identity:
        """Who asks; noted in `asked`. Raises `Refused`."""
        asked.identity = self.desk.admit(request)
        return asked.identity
