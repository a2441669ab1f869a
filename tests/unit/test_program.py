"""What both programs have in common, without running one."""

import gc

import pytest

from mpbond.runtime.program import COLLECTOR_THRESHOLDS, spare_collector


@pytest.fixture
def collector():
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
def test_the_collector_is_spared_what_was_there_and_looks_seldom():
    spare_collector()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold() == COLLECTOR_THRESHOLDS
    assert gc.isenabled()
