# What the other compiled twins take from `_code_c`.
from libc.stdint cimport uint8_t

ctypedef struct Text:  # a str, readable without the GIL while somebody holds a reference
    int kind
    const void* data
    Py_ssize_t length

cdef Text _text(text)
cdef str _as_str(code)
cdef str _spelled(const uint8_t* source, int bit, int length)
cdef int _unpack(Text text, int length, uint8_t* out) noexcept nogil
cdef int _part(text, int length, int bit, uint8_t* out, str name) except 0
