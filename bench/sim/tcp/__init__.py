"""A model of TCP at the level of packets, close to Linux, in virtual time and without chance.

connection      one end: handshake, segments in and out, the end
  segment       packets as bytes
  receiver      order, SACK and DSACK blocks, when to acknowledge
  sender        what an acknowledgement and a timer do
    flow        the numbers that all parts share
    output      what is let out, and the pacer
    scoreboard  the packets under way (`sent`), what is known of each
    rack        which of them are lost
    recovery    reducing the window, and taking that back
    timer, rtt  retransmission timeout and tail loss probe
    sample      delivery rate and round trip of one acknowledgement
    congestion  cubic (with hystart), bbr (with maximum, policer)
"""

from bench.sim.tcp.connection import Connection
from bench.sim.tcp.segment import Segment, addresses_of, flags_of, ports_of

__all__ = ["Connection", "Segment", "addresses_of", "flags_of", "ports_of"]
