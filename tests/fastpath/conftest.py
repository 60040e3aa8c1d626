import importlib
import os
from typing import Any

import pytest

from tests.fastpath.by_the_book import KEY

MUST_BE_COMPILED = "CI" in os.environ or os.environ.get("HEXIAO_REQUIRE_EXTENSIONS") == "1"


def load_module(name: str) -> Any:
    """A twin; skips, or fails in CI, where it is not built."""
    try:
        return importlib.import_module(f"engine.fastpath.{name}")
    except ImportError as error:
        if MUST_BE_COMPILED:
            raise
        pytest.skip(f"the compiled fast path is not built here: {error}")


def load(name: str) -> Any:
    return load_module(f"_code_{name}")


@pytest.fixture(params=["py", "c"], ids=["pure", "compiled"], scope="session")
def twin(request: pytest.FixtureRequest) -> Any:
    """The module under test: every test runs on both twins."""
    return load(request.param)


@pytest.fixture(scope="session")
def ring(twin: Any) -> Any:
    """A ring with one key, on the twin under test."""
    return twin.KeyRing({1: KEY}, 1)


@pytest.fixture(scope="session")
def twins() -> tuple[Any, Any]:
    """Both modules, for tests that compare them."""
    return load("py"), load("c")
