"""The compiled twins of the fast path; everything else about the package is in pyproject.toml.

HEXIAO_NO_EXTENSIONS=1 builds without it. HEXIAO_REQUIRE_EXTENSIONS=1 makes a failed build fatal;
otherwise setuptools warns (no compiler, no libcrypto headers) and the pure twin does the work.
"""

import os

from setuptools import Extension, setup

required = os.environ.get("HEXIAO_REQUIRE_EXTENSIONS") == "1"
extensions = [
    Extension(
        "engine.fastpath._code_c",
        ["engine/fastpath/_code_c.pyx"],
        libraries=["crypto"],
        optional=not required,
    ),
    Extension(
        "engine.fastpath._sign_c",
        ["engine/fastpath/_sign_c.pyx"],
        libraries=["crypto"],
        optional=not required,
    ),
    Extension("engine.fastpath._best_c", ["engine/fastpath/_best_c.pyx"], optional=not required),
    Extension(
        "engine.fastpath._request_c", ["engine/fastpath/_request_c.pyx"], optional=not required
    ),
]

setup(ext_modules=[] if os.environ.get("HEXIAO_NO_EXTENSIONS") == "1" else extensions)
