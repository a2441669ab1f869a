"""Figures that only some measurements have: they are made for one question, and asked by `bench.targets`.

Each knows from the workload, or the scenario, when what happened, and gives None where a result is not of
that kind or too short to tell. Times are seconds of the links' clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import scenarios, workloads
from bench.report.figures import LESS, METRICS, MORE, Metric
from bench.systems import mean_rates

if TYPE_CHECKING:
    from bench.results import Result, Timeline

SETTLED = 3.0
"""Seconds after which a link that is there again shall be in use as before."""
COMPARED = 3.0
"""Seconds over which its use is compared."""
NOTICED = 1.0
"""Seconds after which the queue of a link that has become slow shall be short."""
DATAGRAM = 1472 / 1500
"""What of a full packet of a link is a datagram's payload: rates are learned of that."""
USUAL = 0.9
"""A learned rate is told by the error that it does not exceed for this share of the time."""


def use_again(result: Result) -> float | None:
    """Return how much of a link is used when trouble is over, as a share of what was used before."""
    timeline, workload = result.timeline, workloads.WORKLOADS.get(result.workload)
    if timeline is None or workload is None or workload.trouble not in ("pull", "silent", "bad"):
        return None
    first, last = (event.time for event in workloads.events(workload, result.seconds))
    before = _use(timeline, workload.victim, first - COMPARED, first)
    after = _use(timeline, workload.victim, last + SETTLED, last + SETTLED + COMPARED)
    return after / before if before and after is not None else None


def queue_after_fall(result: Result) -> float | None:
    """Return the longest queue (ms) of a link from a second after it became slow until it is fast again.

    A queue is the time until all that stands in it has left. What leaves at a time after a wait stood
    there since the second for that wait at most, and no longer than since the second, whenever it came.
    The books tell the longest wait by 0.1 s, not when in them that packet left; it counts as their
    middle, so a queue from before the second is told to within 50 ms, one that grew later exactly.
    """
    timeline = result.timeline
    if timeline is None or result.scenario != "falling":
        return None
    fall, rise = scenarios.FALLING
    step = timeline.step
    first = _place(timeline, fall)
    waits = timeline.wait_down[0][first : _place(timeline, rise)]
    if len(waits) < round((rise - fall) / step):
        return None
    middle = timeline.start + (first + 0.5) * step - (fall + NOTICED)
    return 1e3 * max(max(0.0, min(wait, middle + n * step)) for n, wait in enumerate(waits))


def use_after_rise(result: Result) -> float | None:
    """Return what of a link is used three seconds after it became fast again, as a share of its rate."""
    if result.timeline is None or result.scenario != "falling":
        return None
    since = scenarios.FALLING[1] + SETTLED
    return _use(result.timeline, 0, since, since + COMPARED)


def rate_error(result: Result) -> float | None:
    """Return by how many percent the rate learned of the worst link is wrong, most of the time.

    The first half of the window is for learning. Links of `noisy3` may be alone, as "noisy3.1".
    """
    if result.tunnel is None or result.scenario.partition(".")[0] != "noisy3":
        return None
    worst = 0.0
    if not result.tunnel.rates:
        return None
    rates = mean_rates(scenarios.get(result.scenario).links, "down")
    for true, learned in zip(rates, result.tunnel.rates["down"], strict=True):
        known = learned[len(learned) // 2 :]
        errors = sorted(abs((rate or 0.0) / (true * DATAGRAM) - 1) for rate in known)
        if not errors:
            return None
        worst = max(worst, errors[int(USUAL * (len(errors) - 1))])
    return 100 * worst


def idle_cost(result: Result) -> float | None:
    """Return what the busiest link carried both ways while nothing was sent, in kbit/s."""
    timeline = result.timeline
    if timeline is None or result.workload != "idle":
        return None
    both = zip(timeline.down, timeline.up, strict=True)
    return max(sum(down) + sum(up) for down, up in both) * 8 / result.seconds / 1e3


def reply_cost(result: Result) -> float | None:
    """Return what of all uplinks is used while data goes down that nobody answers inside, in percent."""
    timeline = result.timeline
    if timeline is None or result.workload != "udp":
        return None
    offered = sum(map(sum, timeline.capacity_up))
    return 100 * sum(map(sum, timeline.up)) / offered if offered else None


def fairness(result: Result) -> float | None:
    """Return what the client box with least received, as a share of that with most."""
    return min(result.boxes) / max(result.boxes) if any(result.boxes) else None


def _use(timeline: Timeline, link: int, since: float, until: float) -> float | None:
    """Return what of a link's capacity down is used in a time; None if that was not measured."""
    places = slice(_place(timeline, since), _place(timeline, until))
    used, offered = timeline.down[link][places], timeline.capacity_down[link][places]
    if since < timeline.start - 1e-6 or len(used) < round((until - since) / timeline.step):
        return None
    return sum(used) / sum(offered) if sum(offered) else None


def _place(timeline: Timeline, time: float) -> int:
    return max(0, round((time - timeline.start) / timeline.step))


READINGS: dict[str, Metric] = METRICS | {
    metric.name: metric
    for metric in (
        Metric(
            "lost",
            "packets lost in the tunnel",
            lambda one: None if one.tunnel is None else float(one.tunnel.lost),
            0,
            LESS,
        ),
        Metric("use_again", "use of the link, of before", use_again, 2, MORE),
        Metric("queue_after_fall", "queue 1 s after the fall, ms", queue_after_fall, 0, LESS),
        Metric("use_after_rise", "use 3 s after the rise", use_after_rise, 2, MORE),
        Metric("rate_error", "learned rate wrong by, %", rate_error, 0, LESS),
        Metric("idle_cost", "busiest idle path, kbit/s", idle_cost, 2, LESS),
        Metric("reply_cost", "of the uplinks for ACKs, %", reply_cost, 2, LESS),
        Metric("fairness", "least of most", fairness, 2, MORE),
    )
}
"""All figures there are: those of reports, and these."""
