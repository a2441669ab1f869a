"""What both ends of a session tell each other, by CONTROL: rules, how fast paths are, what waits for what.

A client asks the server to class by its rules, since it alone knows what its user wants first; the list
counts once it is whole. Each side tells what it has learned of the paths it sends on, so that status can
show both directions on either side, and that a client can remember it: a path that comes again begins with
that. And each side says how late the other one is to hand on the packets of which lanes (core.even).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mpbond.core.control import ControlChannel
from mpbond.core.even import Evened
from mpbond.core.outbound import Outbound
from mpbond.core.path import Path
from mpbond.core.rules import Rule, rule_from_map, rule_to_map
from mpbond.core.scheduler import SCHEDULERS
from mpbond.core.stats import Drops

MAXIMUM_RULES = 256  # that a client may ask for
NEWS = 0.1  # of a rate: a smaller change is not told


class Agreement:
    """One side's part in it. `on_message` takes what the other one says."""

    def __init__(
        self,
        paths: Mapping[int, Path],
        outbound: Outbound,
        control: ControlChannel,
        drops: Drops,
        evened: Evened,
        *,
        is_client: bool,
    ) -> None:
        self._paths = paths
        self._outbound = outbound
        self._control = control
        self._drops = drops
        self._evened = evened
        self._is_client = is_client
        self._rules: list[Rule] = []  # of a list that is not whole yet
        self._told_rates: dict[int, int] = {}

    def tell_rules(self, rules: Sequence[Rule]) -> None:
        """Ask the server to class what it sends by these rules, in messages of one rule each."""
        count = len(rules)
        self._control.post({"rules": count})
        for number, rule in enumerate(rules):
            self._control.post({"rule": rule_to_map(rule), "number": number, "of": count})

    def tell_rates(self) -> None:
        """Tell the peer how fast our paths have been found to be, if that is news."""
        rates = {
            path.id: round(path.rate.rate * 8) for path in self._paths.values() if path.rate.learned
        }
        told = self._told_rates
        if any(abs(rate - told.get(at, 0)) > NEWS * rate for at, rate in rates.items()):
            self._told_rates = rates
            self._control.post({"rates": [list(item) for item in rates.items()]})

    def tell_even(self) -> None:
        """Ask the peer to hand on our packets as the lanes' delays are to be evened out, if that is news."""
        news = self._outbound.even.news()
        if news is not None:
            self._control.post(news)

    def tell_remembered(self, path: Path, rate: float) -> None:
        """Tell the server how fast it could send on a path the last time, in bits per second."""
        self._control.post({"remembered": [path.id, round(rate)]})

    def on_message(self, message: dict[str, Any], now: float) -> bool:
        """Take a CONTROL message that is about the session itself; False if it is not."""
        if "rates" in message:
            self._on_rates(message["rates"])
        elif "even" in message:
            if not self._evened.take(message):
                self._drops["even_malformed"] += 1
        elif "remembered" in message and not self._is_client:
            self._on_remembered(message["remembered"], now)
        elif "rules" in message and not self._is_client:
            self._rules = []
            if message["rules"] == 0:
                self._outbound.set_rules(())
        elif "rule" in message and not self._is_client:
            self._on_rule(message)
        else:
            return False
        return True

    def _on_rates(self, rates: object) -> None:
        """What the peer has learned: how fast it can send on each path."""
        for item in rates if isinstance(rates, list) else ():
            match item:
                case [int(path_id), int(rate)] if path_id in self._paths:
                    self._paths[path_id].peer_rate = float(rate)

    def _on_remembered(self, item: object, now: float) -> None:
        """Begin there, unless the path has taught us better already."""
        match item:
            case [int(path_id), int(rate)] if path_id in self._paths and rate > 0:
                self._paths[path_id].remember(rate, now)

    def _on_rule(self, message: dict[str, Any]) -> None:
        if message.get("number") != len(self._rules) or len(self._rules) >= MAXIMUM_RULES:
            self._drops["rule_malformed"] += 1
            return
        try:
            rule = rule_from_map(message["rule"])
        except ValueError:
            self._drops["rule_malformed"] += 1
            return
        if rule.scheduler is not None and rule.scheduler not in SCHEDULERS:
            self._drops["rule_malformed"] += 1
            return
        self._rules.append(rule)
        if len(self._rules) == message.get("of"):
            self._outbound.set_rules(self._rules)
