"""Problem documents: what a refusal looks like, in both languages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.problems import plain, problem
from api.routes import preferred
from engine.outcomes import SENTENCES, Outcome
from tests.api.server import Api


@pytest.mark.parametrize("outcome", [one for one in Outcome if one in SENTENCES])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_every_outcome(outcome: Outcome, language: str) -> None:
    """The members that RFC 9457 and the contract ask for."""
    members = json.loads(plain(outcome, language, say=False))
    assert members == problem(outcome, language)
    assert set(members) == {"type", "title", "status", "code", "detail"}
    assert members["type"] == f"/problems/{members['code']}"
    assert json.loads(plain(outcome, language, say=True))["say"] == members["detail"]


@pytest.mark.parametrize(
    ("details", "member", "value"),
    [
        ({"short_by": 1234}, "detail", "12.34 more is needed to use it."),
        ({"short_by": 1234}, "short_by", 1234),
        ({"retry_at": 1_767_225_600_000}, "retry_at", "2026-01-01T00:00:00.000Z"),
        ({"until": 1_767_225_600_001}, "until", "2026-01-01T00:00:00.001Z"),
        ({"coupon_id": "C1"}, "coupon_id", "C1"),
        ({"detail": "Said otherwise."}, "detail", "Said otherwise."),
        (
            {"failed": [{"coupon_id": "C1", "outcome": Outcome.HELD, "short_by": 0}]},
            "failed",
            [{"coupon_id": "C1", "code": "held"}],
        ),
        (
            {"failed": [{"coupon_id": "C1", "outcome": Outcome.MIN_SPEND, "short_by": 5}]},
            "failed",
            [{"coupon_id": "C1", "code": "min_spend", "short_by": 5}],
        ),
    ],
)
def test_what_helps(details: dict[str, Any], member: str, value: object) -> None:
    """Details of the engine as members: times spelled, outcomes by their codes."""
    assert problem(Outcome.MIN_SPEND, "en", **details)[member] == value


def test_what_is_not_known_is_left_out() -> None:
    """A member that is None says nothing."""
    assert "field" not in problem(Outcome.INVALID_REQUEST, "en", field=None)


async def test_types_can_be_looked_up(api: Api) -> None:
    """A problem's type is a path on the same server."""
    refused = await api.get("/v1/nothing")
    meaning = await api.get(refused.json["type"], key="")
    assert meaning.json == {
        "code": "not_found",
        "status": 404,
        "en": "There is no such thing here.",
        "zh-CN": "未找到。",
    }
    assert (await api.get("/problems/done", key="")).status == 404
    assert (await api.get("/problems/nothing", key="")).status == 404


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("image/*", "image/svg+xml"),
        ("image/png, image/svg+xml;q=0.9", "image/png"),
        ("image/png;q=0.5, application/json;q=0.6", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("text/html", "application/json"),
        ("image/png;q=0, */*", "application/json"),
        ("application/json;q=0, image/svg+xml;q=0.1", "image/svg+xml"),
        ("image/png;q=oops", "application/json"),
        (",;=,", "application/json"),
    ],
)
def test_media_types_that_are_preferred(accept: str, best: str) -> None:
    """Accept as RFC 9110 has it; the first one where nothing fits."""
    assert preferred(accept, ("application/json", "image/svg+xml", "image/png")) == best
