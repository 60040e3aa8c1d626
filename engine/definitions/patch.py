"""Changing a definition by JSON Merge Patch (RFC 7396)."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.definitions.bodies import Campaign, Settings
from engine.definitions.checks import (
    InvalidDefinitionError,
    Problem,
    check_settings,
    checked,
    problem_of,
)
from engine.definitions.events import Event


def merge(target: Any, patch: Any) -> Any:
    """``target`` with ``patch`` applied, as RFC 7396 section 2 has it; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _plain(body: bytes | str | dict[str, Any]) -> Any:
    return msgspec.json.decode(body) if isinstance(body, bytes | str) else body


def _member(body: Any, *path: str) -> Any:
    """A member deep inside; ``...`` when it is not there (None is a value here)."""
    for name in path:
        if not isinstance(body, dict) or name not in body:
            return ...
        body = body[name]
    return body


def _quotas(event: Event) -> set[str]:
    return {quota.id for quota in event.quotas or []}


def merge_patch(
    campaign: bytes | str | dict[str, Any], patch: bytes | str | dict[str, Any]
) -> Campaign:
    """The campaign after a PATCH, checked; InvalidDefinitionError names what is wrong.

    ``id`` and ``kind`` stay what they are, stock moves only by ``POST …/stock``, and what has
    been published is no draft again.
    RFC 7396 removes what is null, and what is absent has its default. One field has a default that
    is not null: ``stacking.per_redemption``; there null means what it says, unlimited.
    """
    before, change = _plain(campaign), _plain(patch)
    if not isinstance(change, dict):
        raise InvalidDefinitionError([Problem("", "Send a JSON object.", "请发送 JSON 对象。")])
    body = merge(before, change)
    if _member(change, "stacking", "per_redemption") is None:
        body["stacking"]["per_redemption"] = None
    after, old = checked(body), msgspec.convert(before, Campaign)
    fixed = [
        Problem(name, f"{name} can't be changed.", f"{name} 不可修改。")
        for name in ("id", "kind")
        if getattr(after, name) != getattr(old, name)
    ]
    if old.event and after.event and old.event.id != after.event.id:
        fixed.append(
            Problem(
                "event.id",
                "Its tickets are for this event; make another campaign.",
                "已有门票属于该活动,请另建批次。",
            )
        )
    if old.event and after.event and _quotas(old.event) != _quotas(after.event):
        fixed.append(
            Problem(
                "event.quotas",
                "Only a quota's total can be changed.",
                "只能修改配额的 total。",
            )
        )
    if after.stock != old.stock:
        fixed.append(
            Problem(
                "stock",
                "Stock is changed by POST /v1/campaigns/{id}/stock.",
                "库存请通过 POST /v1/campaigns/{id}/stock 调整。",
            )
        )
    if after.status == "draft" != old.status:
        fixed.append(
            Problem(
                "status",
                "What has been published is no draft any more; pause, freeze or end it.",
                "已发布的活动不能改回草稿,请暂停、冻结或结束。",
            )
        )
    if fixed:
        raise InvalidDefinitionError(fixed)
    return after


def merge_settings(
    settings: bytes | str | dict[str, Any], patch: bytes | str | dict[str, Any]
) -> Settings:
    """The settings after a PATCH, checked; InvalidDefinitionError names what is wrong."""
    body = merge(_plain(settings), _plain(patch))
    try:
        after = msgspec.convert(body, Settings)
    except msgspec.ValidationError as error:
        raise InvalidDefinitionError([problem_of(error)]) from None
    if problems := check_settings(after):
        raise InvalidDefinitionError(problems)
    return after
