"""Worlds that several simulations need, and how to look at them. Times are virtual seconds."""

from ipaddress import ip_interface, ip_network
from random import Random

from bench.links.draws import seed_of
from bench.links.link import Link
from bench.links.shape import LinkSpec
from bench.sim.world import OVERHEAD, World
from mpbond.core.client import ClientSettings
from mpbond.core.noise import public_key
from mpbond.core.server import ServerSettings
from tests.packets import ipv4, number_of, udp_run

POOLS = (ip_network("10.77.0.0/24"), ip_network("fd77::/64"))


def world_of(*delays, seed=1, scheduler="rr", hold=None, rate=8e6, connect=True, **more):
    """Links of these one-way delays; `hold` is what each side tells the other to use."""
    rng = Random(seed)
    server_key, client_key = rng.randbytes(32), rng.randbytes(32)
    client = {"scheduler": scheduler, "downlink_scheduler": scheduler, "hold": hold} | more
    world = World(
        [
            link_pair(LinkSpec.plain(rate_down=rate, rate_up=rate, delay=delay), seed, index)
            for index, delay in enumerate(delays)
        ],
        POOLS,
        seed=seed,
        client=ClientSettings(private_key=client_key, server_key=public_key(server_key), **client),
        server=ServerSettings(private_key=server_key, scheduler=scheduler, hold=hold),
    )
    if connect:
        world.run(1.0)
        assert states(world, "client") == ["up"] * len(delays)
        assert states(world, "server") == ["up"] * len(delays)
    return world


def link_pair(spec, seed, index):
    """Both directions of a link, up first."""
    return (
        Link(spec.up, seed_of(seed, index, "up"), spec.mtu),
        Link(spec.down, seed_of(seed, index, "down"), spec.mtu),
    )


def change_links(world, **changes):
    """Change both directions of every link."""
    for link in (link for pair in world.links for link in pair):
        link.change(**changes)


def bytes_carried(link):
    """Bytes of datagrams that came out of a link."""
    ledger = link.ledger
    lost = ledger.full + ledger.lost + ledger.swallowed
    return ledger.carried - OVERHEAD * (ledger.packets - lost)


def session_of(world, side):
    """The one session of a side."""
    (session,) = getattr(world, side).endpoint.sessions.values()
    return session


def paths_of(world, side):
    """A side's paths in the order of their links."""
    paths = session_of(world, side).paths
    return [paths[path_id] for path_id in sorted(paths)]


def states(world, side):
    """The words for a side's paths."""
    return [path.state for path in paths_of(world, side)]


def client_address(world):
    """The client's inner IPv4 address, as bytes."""
    return ip_interface(world.client_endpoint.addresses[0]).ip.packed


def packets_from(world, side, count, **more):
    """`count` numbered packets between the client and the web."""
    client, web = client_address(world), b"\x01\x02\x03\x04"
    source, destination = (client, web) if side == "client" else (web, client)
    return udp_run(
        count,
        make=lambda **fields: ipv4(source=source, destination=destination, **fields),
        **more,
    )


def stream(world, side, start, stop, interval, **more):
    """Send one numbered packet every `interval` from `start` to `stop`; return how many those are."""
    times = []
    now = start
    while now < stop - 1e-9:
        times.append(now)
        now += interval
    for time, packet in zip(times, packets_from(world, side, len(times), **more), strict=True):
        world.at(time, lambda packet=packet: world.send(side, [packet]))
    return len(times)


def arrived(world, side):
    """The numbers of the packets that came out at a side, in their order."""
    return [number_of(packet) for _, packet in getattr(world, side).packets]


def cut(world, index, *, up=False):
    """Both directions of a link swallow everything from now on, or no longer do."""
    for link in world.links[index]:
        link.up = up


def drops_of(world, side):
    """What a side has dropped, by reason."""
    return dict(getattr(world, side).endpoint.drops)
