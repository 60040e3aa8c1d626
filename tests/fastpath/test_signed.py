"""Codes for gates that ask nobody: Ed25519 on both twins, one spelling, no other key's word."""

import importlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.fastpath import INVALID, OFFLINE, OK, SIGNED_LENGTH, event_tag
from tests.fastpath.by_the_book import ALPHABET, HANDLE, NOW, SERIAL, number, spell
from tests.fastpath.conftest import MUST_BE_COMPILED

SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))
EVENT = event_tag("concert")
UNTIL = 1_790_000_000
REFUSED = (INVALID, "", "", b"", 0)

# RFC 8032, section 7.1, tests 1 to 3 and SHA(abc): seed, public key, message, signature.
RFC_8032 = """
9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60 /
d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a /
 /
e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155
5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b;
4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb /
3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c /
72 /
92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00;
c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7 /
fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025 /
af82 /
6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac
18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a;
833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42 /
ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf /
ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a
2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f /
dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589
09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704
"""
VECTORS = [[bytes.fromhex(field) for field in vector.split("/")] for vector in RFC_8032.split(";")]
ORDER = 2**252 + 27742317777372353535851937790883648493  # of the group: RFC 8032, 5.1


def load(name: str) -> Any:
    try:
        return importlib.import_module(f"engine.fastpath._sign_{name}")
    except ImportError as error:
        if MUST_BE_COMPILED:
            raise
        pytest.skip(f"the compiled fast path is not built here: {error}")


@pytest.fixture(params=["py", "c"], ids=["pure", "compiled"], scope="module")
def sign(request: pytest.FixtureRequest) -> Any:
    """The module under test: every test runs on both twins."""
    return load(request.param)


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_known_answers(sign: Any, number: int) -> None:
    seed, key, told, good = VECTORS[number]
    assert sign._signature(seed, told) == good
    assert sign.Signer(0, seed).public == key
    assert sign._verified(key, told, good)
    assert not sign._verified(key, told + b"x", good)
    # The same signature with its scalar spelled a second time: s + L is refused (5.1.7).
    scalar = int.from_bytes(good[32:], "little") + ORDER
    if scalar < 1 << 256:
        assert not sign._verified(key, told, good[:32] + scalar.to_bytes(32, "little"))


def test_a_code_in_print_stays_good(sign: Any) -> None:
    code = sign.Signer(1, SEED).encode(HANDLE, SERIAL, EVENT, UNTIL)
    assert code == (
        "E4048CGMRX159DHNSW0000000002NXMPJR5WET40HDNB2EW01A400NS9AM26C0S44TF4BJET1P0E1DCVW721ZE632B"
        "R9C54FFYKAN222HZA4797JXZDRZQ0YQE6ZYVSKXQG6FZ663JEMTBSENEWH41R"
    )
    verifier = sign.Verifier({1: sign.Signer(1, SEED).public})
    assert verifier.verify(code) == (OK, HANDLE, SERIAL, EVENT, UNTIL)
    assert verifier.verify_many([code, code[:-1]]) == [(OK, HANDLE, SERIAL, EVENT, UNTIL), REFUSED]
    wide = "".join(chr(ord(c) + 0xFEE0) for c in code.lower())
    for spelled in (code.lower(), f" {code[:70]} {code[70:]}\r\n", wide, code.encode()):
        assert verifier.verify(spelled)[0] == OK


def test_every_bit_counts(sign: Any) -> None:
    """One bit turned anywhere, the spare ones at the end included: refused."""
    verifier = sign.Verifier({k: sign.Signer(k, SEED).public for k in range(16)})
    bits = number(sign.Signer(1, SEED).encode(HANDLE, SERIAL, EVENT, UNTIL))
    codes = [spell(bits ^ 1 << bit, SIGNED_LENGTH) for bit in range(SIGNED_LENGTH * 5)]
    assert set(verifier.verify_many(codes)) == {REFUSED}


def test_other_keys_and_other_kinds_of_code(sign: Any) -> None:
    code = sign.Signer(1, SEED).encode(HANDLE, SERIAL, EVENT, UNTIL)
    other = sign.Signer(1, OTHER_SEED)
    assert sign.Verifier({1: other.public}).verify(code) == REFUSED
    assert sign.Verifier({2: sign.Signer(2, SEED).public}).verify(code) == REFUSED
    assert sign.Verifier({}).verify(code) == REFUSED
    rotating = importlib.import_module("engine.fastpath._code_py").KeyRing({1: SEED}, 1)
    for form, step in ((0, NOW), (1, 0)):
        made = rotating.encode(form, HANDLE, SERIAL, step)
        assert sign.Verifier({1: other.public}).verify(made) == REFUSED
    assert rotating.verify(code, NOW)[0] == INVALID
    assert number(code) >> 751 & 3 == OFFLINE


@pytest.mark.parametrize(
    ("handle", "serial", "event", "until"),
    [
        (HANDLE[:-1], SERIAL, EVENT, 0),
        (HANDLE, "0" * 11, EVENT, 0),
        (HANDLE, SERIAL, EVENT[:-1], 0),
        (HANDLE, SERIAL, EVENT, -1),
        (HANDLE, SERIAL, EVENT, 1 << 32),
    ],
)
def test_what_cannot_be_signed(
    sign: Any, handle: str, serial: str, event: bytes, until: int
) -> None:
    with pytest.raises(ValueError, match=r"."):
        sign.Signer(1, SEED).encode(handle, serial, event, until)
    with pytest.raises(ValueError, match="32 bytes"):
        sign.Verifier({1: b"short"})
    with pytest.raises(ValueError, match="an id in"):
        sign.Signer(16, SEED)


@settings(deadline=None, max_examples=100)
@given(
    handle=st.text(ALPHABET, min_size=16, max_size=16),
    serial=st.integers(1, (1 << 55) - 1).map(lambda n: spell(n, 11)),
    event=st.binary(min_size=8, max_size=8),
    until=st.integers(0, (1 << 32) - 1),
    text=st.text(st.characters(exclude_categories=()), max_size=300) | st.binary(max_size=300),
)
@example(HANDLE, SERIAL, EVENT, 0, "\ud800" * 151)
@example(HANDLE, SERIAL, EVENT, 0, "0" * 151)
def test_the_twins_are_equal(
    handle: str, serial: str, event: bytes, until: int, text: str | bytes
) -> None:
    pure, compiled = load("py"), load("c")
    code = pure.Signer(7, SEED).encode(handle, serial, event, until)
    assert compiled.Signer(7, SEED).encode(handle, serial, event, until) == code
    keys = {7: pure.Signer(7, SEED).public}
    for verifier in (pure.Verifier(keys), compiled.Verifier(keys)):
        assert verifier.verify(code) == (OK, handle, serial, event, until)
        assert verifier.verify(text) == REFUSED
        assert verifier.verify_many([text]) == [REFUSED]
