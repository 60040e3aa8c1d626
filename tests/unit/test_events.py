"""What a ticket's definition must be, and what its terms and rules say of the event."""

from __future__ import annotations

from typing import Any

import pytest

from engine.definitions import (
    InvalidDefinitionError,
    checked,
    compile_issue,
    compile_terms,
    merge_patch,
    parse_time,
    rules_text,
)
from engine.definitions.advice import advice

EVENT = {
    "id": "expo",
    "starts_at": "2026-05-01T18:00:00+08:00",
    "ends_at": "2026-05-01T22:00:00+08:00",
    "entry_from": "2026-05-01T17:00:00+08:00",
    "entry_until": "2026-05-01T21:30:00+08:00",
}


def ticket(changed: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    body = {
        "id": "expo-day", "name": "Expo", "kind": "ticket", "stock": {"total": 100},
        "benefit": {"type": "admission", "value": 5000}, "validity": {"type": "relative"},
        "event": EVENT | (changed or {}),
    }  # fmt: skip
    return {name: value for name, value in (body | parts).items() if value is not ...}


@pytest.mark.parametrize(
    ("event", "parts", "field"),
    [
        ({}, {"event": ...}, "event"),
        ({}, {"kind": "coupon"}, "event"),
        ({}, {"benefit": {"type": "exchange", "item": "x"}}, "benefit.type"),
        ({}, {"usage": {"uses": 2}}, "usage.uses"),
        ({"ends_at": "2026-05-01T10:00:00Z"}, {}, "event.ends_at"),
        ({"starts_at": "2026-02-30T10:00:00Z"}, {}, "event.starts_at"),
        ({"entry_from": "2026-05-01T21:30:00+08:00"}, {}, "event.entry_until"),
        ({"entry_from": EVENT["ends_at"], "entry_until": None}, {}, "event.entry_until"),
        ({"entry_until": "2026-05-01T22:00:00.001+08:00"}, {}, "event.entry_until"),
        ({"where": "hall"}, {}, "event.where"),
        ({}, {"validity": {"type": "fixed", "start": "2026-05-02T00:00:00Z"}}, "validity.start"),
        ({}, {"issue": {"start": "2026-05-01T14:00:00Z"}}, "validity.until"),
    ],
)
def test_a_wrong_ticket_names_its_field(
    event: dict[str, Any], parts: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidDefinitionError) as error:
        checked(ticket(event, **parts))
    assert field in [problem.field for problem in error.value.problems]


def test_a_ticket_ends_with_its_event_whatever_its_validity_says() -> None:
    ends = parse_time(EVENT["ends_at"])
    for validity, end in (
        ({"type": "relative"}, ends),
        ({"type": "relative", "minutes": 99, "until": "2027-01-01T00:00:00Z"}, ends),
        ({"type": "fixed", "end": "2027-01-01T00:00:00Z"}, ends),
        ({"type": "fixed", "end": "2026-04-30T00:00:00Z"}, parse_time("2026-04-30T00:00:00Z")),
    ):
        assert compile_issue(checked(ticket(validity=validity)), 1).valid_end == end
    told = [one.en for one in advice(checked(ticket()), 1, ends - 1, [])]
    assert not any("never expire" in text for text in told)
    assert any("expired already" in one.en for one in advice(checked(ticket()), 1, ends, []))


def test_terms_and_rules_say_when_the_doors_are_open() -> None:
    event = compile_terms(checked(ticket())).event
    assert event is not None
    assert (event.id, event.reentry) == ("expo", False)
    assert event.entry_until - event.entry_from == 270 * 60_000
    plain = compile_terms(checked(ticket({"entry_from": None, "entry_until": None}))).event
    assert plain is not None
    assert (plain.entry_from, plain.entry_until) == (0, plain.ends)
    codes = [rule["code"] for rule in rules_text(ticket({"reentry": True}))]
    assert codes[:6] == ["admission", "event", "entry_from", "entry_until", "reentry",
                         "valid_until"]  # fmt: skip


def test_a_patch_keeps_the_event_a_ticket_is_for() -> None:
    later = merge_patch(ticket(), {"event": {"ends_at": "2026-05-01T23:00:00+08:00"}})
    assert later.event is not None
    assert later.event.ends_at == "2026-05-01T15:00:00.000Z"
    with pytest.raises(InvalidDefinitionError) as error:
        merge_patch(ticket(), {"event": {"id": "other"}})
    assert error.value.problems[0].field == "event.id"
