# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Codes, handles and serials over OpenSSL's libcrypto: the twin of `_code_py`, which documents it.

Each key has a prepared EVP_MAC context: the hash of its padded key is computed once, and a new
message starts by going back to it. A batch is taken apart and verified without the GIL.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from hashlib import blake2b


cdef extern from "Python.h":
    # Declared here because Cython's own declarations of these ask for the GIL.
    int PyUnicode_KIND(object) noexcept
    void* PyUnicode_DATA(object) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object) noexcept
    uint32_t PyUnicode_READ(int kind, const void* data, Py_ssize_t index) noexcept nogil
    long long PyLong_AsLongLongAndOverflow(object, int* overflow) except? -1
    bint Py_UNICODE_ISSPACE(uint32_t) noexcept nogil

cdef extern from "openssl/params.h" nogil:
    ctypedef struct OSSL_PARAM:
        const char* key
    OSSL_PARAM OSSL_PARAM_construct_utf8_string(const char* key, char* text, size_t size)
    OSSL_PARAM OSSL_PARAM_construct_end()

cdef extern from "openssl/evp.h" nogil:
    ctypedef struct EVP_MD
    ctypedef struct EVP_MAC
    ctypedef struct EVP_MAC_CTX
    const EVP_MD* EVP_sha256()
    EVP_MAC* EVP_MAC_fetch(void* library, const char* algorithm, const char* properties)
    void EVP_MAC_free(EVP_MAC*)
    EVP_MAC_CTX* EVP_MAC_CTX_new(EVP_MAC*)
    EVP_MAC_CTX* EVP_MAC_CTX_dup(const EVP_MAC_CTX*)
    void EVP_MAC_CTX_free(EVP_MAC_CTX*)
    int EVP_MAC_init(EVP_MAC_CTX*, const uint8_t* key, size_t length, const OSSL_PARAM*)
    int EVP_MAC_update(EVP_MAC_CTX*, const uint8_t* data, size_t length)
    int EVP_MAC_final(EVP_MAC_CTX*, uint8_t* out, size_t* length, size_t size)

cdef extern from "openssl/crypto.h" nogil:
    int CRYPTO_memcmp(const void* a, const void* b, size_t length)

cdef extern from "openssl/hmac.h" nogil:
    uint8_t* HMAC(const EVP_MD*, const void* key, int key_length, const uint8_t* data,
                  size_t length, uint8_t* out, unsigned int* out_length)


cdef enum:
    ROTATING = 0
    STATIC = 1
    MEMBER = 2
    OK = 0
    STALE = 1
    INVALID = 2
    FAULT = 3  # libcrypto failed (no memory): never a verdict, always an exception
    VERSION = 1
    CODE_LENGTH = 58
    LONGEST = 160  # characters that are spelled at once, codes of `_sign_c` included
    HANDLE_LENGTH = 16
    SERIAL_LENGTH = 11
    SERIAL_BYTES = 7
    RAW_BYTES = 36
    NAMED_BYTES = 18
    MESSAGE_BYTES = 26
    TAG_BYTES = 16
    SHA256_BYTES = 32
    KEYS = 16
    KEY_BYTES_MIN = 16
    INPUT_MAX = 256
    UTF8_MAX = 4
    NO_DIGIT = 255
    BLANK = 254

ctypedef EVP_MAC_CTX* Context

cdef int64_t STEP_END = <int64_t>1 << 48
cdef char* ALPHABET = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
cdef uint8_t[128] STRICT   # character -> digit or NO_DIGIT
cdef uint8_t[128] SCANNED  # the same with lower case, and BLANK
cdef tuple REFUSED = (INVALID, 0, "", "", 0)

ctypedef struct Scan:
    int status
    int64_t step
    uint8_t[RAW_BYTES] raw


cdef void _fill_tables() noexcept:
    cdef int c
    for c in range(128):
        STRICT[c] = NO_DIGIT
    for c in range(32):
        STRICT[<int>ALPHABET[c]] = c
    for c in range(128):
        SCANNED[c] = STRICT[c - 32] if c"a" <= c <= c"z" else STRICT[c]
        if Py_UNICODE_ISSPACE(c):
            SCANNED[c] = BLANK

_fill_tables()


# --- base32 -----------------------------------------------------------------------------------

cdef void _spell(const uint8_t* source, int bit, int length, char* out) noexcept nogil:
    """`length` characters from the bits of `source`, starting at bit number `bit`."""
    cdef int i, byte = bit >> 3, left = 8 - (bit & 7)
    cdef unsigned int window = source[byte] & ((1 << left) - 1)
    for i in range(length):
        if left < 5:
            byte += 1
            window = (window << 8 | source[byte]) & 0xFFFF
            left += 8
        left -= 5
        out[i] = ALPHABET[window >> left & 31]


cdef str _spelled(const uint8_t* source, int bit, int length):
    cdef char[LONGEST] out
    _spell(source, bit, length, out)
    return PyUnicode_DecodeASCII(out, length, NULL)


cdef int _collect(Text text, int length, int bit, uint8_t* out) noexcept nogil:
    """Write exactly `length` canonical characters as bits from bit number `bit`; 0 if it is not."""
    cdef Py_ssize_t i
    cdef uint32_t c
    cdef int left = bit
    cdef unsigned int window = 0
    if text.length != length:
        return 0
    for i in range(length):
        c = PyUnicode_READ(text.kind, text.data, i)
        if c >= 128 or STRICT[c] == NO_DIGIT:
            return 0
        window = window << 5 | STRICT[c]
        left += 5
        if left >= 8:
            left -= 8
            out[0] = window >> left & 0xFF
            out += 1
    return 1


cdef int _unpack(Text text, int length, uint8_t* out) noexcept nogil:
    """The bytes that a scanned text of so many characters spells; 0 when it is not canonical.

    What is left over of the last character is zero bits.
    """
    cdef Py_ssize_t i
    cdef uint32_t c
    cdef int digits = 0, left = 0, digit
    cdef unsigned int window = 0
    if text.length > INPUT_MAX:
        return 0
    for i in range(text.length):
        c = PyUnicode_READ(text.kind, text.data, i)
        if 0xFF01 <= c <= 0xFF5E:
            c -= 0xFEE0
        if c < 128:
            digit = SCANNED[c]
        else:
            digit = BLANK if Py_UNICODE_ISSPACE(c) else NO_DIGIT
        if digit == BLANK:
            continue
        if digit == NO_DIGIT or digits == length:
            return 0
        digits += 1
        window = window << 5 | digit
        left += 5
        if left >= 8:
            left -= 8
            out[0] = window >> left & 0xFF
            out += 1
    return digits == length and (window & ((1 << left) - 1)) == 0


cdef Text _text(text):
    return Text(PyUnicode_KIND(text), PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))


# --- the keyed hash ---------------------------------------------------------------------------

cdef EVP_MAC_CTX* _prepare(bytes key) except NULL:
    cdef OSSL_PARAM[2] params
    cdef EVP_MAC* algorithm = EVP_MAC_fetch(NULL, b"HMAC", NULL)
    cdef EVP_MAC_CTX* context = NULL
    if algorithm is not NULL:
        context = EVP_MAC_CTX_new(algorithm)
        EVP_MAC_free(algorithm)  # the context holds its own reference
    params[0] = OSSL_PARAM_construct_utf8_string(b"digest", b"SHA256", 0)
    params[1] = OSSL_PARAM_construct_end()
    if context is NULL or not EVP_MAC_init(context, key, len(key), params):
        EVP_MAC_CTX_free(context)
        raise MemoryError("libcrypto has no HMAC-SHA-256 context")
    return context


cdef int _mac(
    EVP_MAC_CTX* context, const uint8_t* data, size_t length, uint8_t* out
) noexcept nogil:
    cdef size_t written
    # No key: back to the state that holds the prepared one.
    return (EVP_MAC_init(context, NULL, 0, NULL)
            and EVP_MAC_update(context, data, length)
            and EVP_MAC_final(context, out, &written, SHA256_BYTES))


cdef int _copy(Context* source, Context* copies) noexcept nogil:
    """A context of its own for each key; 0 when one of them could not be made."""
    cdef int i, complete = 1
    for i in range(KEYS):
        copies[i] = NULL
        if source[i] is not NULL:
            copies[i] = EVP_MAC_CTX_dup(source[i])
            complete &= copies[i] is not NULL
    return complete


cdef void _free(Context* contexts) noexcept nogil:
    cdef int i
    for i in range(KEYS):
        EVP_MAC_CTX_free(contexts[i])


cdef int _tag(EVP_MAC_CTX* context, const uint8_t* raw, int64_t step, uint8_t* out) noexcept nogil:
    cdef uint8_t[MESSAGE_BYTES] message
    cdef int i
    memcpy(message, raw, NAMED_BYTES)
    for i in range(8):
        message[NAMED_BYTES + i] = step >> (56 - 8 * i) & 0xFF
    return _mac(context, message, MESSAGE_BYTES, out)


cdef bint _all_zero(const uint8_t* serial) noexcept nogil:
    cdef int i, bits = 0
    for i in range(SERIAL_BYTES):
        bits |= serial[i]
    return bits == 0


cdef void _judge(Context* contexts, int64_t now_step, Scan* scan) noexcept nogil:
    """Set the status and the full step of an unpacked code."""
    cdef uint8_t* raw = scan.raw
    cdef uint8_t[SHA256_BYTES] tag
    cdef int form = raw[0] >> 4 & 3, low = raw[18] << 8 | raw[19], behind = 0
    cdef EVP_MAC_CTX* context = contexts[raw[0] & 15]
    cdef bint no_serial = _all_zero(raw + 11)
    scan.status = INVALID
    scan.step = 0
    if context is NULL or raw[0] >> 6 != VERSION or form > MEMBER or raw[11] >> 7:
        return
    if (form == MEMBER) != no_serial or (form == STATIC and low):
        return
    if form != STATIC:
        behind = (now_step + 1 - low) & 0xFFFF
        scan.step = now_step + 1 - behind
        if scan.step < 0:
            return
    if not _tag(context, raw, scan.step, tag):
        scan.status = FAULT
    elif CRYPTO_memcmp(tag, raw + 20, TAG_BYTES) == 0:
        scan.status = OK if behind <= 2 else STALE


cdef void _scan(Context* contexts, Text text, int64_t now_step, Scan* scan) noexcept nogil:
    if _unpack(text, CODE_LENGTH, scan.raw):
        _judge(contexts, now_step, scan)
    else:
        scan.status = INVALID


cdef tuple _verdict(Scan* scan):
    if scan.status == INVALID:
        return REFUSED
    if scan.status == FAULT:
        raise MemoryError("libcrypto could not compute a tag")
    return (
        scan.status,
        scan.raw[0] >> 4 & 3,
        _spelled(scan.raw, 8, HANDLE_LENGTH),
        _spelled(scan.raw, 89, SERIAL_LENGTH),
        scan.step,
    )


# --- arguments --------------------------------------------------------------------------------

cdef int64_t _integer(value, str name) except? -2:
    """-1 for what no 64 bits hold: the caller's range check refuses it."""
    cdef int overflow = 0
    if not isinstance(value, int):
        raise TypeError(f"a {name} is an int")
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    return -1 if overflow else number


cdef int64_t _checked_step(value) except -1:
    cdef int64_t step = _integer(value, "step")
    if not 0 <= step < STEP_END:
        raise ValueError("step out of range")
    return step


cdef int _checked_form(value) except -1:
    cdef int64_t form = _integer(value, "form")
    if not ROTATING <= form <= MEMBER:
        raise ValueError("form is not one of ROTATING, STATIC, MEMBER")
    return form


cdef str _as_str(code):
    if isinstance(code, bytes):
        # Too long stays too long; what is no UTF-8 becomes a character that no code has.
        return (<bytes>code)[: UTF8_MAX * INPUT_MAX + 1].decode("utf-8", "replace")
    raise TypeError("a code is a str")


cdef _check_key(key):
    if not isinstance(key, bytes):
        raise TypeError("a key is bytes")
    if len(key) < KEY_BYTES_MIN:
        raise ValueError(f"a key has at least {KEY_BYTES_MIN} bytes")


cdef int _part(text, int length, int bit, uint8_t* out, str name) except 0:
    if not isinstance(text, str):
        raise TypeError(f"{name} is not a str")
    if not _collect(_text(text), length, bit, out):
        raise ValueError(f"{name} is not {length} base32 characters")
    return 1


# --- what Python sees -------------------------------------------------------------------------

def handle_of(key, user_id):
    """As `_code_py.handle_of`."""
    _check_key(key)
    cdef bytes digest = blake2b(user_id.encode(), digest_size=10, key=key).digest()
    return _spelled(digest, 0, HANDLE_LENGTH)


def serial_of(key, kind, handle, idempotency_key, window):
    """As `_code_py.serial_of`."""
    _check_key(key)
    data = "\x1f".join((kind, handle, str(window), idempotency_key)).encode()
    cdef bytes digest = blake2b(data, digest_size=SERIAL_BYTES, key=key).digest()
    cdef uint8_t[SERIAL_BYTES] serial
    memcpy(serial, <const uint8_t*>digest, SERIAL_BYTES)
    serial[0] &= 0x7F
    if _all_zero(serial):
        serial[SERIAL_BYTES - 1] = 1
    return _spelled(serial, 1, SERIAL_LENGTH)


cdef class KeyRing:
    """As `_code_py.KeyRing`."""

    # Single codes use these under the GIL; a batch works on copies of its own.
    cdef Context[KEYS] contexts
    cdef int active

    def __cinit__(self, keys, active):
        if active not in keys:
            raise ValueError(f"the ring has no key {active} to sign with")
        for key_id, key in keys.items():
            if not 0 <= key_id <= 15:
                raise ValueError(f"key id {key_id} is not in 0..15")
            _check_key(key)
            self.contexts[<int>key_id] = _prepare(key)
        self.active = active

    def __dealloc__(self):
        _free(self.contexts)

    def encode(self, form, handle, serial, step):
        """As `_code_py.KeyRing.encode`."""
        cdef uint8_t[SHA256_BYTES] tag
        cdef uint8_t[RAW_BYTES + 1] packed
        cdef int64_t full_step
        cdef int kind
        _part(handle, HANDLE_LENGTH, 0, packed + 1, "handle")
        _part(serial, SERIAL_LENGTH, 1, packed + 11, "serial")
        kind = _checked_form(form)
        if (kind == MEMBER) != _all_zero(packed + 11):
            raise ValueError("serial 0 belongs to member codes, and only to them")
        full_step = _checked_step(step)
        if kind == STATIC and full_step:
            raise ValueError("a static code has step 0")
        packed[0] = VERSION << 6 | kind << 4 | self.active
        packed[18] = full_step >> 8 & 0xFF
        packed[19] = full_step & 0xFF
        if not _tag(self.contexts[self.active], packed, full_step, tag):
            raise MemoryError("libcrypto could not compute a tag")
        memcpy(packed + 20, tag, TAG_BYTES)
        packed[RAW_BYTES] = 0  # the last character ends in two zero bits
        return _spelled(packed, 0, CODE_LENGTH)

    def encode_many(self, items):
        """As `_code_py.KeyRing.encode_many`."""
        return [self.encode(form, handle, serial, step) for form, handle, serial, step in items]

    def verify(self, code, now_step):
        """As `_code_py.KeyRing.verify`."""
        cdef int64_t now = _checked_step(now_step)
        cdef Scan scan
        if not isinstance(code, str):
            code = _as_str(code)
        _scan(self.contexts, _text(code), now, &scan)
        return _verdict(&scan)

    def verify_many(self, codes, now_step):
        """As `_code_py.KeyRing.verify_many`; other threads run meanwhile."""
        cdef int64_t now = _checked_step(now_step)
        # The list keeps every text alive while it is read without the GIL.
        cdef list kept = [code if isinstance(code, str) else _as_str(code) for code in codes]
        cdef Py_ssize_t i, count = len(kept)
        cdef Context[KEYS] contexts
        cdef bint complete
        cdef Text* texts = <Text*>PyMem_Malloc(count * sizeof(Text))
        cdef Scan* scans = <Scan*>PyMem_Malloc(count * sizeof(Scan))
        try:
            if texts is NULL or scans is NULL:
                raise MemoryError
            for i in range(count):
                texts[i] = _text(kept[i])
            with nogil:
                complete = _copy(self.contexts, contexts)
                if complete:
                    for i in range(count):
                        _scan(contexts, texts[i], now, &scans[i])
                _free(contexts)
            if not complete:
                raise MemoryError("libcrypto could not copy a context")
            return [_verdict(&scans[i]) for i in range(count)]
        finally:
            PyMem_Free(texts)
            PyMem_Free(scans)


# --- for tests and benchmarks -----------------------------------------------------------------

def _hmac_sha256(bytes key not None, bytes message not None, Py_ssize_t times=1):
    """The primitive alone, on a prepared context that is used `times` times."""
    cdef uint8_t[SHA256_BYTES] out
    cdef const uint8_t* data = message
    cdef size_t length = len(message)
    cdef EVP_MAC_CTX* context = _prepare(key)
    cdef Py_ssize_t i
    cdef int worked = times > 0
    for i in range(times):
        worked &= _mac(context, data, length, out)
    EVP_MAC_CTX_free(context)
    if not worked:
        raise MemoryError("libcrypto could not compute a tag")
    return (<const uint8_t*>out)[:SHA256_BYTES]


def _one_shot(bytes key not None, bytes message not None, Py_ssize_t times):
    """libcrypto's one-shot HMAC(), `times` times: what the benchmarks compare with."""
    cdef uint8_t[SHA256_BYTES] out
    cdef const uint8_t* secret = key
    cdef const uint8_t* data = message
    cdef int key_length = len(key)
    cdef size_t length = len(message)
    cdef Py_ssize_t i
    for i in range(times):
        HMAC(EVP_sha256(), secret, key_length, data, length, out, NULL)
    return (<const uint8_t*>out)[:SHA256_BYTES]


if _hmac_sha256(b"Jefe", b"what do ya want for nothing?", 2)[:4] != b"\x5b\xdc\xc1\x46":
    # RFC 4231, case 2. A libcrypto that cannot go back to a prepared key is of no use here.
    raise ImportError("this libcrypto does not repeat an HMAC")
