"""The life of a node's process: made, told of what was purged, serving, reloaded, drained.

    service = Service(configuration, reload)
    await service.start()          # rules first, then the doors; nothing is left running when it raises
    await service.asked_to_stop()  # SIGTERM, SIGINT; SIGHUP reloads meanwhile
    status = await service.stop()  # drains

Python has one event loop, in the main thread: the admin application, signals and the answers to `PURGE` on the data
port. Serving happens on threads of the core, which never wait for it. The order of `start` is a promise: purge rules
are in force before the first request can arrive, and the line on standard output comes when all addresses answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

import _headland
from edge import admin, node_secret, peers, process_log
from edge.configuration import Configuration, ConfigurationError
from edge.context import AdminContext, ReloadState
from edge.exits import Exit
from edge.purge_relay import PurgeRelay
from edge.snapshot import with_servers
from origin.discovery import Discovery
from origin.health import Checks, Target

if TYPE_CHECKING:
    from edge.settings import Settings
    from origin.settings import Server

__all__ = ["Reload", "Service", "StartError", "serve"]

ADMIN_CLOSE_S: Final = 2.0
"""Seconds that requests to the admin address may take to end when the node stops."""
YOUNG_OBJECTS: Final = 10_000
"""New objects before the unreachable are looked for; with Python's 700, one purge in a hundred waits for that."""

Reload = Callable[[], Configuration]
"""Reads the configuration again; raises `ConfigurationError`."""


class StartError(Exception):
    """The node did not start; `status` is the exit status, the text one sentence."""

    def __init__(self, status: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Service:
    """One node in this process, from start to drain; belongs to the event loop that starts it."""

    def __init__(self, configuration: Configuration, reload: Reload | None = None) -> None:
        self.configuration = configuration
        self._reload_source = reload
        self._stop_asked = asyncio.Event()
        self._forced = asyncio.Event()
        self._reload_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._neighbours: list[Server] | None = None
        """The other nodes of this place, once they were found."""
        self._undo = contextlib.AsyncExitStack()
        self.admin_address = ""
        """`ip:port` of the admin address; empty when there is none."""

    async def start(self) -> None:
        """Make the node and open its doors; raises `StartError`, with nothing left running."""
        async with contextlib.AsyncExitStack() as undo:
            await self._start(undo)
            self._undo = undo.pop_all()

    async def _start(self, undo: contextlib.AsyncExitStack) -> None:
        settings = self.configuration.settings
        self.node = _made(self.configuration)
        self.checks = Checks(self.node.set_server_health)
        self.discovery = Discovery(self._found)
        self.context = AdminContext(
            node=self.node,
            ledger=self.node.ledger(),
            node_name=settings.node.name,
            state_dir=_state_dir(self.configuration, undo),
            canonicalise=self.node.canonical_url,
            tokens=self.configuration.tokens,
            sites=self.configuration.sites,
            fleet=self.configuration.fleet,
            reload_state=ReloadState(success_at_s=time.time()),
            checks=self.checks.states,
            on_neighbours=self._neighbours_soon,
        )
        secret = _secret(self.context.state_dir)
        door = _admin_door(settings, undo)
        runner = await self._admin_runner(undo)
        try:
            self.node.start(secret)
        except _headland.ListenError as error:
            raise StartError(Exit.LISTEN, str(error)) from error
        undo.callback(self.node.drain, 0)
        undo.push_async_callback(self.checks.close)
        await self.checks.watch(self.configuration.checks)
        undo.push_async_callback(self.discovery.close)
        await self.discovery.watch(self.configuration.discovery)
        undo.enter_context(PurgeRelay(self.node, self.context.on_purge, asyncio.get_running_loop()))
        if door is not None:
            await web.SockSite(runner, door).start()
            self.admin_address = _address_text(door)
        self._watch_signals(undo)

    async def _admin_runner(self, undo: contextlib.AsyncExitStack) -> web.AppRunner:
        """The admin application with its extensions, which load their durable state here."""
        try:
            app = admin.make_app(self.context)
        except Exception as error:  # whatever an extension raises, the node must not serve without its rules
            raise StartError(Exit.STATE, f"the admin application cannot start: {error}") from error
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=ADMIN_CLOSE_S)
        await runner.setup()
        undo.push_async_callback(runner.cleanup)
        return runner

    def line(self) -> str:
        """The one line that says where the node serves."""
        places = [f"{kind} on {address}" for kind, address in self.node.addresses()]
        places += [f"admin on {self.admin_address}"] if self.admin_address else []
        name = self.configuration.settings.node.name
        who = name if name == "headland" else f"headland {name}"  # a node without a name of its own has that one
        return f"{who} serving {', '.join(places)}"

    async def asked_to_stop(self) -> None:
        """Return when SIGTERM or SIGINT came, or `ask_to_stop` was called."""
        await self._stop_asked.wait()

    def ask_to_stop(self) -> None:
        """Stop; asked a second time, at once."""
        (self._forced if self._stop_asked.is_set() else self._stop_asked).set()

    async def stop(self) -> Exit:
        """Drain and close; whether all requests ended is in the exit status."""
        self.context.draining = True
        deadline_ms = self.configuration.settings.node.drain_ms
        drained = asyncio.ensure_future(_in_thread(lambda: self.node.drain(deadline_ms)))
        forced = asyncio.ensure_future(self._forced.wait())
        await asyncio.wait({drained, forced}, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        ended = drained.done() and drained.result()
        try:
            await self._undo.aclose()
        except Exception as error:  # noqa: BLE001 - it stops in any case; the status says that it was not clean
            _say(f"while closing: {error!r}")
            return Exit.STATE
        return Exit.OK if ended else Exit.UNDRAINED

    async def reload(self) -> None:
        """Read the configuration again and swap it in; a bad one is refused as a whole, and the old one stays."""
        async with self._reload_lock:
            state = self.context.reload_state
            state.reloads += 1
            try:
                fresh = await self._read_again()
            except ConfigurationError as error:
                state.success, state.error = False, str(error)
                _say(f"reload refused, the running configuration stays:\n{error}")
                return
            self.configuration = fresh
            await self.discovery.watch(fresh.discovery)
            await self.checks.watch(self._checked(self._all_found(self.discovery.found)))
            self.context.tokens, self.context.sites = fresh.tokens, fresh.sites
            state.success, state.error, state.success_at_s = True, "", time.time()
            _say(f"reloaded {fresh.source}")

    async def _read_again(self) -> Configuration:
        if self._reload_source is None:
            raise ConfigurationError.of("there is no configuration file to read again")
        fresh = await asyncio.to_thread(self._reload_source)
        _refuse_restart_keys(self.configuration.settings, fresh.settings)
        try:
            known = {
                name: servers
                for name, servers in self.discovery.found.items()
                if fresh.discovery.get(name) == self.configuration.discovery.get(name)
            }
            await asyncio.to_thread(self.node.reload, with_servers(fresh.snapshot, self._all_found(known)))
        except _headland.SettingsError as error:
            raise ConfigurationError.of(str(error), fresh.source) from error
        return fresh

    async def _found(self, origin: str, servers: list[Server]) -> None:
        """Take the servers that were found for an origin. Raises `ValueError`: the ones before stay."""
        async with self._reload_lock:
            found = self._all_found(self.discovery.found | {origin: servers})
            await asyncio.to_thread(self.node.reload, with_servers(self.configuration.snapshot, found))
            await self.checks.watch(self._checked(found))

    def _all_found(self, origins: Mapping[str, list[Server]]) -> dict[str, list[Server]]:
        neighbours = self._neighbours
        return {**origins} if neighbours is None else {**origins, peers.GROUP: neighbours}

    def _neighbours_soon(self, urls: tuple[str, ...]) -> None:
        task = asyncio.get_running_loop().create_task(self._take_neighbours(urls))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_neighbours(self, urls: tuple[str, ...]) -> None:
        """Own keys together with these nodes from now on."""
        async with self._reload_lock:
            settings = self.configuration.settings.peers
            if settings is None:
                return
            self._neighbours = peers.others(settings, urls)
            found = self._all_found(self.discovery.found)
            await asyncio.to_thread(self.node.reload, with_servers(self.configuration.snapshot, found))
            await self.checks.watch(self._checked(found))
            _say(f"owning keys together with {len(self._neighbours)} other nodes")

    def _checked(self, found: Mapping[str, list[Server]]) -> list[Target]:
        """The servers that are checked, those that were found among them."""
        fixed = [target for target in self.configuration.checks if target.origin not in found]
        of = {target.origin: target for target in self.configuration.checks}
        if self.configuration.neighbours is not None:
            of[peers.GROUP] = self.configuration.neighbours
        return fixed + [
            replace(of[origin], server=server.url)
            for origin, servers in found.items()
            if origin in of
            for server in servers
        ]

    def _watch_signals(self, undo: contextlib.AsyncExitStack) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # a service inside another program, such as a test, leaves its signals alone
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: self.ask_to_stop,
            signal.SIGINT: self.ask_to_stop,
            signal.SIGHUP: self._reload_soon,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
            undo.callback(loop.remove_signal_handler, number)

    def _reload_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self.reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve(configuration: Configuration, reload: Reload | None = None) -> Exit:
    """Run a node until it is asked to stop; prints its line when it serves."""
    process_log.configure(audit=True)
    service = Service(configuration, reload)
    try:
        await service.start()
    except StartError as error:
        _say(str(error))
        return error.status
    _settle_memory()
    print(service.line(), flush=True)
    await service.asked_to_stop()
    return await service.stop()


def _settle_memory() -> None:
    """What is there now stays for as long as the process: it is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def _made(configuration: Configuration) -> _headland.Node:
    try:
        return _headland.Node(configuration.snapshot)
    except _headland.SettingsError as error:
        raise StartError(Exit.CONFIGURATION, f"{configuration.source}: {error}") from error


def _state_dir(configuration: Configuration, undo: contextlib.AsyncExitStack) -> Path:
    """The node's own directory: made if need be, private, and gone afterwards when nothing is to be kept."""
    if configuration.state_dir is None:
        return Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="headland-")))
    try:
        configuration.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(configuration.state_dir, os.W_OK | os.X_OK):
            raise PermissionError(0, "no permission to write in it")
    except OSError as error:
        sentence = f"the state directory {configuration.state_dir} cannot be used: {error.strerror}"
        raise StartError(Exit.STATE, sentence) from error
    return configuration.state_dir


def _secret(directory: Path) -> bytes:
    """What the node's own tickets and tokens are made with: kept, so that clients resume after a restart."""
    try:
        return node_secret.kept(directory)
    except OSError as error:
        raise StartError(Exit.STATE, f"the node's secret in {directory} cannot be kept: {error.strerror}") from error


def _admin_door(settings: Settings, undo: contextlib.AsyncExitStack) -> socket.socket | None:
    """The admin address, bound before anything serves, so that a taken port starts nothing."""
    if settings.admin.listen == "off":
        return None
    host, _, port = settings.admin.listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        door = socket.create_server((host, int(port)), family=family)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise StartError(Exit.LISTEN, f"admin address {settings.admin.listen}: {reason}") from error
    undo.callback(door.close)
    return door


def _address_text(door: socket.socket) -> str:
    host, port = door.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _refuse_restart_keys(old: Settings, new: Settings) -> None:
    """What only a restart can change on this side of the core; the core refuses its own."""
    for key, before, after in (
        ("admin.listen", old.admin.listen, new.admin.listen),
        ("admin.state_dir", old.admin.state_dir, new.admin.state_dir),
        ("node.name", old.node.name, new.node.name),
        ("fleet", old.fleet, new.fleet),
        ("peers.place", old.peers and old.peers.place, new.peers and new.peers.place),
    ):
        if before != after:
            raise ConfigurationError.of(f"{key}: only a restart can change it, from {before!r} to {after!r}")


async def _in_thread(call: Callable[[], bool]) -> bool:
    """Like `asyncio.to_thread`, but on a thread that does not keep the process when a second signal comes."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def finish(result: bool) -> None:
        if not done.done():
            done.set_result(result)

    def run() -> None:
        result = call()
        with contextlib.suppress(RuntimeError):  # the loop has gone, and with it whoever waited
            loop.call_soon_threadsafe(finish, result)

    threading.Thread(target=run, name="headland-drain", daemon=True).start()
    return await done


def _say(sentence: str) -> None:
    print(f"headland: {sentence}", file=sys.stderr, flush=True)
