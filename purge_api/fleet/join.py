"""A member of a fleet as the configuration says: its transport, its cursor, its trust, its metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from purge_api.auth import Identity
from purge_api.context import Context, FleetFace
from purge_api.desk import PurgeDesk
from purge_api.fleet.cursor import CursorFile
from purge_api.fleet.member import FleetOptions, Home, Member
from purge_api.fleet.nats import NatsOptions, NatsTransport
from purge_api.spread import Spread

__all__ = ["member_of"]


def member_of(fleet: FleetFace, context: Context, desk: PurgeDesk, spread: Spread) -> Member:
    """The node's part in its fleet, not yet started; its metrics are registered."""
    transport = NatsTransport(
        NatsOptions(
            servers=fleet.servers,
            node=fleet.node,
            fleet=fleet.name,
            user=fleet.user,
            password=fleet.password,
            tls=fleet.tls,
            keep_s=fleet.keep_s,
            replicas=fleet.replicas,
        )
    )
    where = fleet.neighbourhood
    peers = {peer.name: Identity(peer.name, peer.scopes, _names(desk, peer.sites)) for peer in fleet.peers}
    member = Member(
        FleetOptions(fleet.node, peers, fleet.trust_s, place=where.place, url=where.url)
        if where
        else FleetOptions(fleet.node, peers, fleet.trust_s),
        transport,
        Home(
            desk.journal,
            context.ledger,
            CursorFile(context.state_dir),
            spread,
            lambda: desk.sites,
            context.on_neighbours,
        ),
    )
    _register(context.registry, member)
    return member


def _names(desk: PurgeDesk, hosts: frozenset[str]) -> frozenset[str]:
    """The sites that have these hosts. A host that no site has stays, so that it allows nothing."""
    return frozenset(desk.sites.named(host) or host for host in hosts)


class _Numbers(Collector):
    def __init__(self, member: Member) -> None:
        self._member = member

    def collect(self) -> list[Metric]:
        """What the member did so far."""
        member, counters = self._member, self._member.counters
        numbers = (
            ("published", "Own purges given to the fleet.", member.published),
            ("applied", "Purges of other nodes applied.", counters.applied),
            ("repaired", "Purges that were lost here and applied again.", counters.repaired),
            ("refused", "Messages of the fleet that were refused.", counters.refused),
            ("gaps", "Times that everything was purged, as what was missed was no longer kept.", counters.gaps),
        )
        found: list[Metric] = [
            CounterMetricFamily(f"headland_fleet_{name}", text, count) for name, text, count in numbers
        ]
        found.append(GaugeMetricFamily("headland_fleet_sequence", "The newest message applied.", member.sequence))
        found.append(GaugeMetricFamily("headland_fleet_nodes", "Nodes alive.", len(member.alive)))
        return found


def _register(registry: CollectorRegistry, member: Member) -> None:
    registry.register(_Numbers(member))
