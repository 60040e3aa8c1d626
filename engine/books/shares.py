"""How what the books have of something is split over the cells."""

from __future__ import annotations

from collections.abc import Sequence


def spread(shares: Sequence[int], add: int) -> list[int]:
    """``shares`` after ``add`` more (>= 0), given to the smallest first: as even as can be."""
    result = list(shares)
    by_size = sorted(range(len(shares)), key=lambda cell: (shares[cell], cell))
    for count in range(1, len(shares) + 1):
        lowest = by_size[:count]
        pool = sum(shares[cell] for cell in lowest) + add
        if count == len(shares) or pool <= count * shares[by_size[count]]:
            each, rest = divmod(pool, count)
            for position, cell in enumerate(sorted(lowest)):
                result[cell] = each + (position < rest)
            break
    return result
