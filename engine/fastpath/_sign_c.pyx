# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Codes signed with Ed25519 over OpenSSL's libcrypto: the twin of `_sign_py`, which documents it.

A batch is taken apart and verified without the GIL; keys are prepared once.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from engine.fastpath._code_c cimport Text, _as_str, _part, _spelled, _text, _unpack


cdef extern from "openssl/evp.h" nogil:
    ctypedef struct ENGINE
    ctypedef struct EVP_MD
    ctypedef struct EVP_MD_CTX
    ctypedef struct EVP_PKEY
    ctypedef struct EVP_PKEY_CTX
    int EVP_PKEY_ED25519
    EVP_PKEY* EVP_PKEY_new_raw_private_key(int, ENGINE*, const uint8_t* key, size_t length)
    EVP_PKEY* EVP_PKEY_new_raw_public_key(int, ENGINE*, const uint8_t* key, size_t length)
    int EVP_PKEY_get_raw_public_key(const EVP_PKEY*, uint8_t* out, size_t* length)
    void EVP_PKEY_free(EVP_PKEY*)
    EVP_MD_CTX* EVP_MD_CTX_new()
    void EVP_MD_CTX_free(EVP_MD_CTX*)
    int EVP_DigestSignInit(EVP_MD_CTX*, EVP_PKEY_CTX**, const EVP_MD*, ENGINE*, EVP_PKEY*)
    int EVP_DigestSign(EVP_MD_CTX*, uint8_t* out, size_t* size, const uint8_t* data, size_t length)
    int EVP_DigestVerifyInit(EVP_MD_CTX*, EVP_PKEY_CTX**, const EVP_MD*, ENGINE*, EVP_PKEY*)
    int EVP_DigestVerify(EVP_MD_CTX*, const uint8_t* signature, size_t size,
                         const uint8_t* data, size_t length)

cdef extern from "openssl/err.h" nogil:
    void ERR_clear_error()


cdef enum:
    OK = 0
    INVALID = 2
    FAULT = 3  # libcrypto failed (no memory): never a verdict, always an exception
    VERSION_FORM = 0b0111
    SIGNED_LENGTH = 151
    HANDLE_LENGTH = 16
    SERIAL_LENGTH = 11
    RAW_BYTES = 94
    HEAD_BYTES = 30
    EVENT_AT = 18
    EVENT_BYTES = 8
    UNTIL_AT = 26
    SIGNATURE_BYTES = 64
    KEY_BYTES = 32
    KEYS = 16
    PREFIX_BYTES = 17

cdef char* PREFIX = b"hexiao ticket v1|"
cdef tuple REFUSED = (INVALID, "", "", b"", 0)
cdef int64_t UNTIL_END = <int64_t>1 << 32

ctypedef EVP_PKEY* PublicKey

ctypedef struct Scan:
    int status
    uint8_t[RAW_BYTES] raw


cdef int _sign(EVP_PKEY* key, const uint8_t* data, size_t length, uint8_t* out) noexcept nogil:
    cdef size_t size = SIGNATURE_BYTES
    cdef EVP_MD_CTX* context = EVP_MD_CTX_new()
    cdef int worked = (context is not NULL
                       and EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1
                       and EVP_DigestSign(context, out, &size, data, length) == 1
                       and size == SIGNATURE_BYTES)
    EVP_MD_CTX_free(context)
    return worked


cdef int _good(
    EVP_PKEY* key, const uint8_t* signature, const uint8_t* data, size_t length
) noexcept nogil:
    """OK, INVALID, or FAULT where there is no memory to tell."""
    cdef EVP_MD_CTX* context = EVP_MD_CTX_new()
    cdef int status = FAULT
    if context is not NULL and EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1:
        status = INVALID
        if EVP_DigestVerify(context, signature, SIGNATURE_BYTES, data, length) == 1:
            status = OK
    EVP_MD_CTX_free(context)
    return status


cdef void _judge(PublicKey* keys, Text text, Scan* scan) noexcept nogil:
    cdef uint8_t* raw = scan.raw
    cdef uint8_t[PREFIX_BYTES + HEAD_BYTES] message
    cdef int i, bits = 0
    scan.status = INVALID
    if not _unpack(text, SIGNED_LENGTH, raw) or raw[0] >> 4 != VERSION_FORM:
        return
    for i in range(11, 18):
        bits |= raw[i]
    if keys[raw[0] & 15] is NULL or bits == 0 or raw[11] >> 7:
        return
    memcpy(message, PREFIX, PREFIX_BYTES)
    memcpy(message + PREFIX_BYTES, raw, HEAD_BYTES)
    scan.status = _good(keys[raw[0] & 15], raw + HEAD_BYTES, message, PREFIX_BYTES + HEAD_BYTES)


cdef tuple _verdict(Scan* scan):
    cdef uint8_t* raw = scan.raw
    if scan.status == INVALID:
        return REFUSED
    if scan.status == FAULT:
        raise MemoryError("libcrypto could not verify a signature")
    return (
        OK,
        _spelled(raw, 8, HANDLE_LENGTH),
        _spelled(raw, 89, SERIAL_LENGTH),
        (<const uint8_t*>raw)[EVENT_AT : EVENT_AT + EVENT_BYTES],
        <uint32_t>raw[UNTIL_AT] << 24 | raw[UNTIL_AT + 1] << 16 | raw[UNTIL_AT + 2] << 8
        | raw[UNTIL_AT + 3],
    )


cdef _check_key(key_id, key):
    if not isinstance(key, bytes):
        raise TypeError("a key is bytes")
    if not 0 <= key_id <= 15 or len(key) != KEY_BYTES:
        raise ValueError("a key has 32 bytes and an id in 0..15")


cdef EVP_PKEY* _public(bytes key) except NULL:
    cdef EVP_PKEY* made = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, KEY_BYTES)
    if made is NULL:
        ERR_clear_error()
        raise ValueError("libcrypto takes no such key")
    return made


cdef EVP_PKEY* _private(bytes seed) except NULL:
    cdef EVP_PKEY* made = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, KEY_BYTES)
    if made is NULL:
        ERR_clear_error()
        raise ValueError("libcrypto takes no such key")
    return made


cdef class Signer:
    """As `_sign_py.Signer`."""

    cdef EVP_PKEY* key
    cdef int key_id
    cdef readonly bytes public

    def __cinit__(self, key_id, seed):
        cdef uint8_t[KEY_BYTES] public
        cdef size_t size = KEY_BYTES
        _check_key(key_id, seed)
        self.key = _private(seed)
        self.key_id = key_id
        if EVP_PKEY_get_raw_public_key(self.key, public, &size) != 1:
            raise MemoryError("libcrypto has no public key")
        self.public = (<const uint8_t*>public)[:KEY_BYTES]

    def __dealloc__(self):
        EVP_PKEY_free(self.key)

    def encode(self, handle, serial, event, until):
        """As `_sign_py.Signer.encode`."""
        cdef uint8_t[PREFIX_BYTES + RAW_BYTES + 1] message
        cdef uint8_t* raw = message + PREFIX_BYTES
        cdef int i, bits = 0
        cdef uint32_t seconds
        _part(serial, SERIAL_LENGTH, 1, raw + 11, "serial")
        if not isinstance(event, bytes):
            raise TypeError("an event's tag is bytes")
        if not isinstance(until, int):
            raise TypeError("until is an int")
        for i in range(11, 18):
            bits |= raw[i]
        if bits == 0 or len(event) != EVENT_BYTES or not 0 <= until < UNTIL_END:
            raise ValueError("serial 0, no tag of an event, or a time out of range")
        _part(handle, HANDLE_LENGTH, 0, raw + 1, "handle")
        memcpy(message, PREFIX, PREFIX_BYTES)
        raw[0] = VERSION_FORM << 4 | self.key_id
        memcpy(raw + EVENT_AT, <const uint8_t*><bytes>event, EVENT_BYTES)
        seconds = until
        for i in range(4):
            raw[UNTIL_AT + i] = seconds >> (24 - 8 * i) & 0xFF
        if not _sign(self.key, message, PREFIX_BYTES + HEAD_BYTES, raw + HEAD_BYTES):
            raise MemoryError("libcrypto could not sign")
        raw[RAW_BYTES] = 0  # the last character ends in three zero bits
        return _spelled(raw, 0, SIGNED_LENGTH)


cdef class Verifier:
    """As `_sign_py.Verifier`."""

    cdef PublicKey[KEYS] keys

    def __cinit__(self, keys):
        for key_id, key in keys.items():
            _check_key(key_id, key)
            self.keys[<int>key_id] = _public(key)

    def __dealloc__(self):
        cdef int i
        for i in range(KEYS):
            EVP_PKEY_free(self.keys[i])

    def verify(self, code):
        """As `_sign_py.Verifier.verify`."""
        cdef Scan scan
        if not isinstance(code, str):
            code = _as_str(code)
        _judge(self.keys, _text(code), &scan)
        ERR_clear_error()
        return _verdict(&scan)

    def verify_many(self, codes):
        """As `_sign_py.Verifier.verify_many`; other threads run meanwhile."""
        # The list keeps every text alive while it is read without the GIL.
        cdef list kept = [code if isinstance(code, str) else _as_str(code) for code in codes]
        cdef Py_ssize_t i, count = len(kept)
        cdef Text* texts = <Text*>PyMem_Malloc(count * sizeof(Text))
        cdef Scan* scans = <Scan*>PyMem_Malloc(count * sizeof(Scan))
        try:
            if texts is NULL or scans is NULL:
                raise MemoryError
            for i in range(count):
                texts[i] = _text(kept[i])
            with nogil:
                for i in range(count):
                    _judge(self.keys, texts[i], &scans[i])
                ERR_clear_error()
            return [_verdict(&scans[i]) for i in range(count)]
        finally:
            PyMem_Free(texts)
            PyMem_Free(scans)


# --- for tests --------------------------------------------------------------------------------

def _signature(bytes seed not None, bytes message not None):
    """As `_sign_py._signature`."""
    cdef uint8_t[SIGNATURE_BYTES] out
    cdef EVP_PKEY* key = _private(seed)
    cdef int worked = _sign(key, message, len(message), out)
    EVP_PKEY_free(key)
    if not worked:
        raise MemoryError("libcrypto could not sign")
    return (<const uint8_t*>out)[:SIGNATURE_BYTES]


def _verified(bytes public not None, bytes message not None, bytes signature not None):
    """As `_sign_py._verified`."""
    cdef EVP_PKEY* key = _public(public)
    cdef int status = INVALID
    if len(signature) == SIGNATURE_BYTES:
        status = _good(key, signature, message, len(message))
    EVP_PKEY_free(key)
    ERR_clear_error()
    return status == OK


if not _verified(
    bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), b"",
    bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    ),
):
    # RFC 8032, 7.1, test 1. A libcrypto without Ed25519 is of no use here.
    raise ImportError("this libcrypto does not verify Ed25519")
