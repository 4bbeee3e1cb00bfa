"""Purges of the data port: who may, what is meant, and what the client hears.

An address that the configuration allows may purge without a token; others bring one, under any of its spellings, and
are held to its scopes and sites. Answers are 200 with `{"status": "ok", "id": ...}` whether or not anything was stored,
as most clients expect, and otherwise a small JSON document with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import orjson

from purge_api.auth import Identity
from purge_api.context import DataPortPurge
from purge_api.desk import Asked, PurgeDesk
from purge_api.errors import JournalError, Refused
from purge_api.models import order_of
from purge_api.wire import meaning_of

__all__ = ["DataPort", "DataPortReceipt"]

ACTOR = "PURGE"
"""Who asked for a purge that an allowed address gave without a token."""
TOKEN_FIELDS = {
    "authorization": "Authorization",
    "fastly-key": "Fastly-Key",
    "accesskey": "AccessKey",
    "x-auth-key": "X-Auth-Key",
}


@dataclass(frozen=True, slots=True)
class DataPortReceipt:
    """What the data port answers."""

    status: int
    body: str

    @classmethod
    def of(cls, status: int, /, **members: object) -> DataPortReceipt:
        """A receipt with a JSON object."""
        return cls(status, orjson.dumps(members).decode())


class DataPort:
    """Handles what the node accepted on its data port; belongs to one event loop."""

    def __init__(self, desk: PurgeDesk) -> None:
        self._desk = desk

    async def handle(self, purge: DataPortPurge) -> DataPortReceipt:
        """One purge, from the core to its answer."""
        asked = Asked.now(purge.client)
        try:
            if not purge.allowed:
                fields = {TOKEN_FIELDS[name]: value for name, value in purge.fields if name in TOKEN_FIELDS}
                asked.identity = self._desk.tokens.authenticate(fields)
            meaning = meaning_of(purge)
            items = None if meaning.kind == "all" else list(meaning.items)
            order = order_of(meaning.kind, items, self._desk.context.canonicalise, self._desk.sites, soft=meaning.soft)
            identity = asked.identity or Identity(ACTOR, frozenset({"purge"}))
            order = self._desk.allow(order, identity)
            if asked.identity is not None:
                self._desk.charge(order, identity)
            record = await self._desk.apply(order, asked, identity.name)
        except Refused as refused:
            self._desk.refuse(refused, asked)
            return DataPortReceipt.of(refused.status, status="error", detail=refused.detail)
        except JournalError as error:
            self._desk.refuse(error, asked)
            return DataPortReceipt.of(HTTPStatus.SERVICE_UNAVAILABLE, status="error", detail=str(error))
        return DataPortReceipt.of(HTTPStatus.OK, status="ok", id=record.id)
