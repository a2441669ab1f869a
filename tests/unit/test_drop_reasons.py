"""Every reason for which the core drops something, each brought about by what really comes in."""

import ast
from pathlib import Path
from random import Random

import msgpack
import pytest

import mpbond.core
from bench.sim.world import SERVER_ADDRESS, SERVER_SOCKET
from mpbond.core import envelope, wire
from mpbond.core.agreement import MAXIMUM_RULES
from mpbond.core.client import ClientEndpoint
from mpbond.core.envelope import COOKIE, HEADER, INIT, RESPONSE, VERSION, Mac1, write_hint
from mpbond.core.handshake import INIT_PAYLOAD_SIZE, PROLOGUE, Initiator
from mpbond.core.keys import seal
from mpbond.core.noise import HandshakeState, KeyPair, public_key
from mpbond.core.outbound import MINIMUM_QUEUE
from mpbond.core.queue import REALTIME_LIMIT
from mpbond.core.wire import CLOSE_SHUTDOWN
from tests.packets import ipv4, ipv6
from tests.sim.worlds import (
    client_address,
    cut,
    drops_of,
    packets_from,
    session_of,
    stream,
    world_of,
)

WEB = b"\x01\x02\x03\x04"
SIDES = pytest.mark.parametrize("side", ["client", "server"])


# -- packets from the TUN device ------------------------------------------------------------------


@SIDES
def test_what_is_no_ip_packet(world, side):
    world.send(side, [b"", b"\x00\x01arp", b"\x45 short", b"\x60 short"])
    assert drops_of(world, side) == {"packet_not_ip": 4}


def test_what_is_no_ip_packet_out_of_the_tunnel(world):
    inject(world, "server", data(b"\x00\x01arp"))
    assert drops_of(world, "server") == {"packet_not_ip": 1}


def test_the_devices_own_chatter(world):
    link_local, nobody = b"\xfe\x80" + bytes(14), bytes(16)
    world.send("client", [ipv6(source=link_local), ipv6(source=nobody)])
    assert drops_of(world, "client") == {"link_local": 2}


def test_more_than_256_packets_without_a_session():
    world = world_of(0.030, connect=False)
    world.send("client", [ipv4()] * 256)
    assert drops_of(world, "client") == {}
    world.send("client", [ipv4()] * 3)
    assert drops_of(world, "client") == {"no_session": 3}


@SIDES
def test_more_than_the_queue_holds(world, side):
    packets = packets_from(world, side, 800, size=1400)
    world.send(side, packets)
    assert drops_of(world, side) == {"queue_full": 800 - MINIMUM_QUEUE // 1400}


@SIDES
def test_more_real_time_packets_than_may_wait(world, side):
    world.send(side, packets_from(world, side, 200, size=500, port=53))
    assert drops_of(world, side) == {"realtime_full": 200 - REALTIME_LIMIT // 500}


@SIDES
def test_a_flow_that_sends_more_than_its_link_carries(side):
    world = world_of(0.030, scheduler="adaptive", rate=1e6)
    count = stream(world, side, 1.0, 5.0, 0.008)  # 1.4 Mbit/s
    world.run(10.0)
    dropped = drops_of(world, side)
    assert set(dropped) == {"codel"}
    assert dropped["codel"] > 5
    other = getattr(world, {"client": "server", "server": "client"}[side])
    assert len(other.packets) == count - dropped["codel"]


@SIDES
def test_a_packet_too_big_for_two_parts(world, side):
    room = 1472 - wire.HEADER_SIZE - wire.TAG_SIZE - wire.DATA_OVERHEAD
    world.send(side, packets_from(world, side, 1, size=2 * room))
    assert drops_of(world, side) == {}
    world.send(side, packets_from(world, side, 1, size=2 * room + 1))
    assert drops_of(world, side) == {"packet_too_big": 1}


def test_a_destination_that_is_nobodys(world):
    world.send("server", [ipv4(source=WEB, destination=250)])
    assert drops_of(world, "server") == {"destination_unknown": 1}


def test_a_client_that_has_gone(world):
    packets = packets_from(world, "server", 2)
    world.client.endpoint.close(CLOSE_SHUTDOWN, "bye", world.now)
    world.run(world.now + 0.1)
    world.send("server", packets)
    assert drops_of(world, "server") == {"client_offline": 2}


def test_a_source_that_is_not_the_clients(world):
    world.send("client", [ipv4(source=250, destination=WEB), ipv4(source=WEB, destination=WEB)])
    world.run(world.now + 0.1)
    assert drops_of(world, "server") == {"source_not_allowed": 2}
    assert world.server.packets == []


def test_a_packet_from_client_to_client(world):
    own = client_address(world)
    world.send("client", [ipv4(source=own, destination=own)])
    world.run(world.now + 0.1)
    assert drops_of(world, "server") == {"client_to_client": 1}
    assert world.server.packets == []


def test_packets_for_which_there_is_no_key_any_more(world):
    cut(world, 0)
    world.run(180.1)
    world.send("client", packets_from(world, "client", 3))
    assert drops_of(world, "client") == {"key_expired": 3}


@SIDES
def test_what_the_system_refuses_to_send(world, side):
    endpoint = getattr(world, side).endpoint
    endpoint.handle_packets(packets_from(world, side, 1), world.now)
    transmit = endpoint.poll_transmit(world.now)
    endpoint.handle_refused(transmit, "send_unreachable", world.now)
    endpoint.handle_refused(transmit._replace(session=None), "send_blocked", world.now)
    assert drops_of(world, side) == {"send_unreachable": 1, "send_blocked": 1}


# -- datagrams that are not authentic -------------------------------------------------------------


@SIDES
def test_an_empty_datagram(world, side):
    receive(world, side, b"")
    assert drops_of(world, side) == {"datagram_empty": 1}


@SIDES
def test_a_transport_datagram_without_room_for_a_frame(world, side):
    receive(world, side, b"\4" + bytes(25))
    assert drops_of(world, side) == {"datagram_truncated": 1}
    receive(world, side, b"\4" + bytes(26))
    assert drops_of(world, side) == {"datagram_truncated": 1, "index_unknown": 1}


@SIDES
def test_an_index_that_is_nobodys(world, side):
    receive(world, side, wire.HEADER.pack(4, 0, 12345, 0) + bytes(40))
    assert drops_of(world, side) == {"index_unknown": 1}


def test_a_path_that_was_never_opened(world):
    receive(world, "client", header(world, "client", path_id=7) + bytes(40))
    assert drops_of(world, "client") == {"path_unknown": 1}


@SIDES
def test_a_wrong_tag(world, side):
    receive(world, side, header(world, side, number=100) + bytes(40))
    assert drops_of(world, side) == {"auth_failed": 1}


@SIDES
def test_a_datagram_reflected_to_its_sender(world, side):
    other = {"client": "server", "server": "client"}[side]
    pair = session_of(world, side).keys.current
    (datagram,) = seal(pair, [(0, 50, wire.frame(wire.PING))])
    own = pair.local_index.to_bytes(4, "big")
    receive(world, side, datagram)
    receive(world, side, datagram[:2] + own + datagram[6:])
    assert drops_of(world, side) == {"index_unknown": 1, "auth_failed": 1}
    assert drops_of(world, other) == {}


@SIDES
def test_a_copy(world, side):
    inject(world, side, wire.frame(wire.PING), copies=3)
    assert drops_of(world, side) == {"replayed": 2}


@SIDES
def test_a_type_that_does_not_exist(world, side):
    receive(world, side, b"\x63" + bytes(60))
    receive(world, side, b"\x00")
    assert drops_of(world, side) == {"type_unknown": 2}


def test_an_answer_at_the_server_and_a_question_at_the_client(world):
    receive(world, "server", bytes([RESPONSE]) + bytes(511))
    assert drops_of(world, "server") == {"type_unknown": 1}
    receive(world, "client", bytes([INIT]) + bytes(511))
    assert drops_of(world, "client") == {"type_unknown": 1}


# -- frames of an authentic peer ------------------------------------------------------------------


@SIDES
@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"\2\0", id="half a frame"),
        pytest.param(wire.frame(wire.ACK, b"x"), id="ACK"),
        pytest.param(wire.frame(wire.ORDER, b"1234"), id="ORDER"),
        pytest.param(wire.frame(wire.FORWARD, b"1234567"), id="FORWARD"),
        pytest.param(wire.frame(wire.PATH, b"\0"), id="PATH"),
        pytest.param(wire.frame(wire.CONTROL, b"\0\0\0"), id="CONTROL"),
        pytest.param(wire.control_frame(0, b"\xc1"), id="no msgpack"),
        pytest.param(wire.control_frame(0, msgpack.packb([1])), id="no map"),
        pytest.param(wire.frame(wire.CLOSE), id="CLOSE"),
    ],
)
def test_a_malformed_frame(world, side, frames):
    inject(world, side, frames)
    assert drops_of(world, side) == {"frame_malformed": 1}
    assert session_of(world, side).closed is None


def test_a_malformed_path_status(world):
    inject(world, "server", wire.path_frame(wire.STATUS, 0, bytes(13)))
    assert drops_of(world, "server") == {"frame_malformed": 1}


@SIDES
def test_a_frame_of_a_later_version(world, side):
    inject(world, side, wire.frame(wire.STREAM, b"new") + wire.frame(0x7F) + wire.frame(wire.PING))
    assert drops_of(world, side) == {"frame_unknown": 2}


@pytest.mark.parametrize("kind", [wire.STATUS, wire.ABANDON])
def test_what_only_a_client_may_say_of_a_path(world, kind):
    inject(world, "client", wire.path_frame(kind, 0))
    assert drops_of(world, "client") == {"frame_unexpected": 1}
    assert list(session_of(world, "client").paths) == [0]


@SIDES
def test_an_ack_of_what_was_never_sent(world, side):
    number = session_of(world, side).paths[0].sent.next_number
    for largest in (number, number + 1000):
        block = wire.AckBlock(0, largest, 0, 0.0, ((0, 0),))
        inject(world, side, wire.ack_frame(wire.AckFrame(9999, None, (block,))))
    assert drops_of(world, side) == {"ack_of_unsent": 2}


@SIDES
def test_offload_that_was_not_agreed(world, side):
    inject(world, side, data(ipv4(), wire.CSUM_PARTIAL))
    assert drops_of(world, side) == {"offload_not_agreed": 1}
    assert getattr(world, side).packets == []


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"rule": {"class": "realtime"}, "number": 1, "of": 2}, id="not the next"),
        pytest.param({"rule": {"class": "realtime"}}, id="no number"),
        pytest.param({"rule": {"class": "royal"}, "number": 0, "of": 1}, id="no class we know"),
        pytest.param({"rule": 7, "number": 0, "of": 1}, id="no map"),
    ],
)
def test_a_rule_that_the_server_cannot_obey(world, message):
    inject(world, "server", wire.control_frame(next_control(world, "server"), packed(message)))
    assert drops_of(world, "server") == {"rule_malformed": 1}


def test_more_rules_than_a_client_may_ask_for(world):
    first = next_control(world, "server")
    rule = {"ports": [7000, 7000], "class": "realtime"}
    for number in range(MAXIMUM_RULES + 3):
        message = packed({"rule": rule, "number": number, "of": MAXIMUM_RULES + 3})
        inject(world, "server", wire.control_frame(first + number, message))
    assert drops_of(world, "server") == {"rule_malformed": 3}


@SIDES
def test_an_even_delay_of_no_such_lane(world, side):
    message = packed({"even": [[5000, 1]], "ways": []})
    inject(world, side, wire.control_frame(next_control(world, side), message))
    assert drops_of(world, side) == {"even_malformed": 1}


# -- handshakes -----------------------------------------------------------------------------------


@SIDES
def test_a_handshake_message_of_a_wrong_size(world, side):
    for kind in {"server": [INIT], "client": [RESPONSE, COOKIE, envelope.HINT]}[side]:
        receive(world, side, bytes([kind]) + bytes(200))
    assert set(drops_of(world, side)) == {"handshake_size"}


@SIDES
def test_a_handshake_message_of_another_version(world, side):
    for kind, size in SIZES[side]:
        receive(world, side, (bytes([kind, VERSION + 1]) + bytes(size))[:size])
    assert drops_of(world, side) == {"handshake_version": len(SIZES[side])}


@SIDES
def test_a_handshake_message_for_somebody_else(world, side):
    kind, size = SIZES[side][0]
    receive(world, side, HEADER.pack(kind, VERSION, 0, 1).ljust(size, b"\0"))
    assert drops_of(world, side) == {"handshake_mac1": 1}


def test_an_answer_to_another_handshake(world):
    receive(world, "client", to_client(world, HEADER.pack(RESPONSE, VERSION, 0, 1), b""))
    receive(world, "client", HEADER.pack(COOKIE, VERSION, 0, 1).ljust(envelope.COOKIE_SIZE, b"\0"))
    assert drops_of(world, "client") == {"handshake_index": 2}


def test_a_public_key_that_nobody_can_have(world):
    receive(world, "server", to_server(world, HEADER.pack(INIT, VERSION, 0, 1), b""))
    assert drops_of(world, "server") == {"handshake_key": 1}


def test_an_init_that_does_not_open(world):
    head = HEADER.pack(INIT, VERSION, 0, 1)
    receive(world, "server", to_server(world, head, public_key(bytes(range(32)))))
    assert drops_of(world, "server") == {"handshake_decrypt": 1}


def test_an_answer_by_somebody_who_does_not_know_the_preshared_key():
    world = world_of(0.030, connect=False, preshared_key=b"\7" * 32)
    world.run(0.1)
    assert drops_of(world, "client") == {"handshake_decrypt": 1}


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({"ciphers": []}, id="no cipher"),
        pytest.param({"ciphers": ["ROT13"]}, id="no cipher we have"),
        pytest.param({"ciphers": 7}, id="ciphers of a wrong type"),
        pytest.param({"session": "text", "ciphers": ["AES-256-GCM"]}, id="a session id as text"),
    ],
)
def test_a_question_that_lacks_what_is_needed(world, payload):
    asker = initiator(world, world.client_endpoint.settings.private_key)
    asker.start(5, payload)
    receive(world, "server", asker.datagram())
    assert drops_of(world, "server") == {"handshake_payload": 1}


def test_a_question_that_is_no_map(world):
    head = HEADER.pack(INIT, VERSION, 0, 5)
    keys = KeyPair.from_private(world.client_endpoint.settings.private_key)
    server = public_key(world.server_private_key)
    state = HandshakeState.initiator(keys, server, bytes(32), PROLOGUE + head, Random(1))
    body = head + state.write_message(b"\0\1\xc1".ljust(INIT_PAYLOAD_SIZE, b"\0"))
    receive(world, "server", body + Mac1(server).over(body) + bytes(16))
    assert drops_of(world, "server") == {"handshake_payload": 1}


def test_a_key_that_is_nobodys(world):
    asker = initiator(world, bytes(range(32)))
    asker.start(5, {"version": 1})
    receive(world, "server", asker.datagram())
    assert drops_of(world, "server") == {"peer_unknown": 1}


def test_a_message_answered_long_ago():
    world = world_of(0.030, connect=False)
    (init,) = sent_by(world.client.endpoint, world.now)
    for time, answers in ((0.0, 1), (4.9, 1), (5.1, 0)):
        endpoint = world.server.endpoint
        endpoint.handle_datagrams(0, "somewhere", init, None, time, time)
        assert len(sent_by(endpoint, time)) == answers
    assert drops_of(world, "server") == {"handshake_replayed": 1}


def test_a_cookie_that_does_not_open():
    world = world_of(0.030, connect=False)
    (init,) = sent_by(world.client.endpoint, world.now)
    head = HEADER.pack(COOKIE, VERSION, 0, envelope.index_of(init))
    receive(world, "client", head.ljust(envelope.COOKIE_SIZE, b"\0"))
    assert drops_of(world, "client") == {"handshake_cookie": 1}


def test_a_second_answer_that_differs_from_the_first():
    world = world_of(0.030, connect=False)
    answers = []
    world.on_transmit = lambda side, transmit: (
        answers.append(transmit.buffers[0]) if side is world.server else None
    )
    world.run(0.1)
    body = bytearray(answers[0][: -envelope.MACS_SIZE])
    body[60] ^= 1
    receive(world, "client", to_client(world, bytes(body), b""))
    assert drops_of(world, "client") == {"handshake_unexpected": 1}


def test_an_answer_to_a_client_that_has_asked_nothing():
    world = world_of(0.030)
    idle = ClientEndpoint(world.client_endpoint.settings, Random(1))
    head = HEADER.pack(RESPONSE, VERSION, 0, 1)
    idle.handle_datagrams(0, SERVER_ADDRESS, to_client(world, head, b""), None, 0.0, 0.0)
    assert idle.drops == {"handshake_unexpected": 1}


def test_a_hint_about_an_index_that_is_not_in_use(world):
    receive(world, "client", write_hint(12345))
    assert drops_of(world, "client") == {"hint_unexpected": 1}


def test_hints_more_often_than_once_a_second(world):
    index = session_of(world, "client").keys.current.remote_index
    for _ in range(3):
        receive(world, "client", write_hint(index))
    assert drops_of(world, "client") == {"hint_rate": 2}
    world.run(world.now + 0.5)
    receive(world, "client", write_hint(session_of(world, "client").keys.current.remote_index))
    assert drops_of(world, "client") == {"hint_rate": 3}


def test_strangers_when_half_of_the_budget_for_handshakes_is_used_up(world):
    asker = initiator(world, bytes(range(32)))
    for number in range(60):
        asker.start(number, {"version": 1})
        receive(world, "server", asker.datagram())
    dropped = drops_of(world, "server")
    assert set(dropped) == {"peer_unknown", "handshake_under_load"}
    assert dropped["handshake_under_load"] == 60 - 51


def test_askers_with_a_cookie_when_all_of_the_budget_is_used_up(world):
    asker = initiator(world, bytes(range(32)))
    cookie = None
    for number in range(120):
        asker.start(number, {"version": 1})
        receive(world, "server", asker.datagram(cookie))
        for answer in sent_by(world.server.endpoint, world.now):
            cookie = asker.read_cookie(answer)
    dropped = drops_of(world, "server")
    assert dropped["handshake_rate"] == 120 - dropped["peer_unknown"] - 1
    assert dropped["handshake_under_load"] == 1


# -- all of them ----------------------------------------------------------------------------------


def test_every_reason_that_the_core_names_has_a_test_here():
    tree = ast.parse(Path(__file__).read_text())
    asserted = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert reasons_in_core() - asserted == set()


def test_the_reasons_of_the_core_are_found():
    assert {"replayed", "queue_full", "peer_unknown", "handshake_mac1"} < reasons_in_core()


SIZES = {
    "server": [(INIT, envelope.INIT_SIZE)],
    "client": [
        (RESPONSE, envelope.RESPONSE_SIZE),
        (COOKIE, envelope.COOKIE_SIZE),
        (envelope.HINT, envelope.HINT_SIZE),
    ],
}


@pytest.fixture
def world():
    """A client and a server that are connected over one link and have dropped nothing."""
    made = world_of(0.030)
    assert drops_of(made, "client") == drops_of(made, "server") == {}
    return made


def receive(world, side, datagram):
    """What a stranger has sent comes in at a side."""
    socket, source = (0, SERVER_ADDRESS) if side == "client" else (SERVER_SOCKET, STRANGER)
    endpoint = getattr(world, side).endpoint
    endpoint.handle_datagrams(socket, source, datagram, None, world.now, world.now)


STRANGER = ("client", 0, 666)


def inject(world, side, frames, copies=1):
    """Authentic frames come in at a side, as if the other had sent them."""
    sender = session_of(world, {"client": "server", "server": "client"}[side])
    sent = sender.paths[0].sent
    number = sent.next_number + 1
    sent.next_number += 2
    (datagram,) = seal(sender.keys.current, [(0, number, frames)])
    socket, source = (
        (0, SERVER_ADDRESS) if side == "client" else (SERVER_SOCKET, ("client", 0, 40000))
    )
    for _ in range(copies):
        getattr(world, side).endpoint.handle_datagrams(
            socket, source, datagram, None, world.now, world.now
        )
    world.send(side, [])


def next_control(world, side):
    """The number of the CONTROL message that a side waits for."""
    return session_of(world, side).control._next_received


def packed(message):
    return msgpack.packb(message)


def data(packet, flags=0):
    """A DATA frame, the next of an unused lane."""
    return wire.data_head(flags, wire.position(1000, 0), 1000, None) + packet


def header(world, side, *, path_id=0, number=0):
    """The clear header of a datagram to a side's session."""
    index = session_of(world, side).keys.current.local_index
    return wire.HEADER.pack(4, path_id, index, number)


def initiator(world, private):
    return Initiator(private, public_key(world.server_private_key), bytes(32), Random(3))


def to_server(world, head, body):
    return _signed(public_key(world.server_private_key), head, body)


def to_client(world, head, body):
    return _signed(public_key(world.client_endpoint.settings.private_key), head, body)


def _signed(receiver, head, body):
    """A message of full size whose mac1 is right, whatever else it is."""
    message = (head + body).ljust(envelope.INIT_SIZE - envelope.MACS_SIZE, b"\0")
    return message + Mac1(receiver).over(message) + bytes(16)


def sent_by(endpoint, now):
    datagrams = []
    while (transmit := endpoint.poll_transmit(now)) is not None:
        datagrams.append(transmit.buffers[0])
    return datagrams


def reasons_in_core():
    """The words in `drops[...]`, in `HandshakeError(...)`, and of the handshake."""
    found = set(envelope.REASONS)
    for module in Path(mpbond.core.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("drops"):
                found |= {c.value for c in ast.walk(node.slice) if isinstance(c, ast.Constant)}
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "HandshakeError":
                found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return {reason for reason in found if isinstance(reason, str)}
