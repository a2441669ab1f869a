"""How a call would sound: a mean opinion score by the E-model (ITU-T G.107), for G.711.

    R = 93.2 - Idd(delay) - Ie_eff(loss)        MOS = 1 + 0.035 R + R (R - 60) (100 - R) 7e-6

93.2 is what the E-model gives with all its parameters at their defaults (G.107, 7.7); echo is taken to
be cancelled, so delay counts by `Idd` alone, which is 0 up to 100 ms (G.107, 7.4.3). Loss counts by
the effective equipment impairment with the values of G.711 with packet loss concealment, Ie = 0 and
Bpl = 25.1 (G.113, Appendix I), and with the burst ratio (G.107, 7.5): how much longer runs of lost
packets are than chance would make them. Long runs lie outside of what ITU-T has validated; there the
score says "bad" and its digits mean little.

A receiver plays packets out at a fixed delay; one that comes later is as good as lost. A small delay
loses more, a large one is heard as such. The buffer assumed here chooses anew for every `STRETCH` of the
call, about as well as can be done: the play-out delay that gives the highest R, among those that are the
delay of some share of the packets. To it the `PACKET` is added that the sender waits to fill a packet.
The score of a call is the mean of the scores of its stretches.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

R_DEFAULT = 93.2
G711_IE = 0.0
G711_BPL = 25.1
PACKET = 0.020
"""Seconds of sound in a packet."""
STRETCH = 500
"""Packets (10 s) for which the play-out delay stays the same."""
PLAYED = (0.5, 0.75, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0)
"""Shares of the packets that a candidate for the play-out delay waits for."""


def delay_impairment(delay: float) -> float:
    """Idd of G.107 for a delay from mouth to ear in seconds."""
    if delay <= 0.1:
        return 0.0
    x = math.log2(delay / 0.1)
    return 25 * (_root(1 + x**6) - 3 * _root(1 + (x / 3) ** 6) + 2)


def loss_impairment(loss: float, burst_ratio: float = 1.0) -> float:
    """Ie_eff of G.107 for a share of packets lost."""
    percent = 100 * loss
    if percent == 0:
        return G711_IE
    return G711_IE + (95 - G711_IE) * percent / (percent / burst_ratio + G711_BPL)


def rating(delay: float, loss: float, burst_ratio: float = 1.0) -> float:
    """R of the E-model, from 0 to 93.2, for a delay from mouth to ear (s) and a share lost."""
    return max(0.0, R_DEFAULT - delay_impairment(delay) - loss_impairment(loss, burst_ratio))


def score(r: float) -> float:
    """The mean opinion score (1 to 4.5) that belongs to an R (G.107, Annex B)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    # The cubic dips below 1 for the smallest R.
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def burst_ratio(lost: Sequence[bool]) -> float:
    """The mean length of runs of lost packets, over what random loss of that share would give."""
    total = sum(lost)
    if total in (0, len(lost)):
        return 1.0
    runs = sum(1 for value, _ in itertools.groupby(lost) if value)
    return max(1.0, total / runs * (1 - total / len(lost)))


def mean_opinion(delays: Sequence[float | None]) -> float | None:
    """The score of one direction of a call by the delay (s) of each packet, None for a lost one.

    None without packets.
    """
    if not delays:
        return None
    stretches = [delays[start : start + STRETCH] for start in range(0, len(delays), STRETCH)]
    if len(stretches) > 1 and len(stretches[-1]) < STRETCH // 2:
        stretches[-2:] = [[*stretches[-2], *stretches[-1]]]
    scores = [(len(stretch), score(_best_rating(stretch))) for stretch in stretches]
    return sum(count * one for count, one in scores) / len(delays)


def _best_rating(delays: Sequence[float | None]) -> float:
    arrived = sorted(delay for delay in delays if delay is not None)
    if not arrived:
        return 0.0
    candidates = {arrived[math.ceil(share * len(arrived)) - 1] for share in PLAYED}
    return max(_played_at(delays, candidate) for candidate in candidates)


def _played_at(delays: Sequence[float | None], playout: float) -> float:
    lost = [delay is None or delay > playout for delay in delays]
    return rating(playout + PACKET, sum(lost) / len(lost), burst_ratio(lost))


def _root(value: float) -> float:
    return math.pow(value, 1 / 6)
