"""Outcomes: one list, the contract's order, a sentence in two languages, the document current."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.outcomes import SENTENCES, Outcome, markdown, sentence

# CONTRACT.md section 1: "first match wins". What stands in two ladders is judged in the order of
# each; its number is the first one's.
LADDERS = """
unauthenticated forbidden invalid_request not_found idempotency_key_reused
campaign_frozen campaign_paused campaign_ended not_started user_frozen not_eligible \
channel_not_allowed user_limit user_day_limit user_week_limit user_month_limit \
campaign_rate_limit campaign_day_limit budget_exhausted sold_out
code_invalid code_expired different_owners already_redeemed held code_used voided refunded \
transferred expired not_yet_valid store_not_allowed outside_hours no_eligible_items min_quantity \
min_spend stacking_conflict group_limit campaign_limit too_many_coupons store_limit \
points_insufficient balance_insufficient no_effect
hold_expired hold_released already_reversed nothing_to_reverse more_than_redeemed
order_expired order_cancelled amount_mismatch not_refundable gift_taken gift_expired \
not_transferable
already_exists period_open period_overlaps revision_changed plate_taken plate_conflict \
receipt_used stay_closed
"""
BY_CODE = {outcome.name.lower(): outcome for outcome in Outcome}


@pytest.mark.parametrize("ladder", LADDERS.strip().splitlines())
def test_numbers_stand_in_the_order_of_judgement(ladder: str) -> None:
    numbers = [int(BY_CODE[code]) for code in ladder.split()]
    assert numbers == sorted(numbers)


def test_numbers_are_frozen() -> None:
    """Books and running scripts hold them: a number never changes its meaning."""
    frozen = {
        "DONE": 0, "REPEATED": 1, "NOT_FOUND": 16, "IDEMPOTENCY_KEY_REUSED": 17,
        "CAMPAIGN_FROZEN": 20, "USER_LIMIT": 27, "SOLD_OUT": 34, "CODE_INVALID": 40,
        "DIFFERENT_OWNERS": 44, "ALREADY_REDEEMED": 45, "EXPIRED": 51, "MIN_SPEND": 58,
        "NO_EFFECT": 67, "HOLD_EXPIRED": 70, "MORE_THAN_REDEEMED": 74, "ALREADY_EXISTS": 90,
        "STAY_CLOSED": 97,
    }  # fmt: skip
    assert {name: int(Outcome[name]) for name in frozen} == frozen


@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.name)
def test_each_has_a_sentence_in_both_languages(outcome: Outcome) -> None:
    en, zh = SENTENCES[outcome]
    assert en.endswith(".")
    assert zh.endswith("。")
    assert sentence(outcome, "en") == en
    assert sentence(outcome, "zh-CN") == zh


def test_what_is_missing_is_said_in_yuan() -> None:
    assert sentence(Outcome.MIN_SPEND, "en", short_by=1205) == "12.05 more is needed to use it."
    assert sentence(Outcome.MIN_SPEND, "zh-CN", short_by=1205) == "还差 12.05 元可用。"


def test_the_document_is_the_code() -> None:
    """``make docs`` writes it."""
    document = Path(__file__).parents[2] / "docs" / "OUTCOMES.md"
    assert document.read_text(encoding="utf-8") == markdown()
