"""What a code says, and who may say it: keys, fields, steps, single bits."""

from typing import Any

import pytest

from engine.fastpath import CODE_LENGTH, INVALID, MEMBER, OK, ROTATING, STALE, STATIC
from tests.fastpath.by_the_book import (
    HANDLE,
    KEY,
    NO_SERIAL,
    NOW,
    OTHER_KEY,
    REFUSED,
    SERIAL,
    number,
    signed,
    spell,
)

# RFC 4231, test cases 1 to 7: key, data, HMAC-SHA-256 (case 5 is cut to 128 bits there).
RFC_4231 = [
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-size data."
            b" The key needs to be hashed before being used by the HMAC algorithm."
        ),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]


@pytest.mark.parametrize(("key", "data", "digest"), RFC_4231)
def test_hmac_known_answers(twin: Any, key: bytes, data: bytes, digest: str) -> None:
    assert twin._hmac_sha256(key, data).hex().startswith(digest)


# form, key id, handle, serial, step -> code. Changing one of these breaks every code in print.
VECTORS = [
    (
        (ROTATING, 1, HANDLE, SERIAL, NOW),
        "84048CGMRX159DHNSW0000000002MW7AGK4JTDRJ3YD65BRCB9GDHWQ1CR",
    ),
    (
        (STATIC, 1, HANDLE, SERIAL, 0),
        "A4048CGMRX159DHNSW0000000002M000BN0D84F1A62ACM3329SP1N62QG",
    ),
    (
        (MEMBER, 1, HANDLE, NO_SERIAL, NOW),
        "C4048CGMRX159DHNSW00000000000W7AF66WQRHB1YVWXC7HRMX1BH6TE8",
    ),
    (
        (ROTATING, 15, "ZZZZZZZZZZZZZZZZ", "ZZZZZZZZZZZ", (1 << 48) - 2),
        "9ZZZZZZZZZZZZZZZZXZZZZZZZZZZZZZYNJ0PYDC90NACMAS10PTYS8RDF4",
    ),
    (
        (ROTATING, 0, "0000000000000000", "00000000001", 0),
        "800000000000000000000000000020000TSRDBX1EGE2PZWCZFY69VEFVC",
    ),
]


@pytest.mark.parametrize(("fields", "code"), VECTORS)
def test_fixed_codes(twin: Any, fields: tuple[int, int, str, str, int], code: str) -> None:
    form, key_id, handle, serial, step = fields
    ring = twin.KeyRing({key_id: KEY}, key_id)
    assert ring.encode(form, handle, serial, step) == code
    assert ring.verify(code, step) == (OK, form, handle, serial, step)
    assert code == signed(
        KEY, form=form, key_id=key_id, handle=number(handle), serial=number(serial), step=step
    )


@pytest.mark.parametrize(
    ("form", "serial", "step"),
    [(ROTATING, SERIAL, NOW), (STATIC, SERIAL, 0), (MEMBER, NO_SERIAL, NOW)],
)
def test_every_single_bit_flip_is_refused(ring: Any, form: int, serial: str, step: int) -> None:
    code = ring.encode(form, HANDLE, serial, step)
    flipped = [spell(number(code) ^ 1 << bit, CODE_LENGTH) for bit in range(290)]
    assert ring.verify(code, NOW)[0] == OK
    assert ring.verify_many(flipped, NOW) == [REFUSED] * 290
    assert [ring.verify(one, NOW) for one in flipped] == [REFUSED] * 290


# What a code signed with the right key must still not say.
@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({"step": NOW}, True),
        ({"step": NOW, "version": 0}, False),
        ({"step": NOW, "version": 2}, False),
        ({"step": NOW, "version": 3}, False),
        ({"step": NOW, "form": 3}, False),
        ({"step": NOW, "form": 3, "serial": 0}, False),
        ({"step": NOW, "key_id": 2}, False),
        ({"step": NOW, "serial": 0}, False),
        ({"step": NOW, "serial": 1 << 55}, False),
        ({"step": NOW, "serial": 1 << 55 | 42}, False),
        ({"form": STATIC}, True),
        ({"form": STATIC, "serial": 0}, False),
        ({"form": STATIC, "low": 1}, False),
        ({"form": STATIC, "low": NOW % 65536, "step": NOW}, False),
        ({"form": MEMBER, "serial": 0, "step": NOW}, True),
        ({"form": MEMBER, "serial": 1, "step": NOW}, False),
        ({"form": MEMBER, "serial": 1 << 55, "step": NOW}, False),
    ],
)
def test_fields_are_judged_beside_the_tag(ring: Any, fields: dict[str, int], good: bool) -> None:
    code = signed(KEY, **fields)
    assert (ring.verify(code, NOW)[0] == OK) == good
    if not good:
        assert ring.verify(code, NOW) == REFUSED


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (-2, INVALID),  # the newest step with these low bits is 65,534 steps back
        (-1, OK),
        (0, OK),
        (1, OK),
        (2, STALE),
        (3, STALE),
        (65_534, STALE),
        (65_535, INVALID),  # would be the next step
        (65_536, INVALID),  # would be this step
        (65_537, INVALID),
        (131_072, INVALID),
    ],
)
@pytest.mark.parametrize(("form", "serial"), [(ROTATING, SERIAL), (MEMBER, NO_SERIAL)])
def test_age(ring: Any, age: int, status: int, form: int, serial: str) -> None:
    code = ring.encode(form, HANDLE, serial, NOW - age)
    expected = REFUSED if status == INVALID else (status, form, HANDLE, serial, NOW - age)
    assert ring.verify(code, NOW) == expected


def test_a_static_code_does_not_age(ring: Any) -> None:
    code = ring.encode(STATIC, HANDLE, SERIAL, 0)
    for now in (0, 1, 2, 65_536, NOW, (1 << 48) - 1):
        assert ring.verify(code, now) == (OK, STATIC, HANDLE, SERIAL, 0)


def test_no_step_before_the_first(ring: Any) -> None:
    assert ring.verify(ring.encode(ROTATING, HANDLE, SERIAL, 1), 0)[0] == OK
    assert ring.verify(ring.encode(ROTATING, HANDLE, SERIAL, 65_535), 0) == REFUSED


def test_keys_of_the_ring(twin: Any) -> None:
    old, new = twin.KeyRing({1: KEY}, 1), twin.KeyRing({2: OTHER_KEY}, 2)
    both = twin.KeyRing({1: KEY, 2: OTHER_KEY}, 2)
    swapped = twin.KeyRing({1: OTHER_KEY, 2: KEY}, 1)
    codes = [each.encode(ROTATING, HANDLE, SERIAL, NOW) for each in (old, new)]
    statuses = {
        name: [verdict[0] for verdict in ring.verify_many(codes, NOW)]
        for name, ring in {"old": old, "new": new, "both": both, "swapped": swapped}.items()
    }
    assert statuses == {
        "old": [OK, INVALID],
        "new": [INVALID, OK],
        "both": [OK, OK],
        "swapped": [INVALID, INVALID],
    }
    assert both.encode(ROTATING, HANDLE, SERIAL, NOW) == codes[1]


def test_many_are_answered_in_their_order(ring: Any) -> None:
    serials = [spell(n, 11) for n in range(1, 1001)]
    codes = ring.encode_many([(ROTATING, HANDLE, serial, NOW - 2) for serial in serials])
    assert codes == [ring.encode(ROTATING, HANDLE, serial, NOW - 2) for serial in serials]
    codes[500] = "forged"
    verdicts = ring.verify_many(tuple(codes), NOW)
    assert [v[3] for v in verdicts] == [*serials[:500], "", *serials[501:]]
    assert verdicts[499] == (STALE, ROTATING, HANDLE, serials[499], NOW - 2)
    assert ring.verify_many([], NOW) == []
