"""Admission: a burst is served, a queue that stands is not, a slow disk is nobody's fault."""

from __future__ import annotations

import itertools

from engine.admission import CALM_SECONDS, FEWEST, LATE_SECONDS, MOST, STANDING_SECONDS, Admission

SIZES = [20, 26, 14, 22, 18, 30, 10]


def rounds(
    lane: Admission,
    waited: float,
    seconds: float,
    *,
    begin: float = 100.0,
    anyway: float = 0.0,
    each: float = 0.001,
) -> list[float]:
    """Rounds of some 20 operations, each with one who waited so long; when a flood began."""
    floods: list[float] = []
    now = begin
    for size in itertools.cycle(SIZES):
        if now >= begin + seconds:
            return floods
        if lane.left(waited, now):
            floods.append(now - begin)
        lane.came_back(size, anyway + size * each)
        now += anyway + size * each
    raise AssertionError


def test_short_waits_are_no_flood() -> None:
    lane = Admission()
    assert not rounds(lane, LATE_SECONDS * 0.9, 60)
    assert lane.admits(100_000, 160)


def test_a_burst_is_served() -> None:
    lane = Admission()
    for begin in range(10):
        assert not rounds(lane, 1.0, STANDING_SECONDS, begin=100.0 + begin)
        assert not rounds(lane, 0.0, 0.1, begin=100.5 + begin)
        assert lane.admits(5000, 100.6 + begin)


def test_a_queue_that_stands_is_a_flood_until_nobody_is_turned_away() -> None:
    lane = Admission()
    (begun,) = rounds(lane, 0.2, 0.6)
    assert STANDING_SECONDS < begun < STANDING_SECONDS + 0.05
    limit = lane.limit or 0
    assert limit in range(FEWEST, 11)  # 8 ms of a millisecond each
    assert lane.admits(limit - 1, 101)
    assert not lane.admits(limit, 101)
    assert not lane.admits(limit, 101 + CALM_SECONDS * 0.9)
    assert lane.admits(limit, 101 + CALM_SECONDS * 2)
    assert lane.limit is None


def test_a_fast_lane_holds_more() -> None:
    lane = Admission()
    assert rounds(lane, 0.2, 2, anyway=0.004, each=0.00004)
    assert lane.limit in range(560, 640)  # 24 ms of 40 us each


def test_where_the_disk_is_slow_nobody_is_turned_away() -> None:
    """A round of one takes 100 ms, so does one of 30: fewer would wait as long."""
    lane = Admission()
    assert rounds(lane, 0.2, 60, anyway=0.1, each=0.00004)
    assert lane.limit == MOST
