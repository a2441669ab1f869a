"""Results as measurements would make them, without a measurement: links are fed by hand."""

import math

from bench import scenarios, workloads
from bench.links.draws import seed_of
from bench.links.link import Link
from bench.results import AppFigures, Lateness, VoiceFigures, measured
from bench.systems import System, mean_rates


def made(
    *,
    clock="lab",
    scenario="equal4",
    system="weighted",
    workload="tcp1_down_cubic",
    share=0.9,
    overhead=0.95,
    seed=1,
    repetition=0,
    seconds=6.0,
    delay=0.05,
    late=False,
    **more,
):
    """A result in which `share` of what each used link offers is sent over it, by periods of 3 s.

    `overhead` is what of that arrives as payload, `delay` the call's mean one-way delay.
    """
    scene, load = scenarios.get(scenario), workloads.get(workload)
    parsed = System.parse(system)
    used = parsed.used(scene.links, load.leading)
    window = (workloads.START, workloads.START + seconds)
    ledgers, received = [], 0
    bins = round(seconds * 10)
    arrived = [0] * bins
    for number, spec in enumerate(scene.links):
        down = Link(spec.down, seed_of(seed, number, "down"))
        up = Link(spec.up, seed_of(seed, number, "up"))
        ledgers.append({"down": down.ledger, "up": up.ledger})
        if number not in used:
            continue
        forward = down if load.leading == "down" else up
        rate = mean_rates(scene.links, load.leading)[number] * share / 8
        gap = round(1500 / rate * 1e9)
        now = round(window[0] * 1e9)
        while now < window[1] * 1e9:
            swing = 1 + 0.5 * math.sin(now / 3e9 * math.tau + number)
            for arrival in forward.transmit(1500, now):
                place = int(arrival.time / 1e8) - 10
                if 0 <= place < bins:
                    arrived[place] += round(1500 * overhead)
            now += max(1, round(gap / swing))
    received = sum(arrived)
    calls = _call(round(seconds * 50), delay, seed) if load.voice else None
    both = {"down": None, "up": None}
    return measured(
        clock=clock,
        scenario=scenario,
        system=parsed.name,
        workload=load,
        seed=seed,
        repetition=repetition,
        seconds=seconds,
        window=window,
        specs=scene.links,
        ledgers=ledgers,
        link=used[0] if parsed.one_link else None,
        app=AppFigures(
            received=both | {load.leading: received},
            goodput_timeline=both | {load.leading: arrived},
            flows=[received],
            retransmits=round(100 * share),
            longest_stall=delay,
            alive=True,
            voice=calls,
            pages=[delay * 10, delay * 12, delay * 20] if load.kind == "pages" else None,
        ),
        absences=workloads.absences(load, seconds),
        cpu={"client": 2.0, "server": 1.0, "emulator": 0.5},
        lateness=Lateness(p50=0.0001, p99=0.0004, max=0.002, share_late=0.0, unread=0, overrun=0),
        valid=not late,
        reason="the emulator was late" if late else None,
        started="2026-01-02T03:04:05+00:00",
        **more,
    )


def made_of(case, **more):
    """What measuring a case would give; the rest as `made` takes it."""
    return made(
        scenario=case.scenario,
        system=case.system,
        workload=case.workload,
        seed=case.seed,
        repetition=case.repetition,
        seconds=case.seconds,
        **more,
    )


def _call(count, delay, seed):
    """A call whose delays swing about a mean; every fiftieth packet is lost on the way up."""

    def way(phase, lost):
        return [
            None
            if lost and n % lost == lost - 1
            else delay * (1 + 0.9 * math.sin((n + phase) / 40) ** 3)
            for n in range(count)
        ]

    up, down = way(seed, 50), way(seed + 20, 0)
    back = [None if a is None or b is None else a + b for a, b in zip(up, down, strict=True)]
    return VoiceFigures(sent=count, up=up, down=down, round_trips=back)
