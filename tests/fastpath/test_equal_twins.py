"""Whatever comes in, the twins answer alike and never raise."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.fastpath import INVALID, MEMBER, OK, ROTATING, STALE, STATIC
from tests.fastpath.by_the_book import ALPHABET, KEY, NOW, OTHER_KEY, signed, spell

# No deadline: a time-out is no property of a twin. The rings are never changed by a test.
settings.register_profile("twins", deadline=None, max_examples=200)
relaxed = settings(settings.get_profile("twins"))

handles = st.text(ALPHABET, min_size=16, max_size=16)
serials = st.integers(1, (1 << 55) - 1).map(lambda n: spell(n, 11))
steps = st.integers(0, (1 << 48) - 1)
any_text = st.text(st.characters(exclude_categories=()), max_size=300)  # surrogates included


@pytest.fixture(scope="module")
def rings(twins: tuple[Any, Any]) -> tuple[Any, Any]:
    pure, compiled = twins
    keys = {1: KEY, 7: OTHER_KEY}
    return pure.KeyRing(keys, 7), compiled.KeyRing(keys, 7)


def same(rings: tuple[Any, Any], code: Any, now: int) -> tuple[int, int, str, str, int]:
    pure, compiled = rings
    verdict = pure.verify(code, now)
    assert compiled.verify(code, now) == verdict
    assert compiled.verify_many([code], now) == [verdict]
    assert pure.verify_many([code], now) == [verdict]
    return verdict  # type: ignore[no-any-return] # the compiled twin has no types


@relaxed
@given(form=st.sampled_from([ROTATING, STATIC, MEMBER]), handle=handles, serial=serials, step=steps)
def test_round_trip(rings: tuple[Any, Any], form: int, handle: str, serial: str, step: int) -> None:
    pure, compiled = rings
    serial = "0" * 11 if form == MEMBER else serial
    step = 0 if form == STATIC else step
    code = pure.encode(form, handle, serial, step)
    assert compiled.encode(form, handle, serial, step) == code
    assert compiled.encode_many([(form, handle, serial, step)]) == [code]
    assert same(rings, code, step) == (OK, form, handle, serial, step)


@relaxed
@given(code=any_text | st.binary(max_size=300), now=steps)
@example(code="\ud800" * 58, now=0)
@example(code="\U0010ffff" * 256, now=0)
@example(code="\0" * 58, now=0)
def test_any_text_is_refused(rings: tuple[Any, Any], code: str | bytes, now: int) -> None:
    assert same(rings, code, now) == (INVALID, 0, "", "", 0)


@relaxed
@given(data=st.data(), handle=handles, serial=serials)
def test_a_mutated_code(
    rings: tuple[Any, Any], data: st.DataObject, handle: str, serial: str
) -> None:
    """Characters swapped for any other, put in or taken out: only spelling may differ."""
    code = rings[0].encode(ROTATING, handle, serial, NOW)
    mutated = list(code)
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(mutated) - 1))
        insert, remove = data.draw(st.sampled_from([(0, 1), (1, 0), (1, 1)]))
        mutated[where : where + remove] = [data.draw(st.characters(exclude_categories=()))] * insert
    verdict = same(rings, "".join(mutated), NOW)
    assert verdict in ((OK, ROTATING, handle, serial, NOW), (INVALID, 0, "", "", 0))


@relaxed
@given(
    version=st.integers(0, 3),
    form=st.integers(0, 3),
    key_id=st.sampled_from([0, 1, 7]),
    serial=st.sampled_from([0, 1, (1 << 55) - 1, 1 << 55]),
    step=steps,
    low=st.none() | st.integers(0, 65_535),
    pad=st.integers(0, 3),
    age=st.integers(-3, 70_000),
)
def test_signed_fields_of_every_kind(
    rings: tuple[Any, Any], step: int, age: int, **fields: Any
) -> None:
    key = OTHER_KEY if fields["key_id"] == 7 else KEY
    now = min(max(step + age, 0), (1 << 48) - 1)
    status = same(rings, signed(key, step=step, **fields), now)[0]
    if status == STALE:
        assert step < now - 1


@settings(relaxed, suppress_health_check=[HealthCheck.too_slow])
@given(
    user=any_text.filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t)),
    kind=st.text("abcdefgh_", min_size=1),
    handle=handles,
    key=st.text([chr(c) for c in range(33, 127)], min_size=1, max_size=128),
    window=st.integers(0, 10_000),
)
def test_handles_and_serials(
    twins: tuple[Any, Any], user: str, kind: str, handle: str, key: str, window: int
) -> None:
    pure, compiled = twins
    assert compiled.handle_of(KEY, user) == pure.handle_of(KEY, user)
    serial = pure.serial_of(KEY, kind, handle, key, window)
    assert compiled.serial_of(KEY, kind, handle, key, window) == serial
    assert len(serial) == 11
    assert serial != "0" * 11
