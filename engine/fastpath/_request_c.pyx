# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A plain HTTP request taken apart in one pass: the twin of `_request_py`, which documents it."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from engine.fastpath._request_py import MOST_BODY, MOST_HEAD, MOST_HEADERS, ONCE, STRANGE, TOLD


cdef enum:
    LONGEST = 24  # characters of a name that means something
    NAMES = 32
    MANY = 64  # MOST_HEADERS
    PLAIN = 0
    MEANT = 1  # TOLD and ONCE
    UNUSUAL = 2  # STRANGE

ctypedef struct Name:
    Py_ssize_t length
    int kind
    char[LONGEST] text

cdef uint8_t[256] LOWER  # of characters that names are made of; 0 of all others
cdef uint8_t[256] TEXT  # 1 of what a value is made of
cdef Name[NAMES] KNOWN
cdef int MOST_KNOWN = 0
cdef list SPELLED = []  # as MEANT is told, in the order of KNOWN
cdef int CONNECTION, LENGTH, HOST, AGENT
cdef Py_ssize_t HEAD_BYTES = MOST_HEAD, BODY_BYTES = MOST_BODY
cdef char* VERSION = b" HTTP/1.1\r\n"
cdef char* OPEN = b"keep-alive"


cdef _fill():
    global MOST_KNOWN, CONNECTION, LENGTH, HOST, AGENT
    cdef bytes low
    cdef int c
    for c in range(256):
        LOWER[c] = c if c in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz" else 0
        TEXT[c] = 0x20 <= c <= 0x7E
    for c in range(c"A", c"Z" + 1):
        LOWER[c] = c + 32
    names = TOLD + ONCE + STRANGE
    if MOST_HEADERS != MANY or len(names) > NAMES or max(map(len, names)) > LONGEST:
        raise ImportError("the twins of the fast path differ")
    for name in names:
        low = name.lower().encode()
        KNOWN[MOST_KNOWN].length = len(low)
        KNOWN[MOST_KNOWN].kind = UNUSUAL if name in STRANGE else MEANT
        memcpy(KNOWN[MOST_KNOWN].text, <char*>low, len(low))
        SPELLED.append(name)
        MOST_KNOWN += 1
    CONNECTION, LENGTH, HOST, AGENT = map(
        SPELLED.index, ("Connection", "Content-Length", "Host", "User-Agent")
    )

_fill()


cdef int _known(const uint8_t* name, Py_ssize_t length) noexcept nogil:
    """Its place in KNOWN, -1 where it is not there, -2 where it is no name."""
    cdef char[LONGEST] low
    cdef Py_ssize_t i
    cdef int n
    for i in range(length):
        if LOWER[name[i]] == 0:
            return -2
        if i < LONGEST:
            low[i] = LOWER[name[i]]
    for n in range(MOST_KNOWN):
        if KNOWN[n].length == length and memcmp(KNOWN[n].text, low, length) == 0:
            return n
    return -1


cdef bint _stays_open(const uint8_t* value, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    if length != 10:
        return False
    for i in range(length):
        if LOWER[value[i]] != <uint8_t>OPEN[i]:
            return False
    return True


def read(data):
    """As `_request_py.read`."""
    cdef const uint8_t* text
    cdef Py_ssize_t size, end, at, start, stop, length = 0, i
    cdef Py_ssize_t[NAMES] begins
    cdef Py_ssize_t[NAMES] ends
    cdef unsigned int seen = 0
    cdef int n, count = 0
    cdef Py_ssize_t line
    if type(data) is not bytes:
        return None
    text = <const uint8_t*><bytes>data
    size = len(<bytes>data)
    end = min(size, HEAD_BYTES)
    # The request line: METHOD /path HTTP/1.1
    at = 0
    while at < end and c"A" <= text[at] <= c"Z":
        at += 1
    if at == 0 or at + 2 > end or text[at] != c" " or text[at + 1] != c"/":
        return None
    at += 1
    while at < end and TEXT[text[at]] and text[at] != c" ":
        at += 1
    line = at
    if at + 11 > end or memcmp(text + at, VERSION, 11) != 0:
        return None
    at += 11
    # Headers, each with its end of line; then an empty line.
    while at < end and text[at] != c"\r":
        count += 1
        if count > MANY:
            return None
        start = at
        while at < end and text[at] != c":":
            at += 1
        if at == start or at + 2 >= end or text[at + 1] != c" ":
            return None
        n = _known(text + start, at - start)
        at += 2
        start = at
        while at < end and TEXT[text[at]]:
            at += 1
        stop = at
        if stop == start or text[start] == c" " or text[stop - 1] == c" ":
            return None
        if at + 2 > end or text[at] != c"\r" or text[at + 1] != c"\n":
            return None
        at += 2
        if n == -2:
            return None
        if n >= 0:
            if KNOWN[n].kind == UNUSUAL or seen >> n & 1:
                return None
            seen |= 1u << n
            begins[n], ends[n] = start, stop
    if at + 2 > end or text[at] != c"\r" or text[at + 1] != c"\n" or not seen >> HOST & 1:
        return None
    at += 2
    if seen >> LENGTH & 1:
        if ends[LENGTH] - begins[LENGTH] > 7:
            return None
        for i in range(begins[LENGTH], ends[LENGTH]):
            if not c"0" <= text[i] <= c"9":
                return None
            length = length * 10 + text[i] - c"0"
        if length > BODY_BYTES:
            return None
    if size - at != length:
        return None
    if seen >> CONNECTION & 1:
        if not _stays_open(text + begins[CONNECTION], ends[CONNECTION] - begins[CONNECTION]):
            return None
    seen &= ~(1u << LENGTH | 1u << CONNECTION | 1u << HOST | 1u << AGENT)
    headers = {}
    for n in range(MOST_KNOWN):
        if seen >> n & 1:
            headers[SPELLED[n]] = PyUnicode_DecodeASCII(
                <const char*>text + begins[n], ends[n] - begins[n], NULL
            )
    return (
        PyBytes_FromStringAndSize(<const char*>text, line),
        headers,
        PyBytes_FromStringAndSize(<const char*>text + at, length),
    )
