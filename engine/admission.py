"""Who is told to come back when more is asked of a cell than it can do.

A burst is served: a few thousand at ten o'clock are gone in a quarter of a second. A queue that
*stands* serves nobody: it only makes everyone wait. So when even the one who waited longest of
each round has waited too long for a while, the lane is flooded: from then on it takes only as
many claims as it can carry within a short wait, and answers the others at once. What takes coupons
back or lets a car out is never turned away for that. (Nichols and Jacobson, "Controlling Queue
Delay", ACM Queue 10(5), 2012, tells a burst from a standing queue in this way.)
"""

from __future__ import annotations

LATE_SECONDS = 0.05  # that a claim waits before it leaves are too many
STANDING_SECONDS = 0.4  # of that make a flood
SHORT_SECONDS = 0.01  # of work are let in while it lasts
CALM_SECONDS = 1.0  # without anybody turned away end it
FEWEST = 8  # claims that a flooded lane takes at least
_SHARE = 0.2  # of the latest round in the moving average
_FORGET = 1.02  # a round by which the shortest one is taken to be longer


class Admission:
    """One lane's. Times are of the event loop's clock, in seconds."""

    def __init__(self) -> None:
        self.limit: int | None = None  # claims that may be inside while it is flooded
        self._late_since = 0.0  # since when the longest wait of each round was too long; 0 = not
        self._turned_away = 0.0  # when somebody was, last
        self._rate = 0.0  # operations a second while it works
        self._shortest = 0.0  # of the rounds lately: what one costs however few are in it

    def admits(self, inside: int, now: float) -> bool:
        """Whether one more claim may come in, with so many operations inside."""
        if self.limit is None or inside < self.limit:
            return True
        if now - self._turned_away > CALM_SECONDS:  # also after a pause of all
            self.limit, self._late_since = None, 0.0
            return True
        self._turned_away = now
        return False

    def left(self, waited: float, now: float) -> bool:
        """A round leaves; ``waited``: its longest. Whether this is where a flood begins."""
        if waited < max(LATE_SECONDS, 4 * self._shortest):
            self._late_since = 0.0
        elif not self._late_since:
            self._late_since = now
        elif self.limit is None and now - self._late_since > STANDING_SECONDS:
            self._turned_away = now
            self.limit = self._most()
            return True
        return False

    def came_back(self, operations: int, seconds: float) -> None:
        """A round of so many operations took so long."""
        self._rate += _SHARE * (operations / max(seconds, 1e-6) - self._rate)
        forget = _FORGET if self.limit is None else 1.0  # in a flood every round is long
        self._shortest = min(seconds, self._shortest * forget or seconds)
        if self.limit is not None:
            self.limit = self._most()

    def _most(self) -> int:
        # Where the disk is slow a round of few takes long as well: one leaves while another waits.
        short = max(SHORT_SECONDS, 3 * self._shortest)
        return max(FEWEST, int(self._rate * short))
