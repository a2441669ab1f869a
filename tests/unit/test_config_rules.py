"""`[[rule]]` tables: what they come to in the core, and what is said if they come to nothing."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from mpbond.config import SCHEDULERS, rules
from mpbond.config.place import Place
from mpbond.core.packet import BULK, KINDS, NORMAL, REALTIME
from mpbond.core.rules import Rule, rule_from_map, rule_to_map
from mpbond.errors import ConfigError
from tests.unit.test_docs import OPERATIONS, rows

PLACE = Place(Path("mpbond.toml"), "rule")


def one(**table):
    (rule,) = rules.rules(PLACE, [table])
    return rule


def sentence(*tables):
    with pytest.raises(ConfigError) as caught:
        rules.rules(PLACE, list(tables))
    return str(caught.value).removeprefix("mpbond.toml: ")


def test_everything_that_can_be_said():
    found = one(
        name="calls",
        dscp=["EF", "cs5", 44],
        protocol="UDP",
        ports=[5060, "10000-20000"],
        prefixes=["192.0.2.0/24", "2001:db8::/32"],
        **{"class": "realtime"},
        scheduler="redundant",
    )
    assert found == Rule(
        name="calls",
        dscp=frozenset((46, 40, 44)),
        protocol=17,
        ports=((5060, 5060), (10000, 20000)),
        prefixes=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
        kind=REALTIME,
        scheduler="redundant",
    )
    assert rule_from_map(rule_to_map(found)) == found


def test_a_list_of_one_needs_no_brackets():
    assert one(dscp="LE", scheduler="rr") == one(dscp=["LE"], scheduler="rr")
    assert one(ports=22, scheduler="rr") == one(ports=["22"], scheduler="rr")
    assert one(prefixes="::/0", scheduler="rr") == one(prefixes=["::/0"], scheduler="rr")


def test_the_order_of_the_file_is_kept_and_a_rule_without_a_name_goes_by_it():
    found = rules.rules(
        PLACE, [{"ports": 22, "class": "realtime"}, {"protocol": "tcp", "class": "bulk"}]
    )
    assert [(rule.name, rule.kind) for rule in found] == [("rule 1", REALTIME), ("rule 2", BULK)]


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("BE", 0),
        ("LE", 1),
        ("CS1", 8),
        ("AF11", 10),
        ("af43", 38),
        ("VA", 44),
        ("EF", 46),
        (63, 63),
    ],
)
def test_marks(word, number):
    assert one(dscp=word, scheduler="rr").dscp == {number}


@pytest.mark.parametrize(
    ("word", "number"), [("tcp", 6), ("icmp", 1), ("ICMPv6", 58), ("esp", 50), (0, 0), (255, 255)]
)
def test_protocols(word, number):
    assert one(protocol=word, **{"class": "normal"}).protocol == number
    assert one(protocol=word, **{"class": "normal"}).kind == NORMAL


SENTENCES = [
    (
        {"class": "bulk"},
        "rule[0]: matches every packet; say what it is for, by dscp, protocol, ports or prefixes.",
    ),
    ({"dscp": "EF"}, "rule[0]: does nothing; add class or scheduler."),
    (
        {"port": 22, "class": "bulk"},
        "rule[0].port: is not a key that mpbond knows; did you mean ports?",
    ),
    (
        {"dscp": "AF44", "class": "bulk"},
        'rule[0].dscp: "AF44" is not known here; use a name such as "EF", "CS1" or "AF41", or a '
        "number from 0 to 63.",
    ),
    (
        {"dscp": [46, 64], "class": "bulk"},
        'rule[0].dscp[1]: 64 is not known here; use a name such as "EF", "CS1" or "AF41", or a '
        "number from 0 to 63.",
    ),
    ({"dscp": [], "class": "bulk"}, "rule[0].dscp: is empty; name at least one, or leave the key"),
    (
        {"protocol": "quic", "class": "bulk"},
        'rule[0].protocol: "quic" is not known here; use icmp, tcp, udp, dccp, gre, esp, ah, '
        "icmpv6, sctp, udplite in quotes, or a number from 0 to 255.",
    ),
    ({"protocol": True, "class": "bulk"}, "rule[0].protocol: true is not known here; use icmp,"),
    (
        {"protocol": "esp", "ports": 22, "class": "bulk"},
        'rule[0].ports: this protocol has no ports; leave out one of them, or use "tcp" or "udp".',
    ),
    (
        {"ports": "70000", "class": "bulk"},
        'rule[0].ports: "70000" is out of range; write a port such as 5060 or a span such as '
        '"5060-5070", within 1 to 65535.',
    ),
    ({"ports": "9-1", "class": "bulk"}, 'rule[0].ports: "9-1" is out of range; write a port'),
    ({"ports": "ssh", "class": "bulk"}, 'rule[0].ports: "ssh" is no port; write a port'),
    ({"ports": "1-2-3", "class": "bulk"}, 'rule[0].ports: "1-2-3" is no port; write a port'),
    ({"ports": "-3", "class": "bulk"}, 'rule[0].ports: "-3" is no port; write a port'),
    ({"ports": True, "class": "bulk"}, "rule[0].ports: true is a boolean; write a port"),
    ({"ports": [22, 22], "class": "bulk"}, "rule[0].ports[1]: 22 stands here twice; remove one."),
    (
        {"prefixes": "192.0.2.1/24", "class": "bulk"},
        'rule[0].prefixes: "192.0.2.1/24" has host bits set; write 192.0.2.0/24.',
    ),
    (
        {"dscp": "EF", "class": "fast"},
        'rule[0].class: "fast" is not a choice here; use "normal", "realtime" or "bulk".',
    ),
    (
        {"dscp": "EF", "scheduler": "best"},
        'rule[0].scheduler: "best" is not a choice here; use "',
    ),
    (
        {"name": "x" * 65, "dscp": "EF", "class": "bulk"},
        f'rule[0].name: "{"x" * 59}… is too long; use at most 64 bytes.',
    ),
    (
        {"prefixes": [f"2001:db8:{n:x}::/48" for n in range(40)], "class": "bulk"},
        "rule[0]: is too long to be told to the server; make two rules of it.",
    ),
    ("EF", 'rule[0]: "EF" is text; write it as a table, [rule[0]].'),
]


@pytest.mark.parametrize(("table", "told"), SENTENCES)
def test_the_sentence_names_place_fault_and_remedy(table, told):
    assert sentence(table).startswith(told)


def test_too_many_rules():
    table = {"dscp": "EF", "class": "bulk"}
    assert sentence(*[table] * (rules.MAXIMUM_RULES + 1)) == (
        "rule: 65 rules; keep to 64; one rule can name many ports and prefixes."
    )


def test_a_single_table_is_told_the_brackets():
    with pytest.raises(ConfigError, match=r"write \[\[rule\]\] for each rule"):
        rules.rules(PLACE, {"dscp": "EF"})


def test_every_key_of_a_rule_is_described_and_no_other():
    described = {cells[0].strip("`") for cells in rows(OPERATIONS, "### `[[rule]]`", 4)}
    assert described == set(rules._RULE)


def test_every_scheduler_is_described_and_no_other():
    described = {cells[0].strip("`") for cells in rows(OPERATIONS, "### Schedulers", 2)}
    assert described == set(SCHEDULERS)


def test_every_class_is_described_and_no_other():
    assert {cells[0] for cells in rows(OPERATIONS, "### Classes", 3)} == set(KINDS)
