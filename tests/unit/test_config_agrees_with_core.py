"""The words of the configuration are those of the core, most of which it does not import to stay quick."""

from __future__ import annotations

from mpbond import config
from mpbond.core import scheduler


def test_every_scheduler_can_be_configured():
    assert set(config.SCHEDULERS) == set(scheduler.SCHEDULERS)


def test_the_default_scheduler_is_the_cores():
    default = config.ServerConfig(path=None, private_key=bytes(32), public_key=bytes(32)).scheduler
    assert default == scheduler.DEFAULT_SCHEDULER
