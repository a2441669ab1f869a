"""Packets on their way out."""

from mpbond.core.packet import ACKNOWLEDGEMENT, BULK, KINDS, NORMAL, REALTIME, Packet


def test_the_classes_have_their_names():
    assert [KINDS[kind] for kind in (NORMAL, ACKNOWLEDGEMENT, REALTIME, BULK)] == [
        "normal",
        "acknowledgement",
        "realtime",
        "bulk",
    ]


def test_a_packet_in_the_queue_has_no_place_and_no_fate_yet():
    packet = Packet(b"data", 0xFFFFFFFF, REALTIME, 12.5, "xor")
    assert (packet.data, packet.flow, packet.kind) == (b"data", 0xFFFFFFFF, REALTIME)
    assert (packet.queued, packet.scheduler) == (12.5, "xor")
    assert (packet.flights, packet.tries, packet.flags) == (0, 0, 0)
    assert not packet.done
    assert not packet.waiting
    assert Packet(b"data", 1, NORMAL, 0.0).scheduler is None
