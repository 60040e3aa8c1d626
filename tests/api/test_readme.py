"""What the README shows is what the server answers; what it names is there."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from tests.api.counter import Counter

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md"]
_ASKED = re.compile(r"\$ (claim|redeem) (\S+) '(\{.*?\})'")
_SHOWN = re.compile(r"^(\d{3}) (\{.*\})(?:\s+#.*)?$")
_MEMBER = re.compile(r'"(\w+)": ("(?:[^"…]*)"|\d+)')
PATHS = {"claim": "/v1/claims", "redeem": "/v1/redemptions"}


def dialogue(name: str) -> list[tuple[str, str, str, int, dict[str, str], bool]]:
    """(verb, key, body, status, members shown, replayed) of each exchange in a README."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    exchanges = []
    for asked, shown in itertools.pairwise(lines):
        question, answer = _ASKED.match(asked), _SHOWN.match(shown)
        if question and answer:
            members = dict(_MEMBER.findall(answer.group(2)))
            replayed = "Idempotent-Replayed" in shown
            verb, key, body = question.groups()
            exchanges.append((verb, key, body, int(answer.group(1)), members, replayed))
    return exchanges


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
async def test_the_dialogue_is_what_really_happens(name: str, counter: Counter) -> None:
    """A campaign of one coupon, as the README tells."""
    campaign = await counter.campaign("stock 1")
    coupon = ""
    users = {user: counter.user() for user in ("u1", "u2")}
    exchanges = dialogue(name)
    assert len(exchanges) == 5
    for verb, key, body, status, members, replayed in exchanges:
        for shown, real in {"last-one": campaign, "C…": coupon}.items():
            body = body.replace(shown, real)
        for shown, real in users.items():
            body = body.replace(f'"{shown}"', f'"{real}"')
        language = "zh-CN" if "zh" in name else "en"
        answer = await counter.api.ask(
            "POST",
            PATHS[verb],
            json.loads(body),
            idem=key,
            headers={"Accept-Language": language},
        )
        assert (answer.status, answer.replayed) == (status, replayed), answer.json
        coupon = coupon or answer.json["id"]
        for member, shown in members.items():
            if member not in ("campaign_id", "user_id"):
                assert str(answer.json[member]) == shown.strip('"'), member


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_and_targets_named_are_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:engine|api|tests|docs|loadtest|benchmarks)/[\w/.]*)`", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", text, re.MULTILINE):
        assert f"\n{''.join(target)}:" in makefile, target
