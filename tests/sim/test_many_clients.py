"""What many clients cost one server: memory for each, and work only for those that do something."""

import gc
import sys
import tracemalloc
from ipaddress import ip_network
from random import Random

import pytest

from mpbond.core.client import ClientEndpoint, ClientSettings
from mpbond.core.link import Link, Target
from mpbond.core.noise import public_key
from mpbond.core.peers import Peer, Peers
from mpbond.core.server import ServerEndpoint, ServerSettings
from tests.packets import ipv4

COUNT = 40
SERVER_KEY = bytes(range(32))
IDLE, LOADED = 256 << 10, 4 << 20  # bytes


def keys():
    rng = Random(5)
    return [rng.randbytes(32) for _ in range(COUNT)]


def server_of(private_keys):
    peers = [Peer(f"c{at}", public_key(key)) for at, key in enumerate(private_keys)]
    server = ServerEndpoint(
        ServerSettings(private_key=SERVER_KEY),
        Peers([ip_network("10.77.0.0/16")], peers),
        Random(1),
    )
    server.socket_mtu[0] = 1472
    return server


def client_of(key, now):
    settings = ClientSettings(private_key=key, server_key=public_key(SERVER_KEY))
    client = ClientEndpoint(settings, Random(key))
    client.socket_mtu[0] = 1472
    client.add_link(Link("wwan0", (Target(0, "server"),)), now)
    return client


def talk(server, clients, start, seconds, step=0.01):
    """Let time pass for a server and clients (by name), with no time on the way; return when it is."""
    for turn in range(1, round(seconds / step) + 1):
        now = start + turn * step
        for _ in range(3):
            for name, client in clients.items():
                if client.next_timeout(now) <= now:
                    client.handle_timeout(now)
                while (transmit := client.poll_transmit(now)) is not None:
                    server.handle_datagrams(
                        0, name, b"".join(transmit.buffers), transmit.segment_size, now, now
                    )
            if server.next_timeout(now) <= now:
                server.handle_timeout(now)
            while (transmit := server.poll_transmit(now)) is not None:
                if transmit.address in clients:
                    clients[transmit.address].handle_datagrams(
                        0, "server", b"".join(transmit.buffers), transmit.segment_size, now, now
                    )
            server.poll_packets()
    return now


def test_an_idle_client_takes_little_memory_and_a_loaded_one_not_much():
    private_keys = keys()
    server = server_of(private_keys)
    now = talk(server, {"first": client_of(private_keys.pop(), 100.0)}, 100.0, 1.0)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at, key in enumerate(private_keys):
            now = talk(server, {f"client {at}": client_of(key, now)}, now, 0.5)
        gc.collect()
        sessions = len(server.sessions)
        idle = (tracemalloc.get_traced_memory()[0] - before) / len(private_keys)
        assert sessions == COUNT
        assert idle < IDLE
        before = tracemalloc.get_traced_memory()[0]
        fill(server, now)
        loaded = (tracemalloc.get_traced_memory()[0] - before) / COUNT
    finally:
        tracemalloc.stop()
    assert 100_000 < loaded < LOADED


def fill(server, now):
    """A download for every client, as fast as it may be, that nothing acknowledges."""
    for _ in range(40):
        for peer in list(server.peers):
            (address,) = peer.addresses
            packets = [
                ipv4(destination=address.ip.packed, source=b"\1\2\3\4", payload=bytes(1300))
                for _ in range(64)
            ]
            server.handle_packets(packets, now)
        while server.poll_transmit(now) is not None:
            pass


@pytest.mark.python_core
def test_an_idle_second_of_many_costs_no_more_work_for_each_than_of_few():
    """Calls of Python functions for each client, in ten seconds with nothing but keepalives."""

    def calls(count):
        private_keys = keys()[:count]
        server = server_of(private_keys)
        clients = {f"client {at}": client_of(key, 100.0) for at, key in enumerate(private_keys)}
        now = talk(server, clients, 100.0, 3.0)
        made = 0

        def note(frame, event, _argument):
            nonlocal made
            made += event == "call" and "/mpbond/core/" in frame.f_code.co_filename

        sys.setprofile(note)
        try:
            server_only(server, now, 10.0)
        finally:
            sys.setprofile(None)
        return made

    few, many = calls(4), calls(COUNT)
    assert many < 2 * few * COUNT / 4
    assert many / COUNT < 400


def server_only(server, start, seconds):
    """Run what is due at a server, with nobody there."""
    now, end = start, start + seconds
    while (due := server.next_timeout(now)) <= end:
        now = max(now, due)
        server.handle_timeout(now)
        while server.poll_transmit(now) is not None:
            pass


def test_a_keepalive_wakes_an_idle_server_once_and_is_answered_at_once():
    private_keys = keys()[:1]
    server = server_of(private_keys)
    client = client_of(private_keys[0], 100.0)
    now = talk(server, {"client": client}, 100.0, 10.0)
    assert server.next_timeout(now) > now + 60.0
    handed = answered = 0
    while (now := client.next_timeout(now)) < 170.0:
        client.handle_timeout(now)
        while (transmit := client.poll_transmit(now)) is not None:
            handed += 1
            server.handle_datagrams(0, "client", b"".join(transmit.buffers), None, now, now)
            while (answer := server.poll_transmit(now)) is not None:
                answered += 1
                client.handle_datagrams(0, "server", b"".join(answer.buffers), None, now, now)
            assert server.next_timeout(now) > now + 60.0
    assert handed == answered == 3
