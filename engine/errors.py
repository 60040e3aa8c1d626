"""Faults that callers of the engine can meet; a refusal by a rule is an ``Outcome``, never these.

Imports nothing of ours.
"""

from __future__ import annotations


class HexiaoError(Exception):
    """Base of all faults that we raise on purpose."""


class InvalidRequest(HexiaoError):  # noqa: N818 - named as the code that callers see
    """The request is not whole or names something that is not built.

    ``field`` is where, as a JSON path without ``$.`` (``basket.lines[0].amount``), a query
    parameter or a header; ``detail`` is one English sentence, ``detail_zh`` the Chinese one.
    """

    def __init__(self, field: str, detail: str, detail_zh: str = "") -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.field = field
        self.detail = detail
        self.detail_zh = detail_zh


class Unavailable(HexiaoError):  # noqa: N818 - a state of the service, not a mistake of the caller
    """The act could not be done, or nobody knows whether it was: ask again with the same key.

    ``recovering``: the cell is fenced until it has been compared with the books.
    ``retry_after``: seconds.
    """

    def __init__(
        self, detail: str = "", *, recovering: bool = False, retry_after: float = 1
    ) -> None:
        super().__init__(detail or ("recovering" if recovering else "overloaded"))
        self.recovering = recovering
        self.retry_after = retry_after


class CannotStart(HexiaoError):  # noqa: N818 - says what to set, not what broke
    """A setting or a server that the engine refuses to run with; the message is one sentence."""
