"""Admission: a burst is served, a queue that stands is not."""

from __future__ import annotations

from engine.admission import CALM_SECONDS, FEWEST, LATE_SECONDS, STANDING_SECONDS, Admission


def rounds(lane: Admission, waited: float, seconds: float, begin: float = 100.0) -> list[float]:
    """Rounds of 20 operations and 20 ms, each with one who waited so long; when a flood began."""
    floods = []
    for n in range(int(seconds / 0.02)):
        now = begin + n * 0.02
        if lane.left(waited, now):
            floods.append(now - begin)
        lane.came_back(20, 0.02)
    return floods


def test_short_waits_are_no_flood() -> None:
    lane = Admission()
    lane.came_back(1, 0.002)
    assert not rounds(lane, LATE_SECONDS * 0.9, 60)
    assert lane.admits(100_000, 160)


def test_a_burst_is_served() -> None:
    lane = Admission()
    lane.came_back(1, 0.002)
    for begin in range(10):
        assert not rounds(lane, 1.0, STANDING_SECONDS, 100.0 + begin)
        assert not rounds(lane, 0.0, 0.1, 100.5 + begin)
        assert lane.admits(5000, 100.6 + begin)


def test_a_queue_that_stands_is_a_flood_until_nobody_is_turned_away() -> None:
    lane = Admission()
    lane.came_back(1, 0.002)
    (begun,) = rounds(lane, 0.2, 0.6)
    assert STANDING_SECONDS < begun < STANDING_SECONDS + 0.05
    assert lane.limit is not None
    assert FEWEST <= lane.limit <= 20  # 10 ms of 1000 a second
    assert lane.admits(lane.limit - 1, 101)
    assert not lane.admits(lane.limit, 101)
    assert not lane.admits(lane.limit, 101 + CALM_SECONDS * 0.9)
    assert lane.admits(lane.limit, 101 + CALM_SECONDS * 2)
    assert lane.limit is None


def test_a_slow_disk_is_no_flood() -> None:
    """A round of one takes 40 ms, so does one of 60: both wait for the disk."""
    lane = Admission()
    for n in range(100):
        assert not lane.left(0.08, 100 + n * 0.04)
        lane.came_back(1 + n % 60, 0.04)
    (begun,) = (n for n in range(100) if lane.left(0.3, 104 + n * 0.04))
    assert begun
    for _ in range(100):
        limit = lane.limit or 0
        lane.came_back(limit // 2, 0.04)
    assert (lane.limit or 0) > 60  # it does not starve itself
