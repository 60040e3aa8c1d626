"""Who is told to come back when more is asked of a cell than it can do.

A burst is served: a few thousand at ten o'clock are gone in a quarter of a second. A queue that
*stands* serves nobody: it only makes everyone wait. (Nichols and Jacobson, "Controlling Queue
Delay", ACM Queue 10(5), 2012, tell the two apart by how long it lasts.) So when every round for a
while has carried some who waited long, the lane is flooded: it lets in as many claims as make short
rounds, and answers the others at once. What takes coupons back or lets a car out is never turned
away for that.

A round costs something however few are in it, the sync of the disk above all, and something for
each of them. Only the second is saved by turning people away, so the two are told apart (a line
through the latest rounds, by least squares): where the disk is slow everybody waits, and fewer
would wait as long.
"""

from __future__ import annotations

LATE_SECONDS = 0.05  # that a claim waits before it leaves are too many
STANDING_SECONDS = 0.4  # of that make a flood
SHORT_SECONDS = 0.004  # of work for those in it, beyond what it costs anyway, make a short round
CALM_SECONDS = 1.0  # without anybody turned away end a flood
FEWEST, MOST = 8, 1024  # claims that a flooded lane holds
_LATEST = 0.02  # weight of a new round among the latest


class Admission:
    """One lane's. Times are of the event loop's clock, in seconds."""

    def __init__(self) -> None:
        self.limit: int | None = None  # operations that may be inside while it is flooded
        self._late_since = 0.0  # since when each round carried some who waited long; 0 = not
        self._turned_away = 0.0  # when somebody was, last
        # Of the latest rounds: mean operations and seconds, variance and covariance.
        self._operations = self._seconds = self._variance = self._covariance = 0.0

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
        if waited < LATE_SECONDS:
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
        more, longer = operations - self._operations, seconds - self._seconds
        self._operations += _LATEST * more
        self._seconds += _LATEST * longer
        self._variance = (1 - _LATEST) * (self._variance + _LATEST * more * more)
        self._covariance = (1 - _LATEST) * (self._covariance + _LATEST * more * longer)
        if self.limit is not None:  # up by steps: one odd round must not let a crowd in
            self.limit = min(self._most(), self.limit * 5 // 4)

    def _most(self) -> int:
        """As many as make one short round that is on its way, and one that waits."""
        each = max(0.0, self._covariance / self._variance) if self._variance else 0.0
        anyway = max(0.0, self._seconds - each * self._operations)
        # So many that what a round costs anyway is a third of it at most.
        wanted = 2 * (2 * anyway + SHORT_SECONDS)
        return max(FEWEST, min(MOST, int(wanted / each))) if wanted < each * MOST else MOST
