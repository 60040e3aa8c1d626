"""What stands in a QR picture: codes of coupons and members, made and read for one tenant.

Reading tells who and what is named and whether the code is authentic and fresh. It knows no
campaign, no store and no Redis: a forged code ends here.
"""

import hmac
from collections.abc import Sequence
from io import BytesIO
from typing import Final, NamedTuple

import segno

from engine.fastpath import (
    INVALID,
    MEMBER,
    OFFLINE,
    OK,
    ROTATING,
    SIGNED_LENGTH,
    STALE,
    STATIC,
    STEP_MS,
    KeyRing,
    Signer,
    Verifier,
    event_tag,
)
from engine.typed_codes import TypedCodes

_NO_SERIAL: Final = "00000000000"
_COUPON: Final = "C"  # coupon id = "C" + handle (16 characters) + serial (11)
_HANDLE_END: Final = 17
_ID_LENGTH: Final = 28
_SECRET_BYTES_MIN: Final = 16


class Code(NamedTuple):
    """A code and until when it is good; `refresh_at_ms` is when to ask for the next one."""

    code: str
    expires_at_ms: int | None
    refresh_at_ms: int | None


class Scan(NamedTuple):
    """What a scanned text is: `status` OK, STALE or INVALID; `form` ROTATING, STATIC, MEMBER or
    OFFLINE.

    INVALID names nothing: form 0, no coupon, an empty handle, step 0. A member's code has no
    coupon; a static one and one for offline gates have step 0.
    """

    status: int
    form: int
    coupon_id: str | None
    handle: str
    step: int


class Codes:
    """The codes of one tenant.

    `secret`: the installation's, at least 16 bytes. Keys are derived from it for each tenant and
    each key id (0 to 15), so that no tenant's code means anything to another. To retire a key,
    sign with a new `active` id, and drop the old id when the codes printed with it have ended.
    ValueError: a short secret, a key id out of range, or `active` not in `key_ids`.
    """

    def __init__(
        self,
        secret: bytes,
        tenant: str,
        key_ids: Sequence[int] = (1,),
        active: int = 1,
        typed: TypedCodes | None = None,
    ) -> None:
        self._typed = typed  # what people read off printed coupons is a code as well
        if len(secret) < _SECRET_BYTES_MIN:
            raise ValueError(f"the secret has at least {_SECRET_BYTES_MIN} bytes")
        self._ring = KeyRing({key_id: _key(secret, tenant, key_id) for key_id in key_ids}, active)
        seeds = {key_id: ticket_seed(secret, tenant, key_id) for key_id in key_ids}
        self._signer = Signer(active, seeds[active])
        self.public_keys = {key_id: Signer(key_id, seed).public for key_id, seed in seeds.items()}
        self._verifier = Verifier(self.public_keys)

    def rotating(self, coupon_id: str, now_ms: int) -> Code:
        """The code of a coupon for this 30 s step; good in the next one too.

        ValueError: `coupon_id` is not a coupon's id.
        """
        handle, serial = _parts(coupon_id)
        return self._timed(ROTATING, handle, serial, now_ms)

    def static(self, coupon_id: str, valid_until_ms: int | None) -> Code:
        """The code of a coupon for print: the same one always, good until the coupon ends.

        ValueError: `coupon_id` is not a coupon's id.
        """
        handle, serial = _parts(coupon_id)
        return Code(self._ring.encode(STATIC, handle, serial, 0), valid_until_ms, None)

    def offline(self, coupon_id: str, event_id: str, valid_until_ms: int | None) -> Code:
        """A ticket's code for gates that ask nobody: 151 characters, good until the ticket ends.

        ValueError: `coupon_id` is not a coupon's id.
        """
        handle, serial = _parts(coupon_id)
        until = -(-(valid_until_ms or 0) // 1000)
        code = self._signer.encode(handle, serial, event_tag(event_id), until)
        return Code(code, valid_until_ms, None)

    def member(self, handle: str, now_ms: int) -> Code:
        """The member's own code for this 30 s step. ValueError: `handle` is not a handle."""
        return self._timed(MEMBER, handle, _NO_SERIAL, now_ms)

    def read(self, code: str, now_ms: int) -> Scan:
        """Judge a scanned text at `now_ms`. No text raises."""
        scan = _scan(self._ring.verify(code, now_ms // STEP_MS))
        return self._read_other(code, now_ms) if scan.status == INVALID else scan

    def read_many(self, codes: Sequence[str], now_ms: int) -> list[Scan]:
        """`read` for each, in their order; the compiled fast path lets other threads run."""
        scans = [_scan(verdict) for verdict in self._ring.verify_many(codes, now_ms // STEP_MS)]
        for at, scan in enumerate(scans):
            if scan.status == INVALID:
                scans[at] = self._read_other(codes[at], now_ms)
        return scans

    def _read_other(self, code: str, now_ms: int) -> Scan:
        if len(code) >= SIGNED_LENGTH:
            return self._read_signed(code, now_ms)
        place = self._typed.read(code) if self._typed else None
        if place is None:
            return Scan(INVALID, 0, None, "", 0)
        return Scan(OK, STATIC, _COUPON + place[0] + place[1], place[0], 0)

    def _read_signed(self, code: str, now_ms: int) -> Scan:
        status, handle, serial, _, until = self._verifier.verify(code)
        if status != OK:
            return Scan(INVALID, 0, None, "", 0)
        stale = 0 < until * 1000 <= now_ms
        return Scan(STALE if stale else OK, OFFLINE, _COUPON + handle + serial, handle, 0)

    def _timed(self, form: int, handle: str, serial: str, now_ms: int) -> Code:
        step = now_ms // STEP_MS
        code = self._ring.encode(form, handle, serial, step)
        return Code(code, (step + 2) * STEP_MS, (step + 1) * STEP_MS)


def ticket_seed(secret: bytes, tenant: str, key_id: int = 1) -> bytes:
    """The private key (RFC 8032) of a tenant's codes for offline gates and of their lists."""
    info = b"hexiao ticket v1|" + tenant.encode() + b"|" + bytes([key_id])
    return hmac.digest(secret, info, "sha256")


def qr_svg(code: str) -> bytes:
    """The QR picture of a code as an SVG document with a view box: it scales to its place."""
    out = BytesIO()
    picture(code).save(out, kind="svg", border=4, light="#fff", omitsize=True, svgclass=None)
    return out.getvalue()


def qr_png(code: str, scale: int = 8) -> bytes:
    """The QR picture of a code as a PNG, `scale` pixels (1 or more) to a module, 37 or 49 wide.

    ValueError: `scale` is below 1.
    """
    if scale < 1:
        raise ValueError("scale is at least 1")
    out = BytesIO()
    picture(code).save(out, kind="png", border=4, scale=scale)
    return out.getvalue()


def picture(code: str) -> segno.QRCode:
    """The QR picture of a code, 29 modules wide, or 41 of one for offline gates."""
    # Version 3-M holds 61 alphanumeric characters, 6-M 154: a code never needs the next size.
    version = 3 if len(code) < SIGNED_LENGTH else 6
    return segno.make_qr(code, error="m", version=version, mode="alphanumeric", boost_error=False)


def _key(secret: bytes, tenant: str, key_id: int) -> bytes:
    info = b"hexiao code v1|" + tenant.encode() + b"|" + bytes([key_id])
    return hmac.digest(secret, info, "sha256")


def _parts(coupon_id: str) -> tuple[str, str]:
    if len(coupon_id) != _ID_LENGTH or not coupon_id.startswith(_COUPON):
        raise ValueError("not a coupon id")
    return coupon_id[1:_HANDLE_END], coupon_id[_HANDLE_END:]


def _scan(verdict: tuple[int, int, str, str, int]) -> Scan:
    status, form, handle, serial, step = verdict
    if status == INVALID or form == MEMBER:
        return Scan(status, form, None, handle, step)
    return Scan(status, form, _COUPON + handle + serial, handle, step)
