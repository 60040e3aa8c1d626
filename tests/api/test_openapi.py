"""/openapi.json: valid, whole, true; and the server survives whatever it allows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from api.app import all_routes
from api.examples import EXAMPLES
from api.openapi import document as build
from tests.api.server import Api, ApiServer
from tests.servers import IN_CI


@pytest.fixture
async def document(api: Api) -> dict[str, Any]:
    """As the server gives it."""
    found: dict[str, Any] = (await api.get("/openapi.json", key="")).json
    return found


async def test_it_is_valid(document: dict[str, Any]) -> None:
    """OpenAPI 3.1 by its own schema."""
    assert document["openapi"].startswith("3.1")
    validate(document)


async def test_it_is_whole(document: dict[str, Any]) -> None:
    """Every built route is in it, no other is."""
    shown = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert shown == {(one.method, one.path) for one in all_routes() if not one.hidden}


@pytest.mark.parametrize("method_path", EXAMPLES, ids=" ".join)
def test_examples_fit_their_routes(method_path: tuple[str, str]) -> None:
    """What the document shows is what the server reads."""
    body = next(one.body for one in all_routes() if (one.method, one.path) == method_path)
    msgspec.json.decode(json.dumps(EXAMPLES[method_path]), type=body)


async def test_operations_are_named_apart(document: dict[str, Any]) -> None:
    """Generated clients call their methods by it."""
    names = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
    ]
    assert len(names) == len(set(names))


async def test_types_are_named_apart_and_plainly(document: dict[str, Any]) -> None:
    """A name with dots in it is two classes of one name."""
    assert [name for name in document["components"]["schemas"] if not name.isidentifier()] == []


async def test_mutating_posts_ask_for_a_key(document: dict[str, Any]) -> None:
    """Idempotency-Key stands at every POST but those that change nothing or name their own key."""
    reading = {"/v1/offers", "/v1/quotes", "/v1/codes/verify", "/v1/scans/resolve"}
    reading |= {"/v1/reconciliations"}
    reading |= {"/v1/parking/payments", "/v1/parking/exits", "/v1/parking/offline"}  # by fee_id
    reading |= {"/v1/checkins", "/v1/checkins/offline"}  # by the nonce of a scan
    for path, item in document["paths"].items():
        if "post" in item:
            names = [one.get("$ref", "") for one in item["post"]["parameters"]]
            asked = "#/components/parameters/Idempotency-Key" in names
            assert asked is (path not in reading), path


async def test_docs_ask_nobody_else(api: Api) -> None:
    """All that the page names comes from this server."""
    page = await api.get("/docs", key="")
    assert page.headers["Content-Type"].startswith("text/html")
    names = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert names
    for name in names:
        assert "//" not in name
        found = await api.get(f"/{name}", key="")
        assert found.status == 200
        known = {"If-None-Match": found.headers["ETag"]}
        assert (await api.get(f"/{name}", key="", headers=known)).status == 304
    script = (await api.get("/docs/docs.js", key="")).content.decode()
    assert "http" not in script
    assert (await api.get("/docs/VENDOR.md", key="")).status == 404


@pytest.mark.servers("valkey")
@pytest.mark.databases("postgres")  # the one that minds lengths and U+0000
@pytest.mark.slow
def test_schemathesis_finds_no_fault(api_server: ApiServer, tmp_path: Path) -> None:
    """Requests made up from the document, the allowed and the not quite allowed: never a 5xx,
    never an answer that the document does not know."""
    _, operator = api_server.new_mall()
    document = build(all_routes())
    # A deadline that has passed is answered 503, and rightly.
    for item in document["paths"].values():
        for operation in item.values():
            operation["parameters"] = [
                one
                for one in operation.get("parameters", ())
                if one.get("$ref") != "#/components/parameters/Hexiao-Deadline-Ms"
            ]
            # It cannot write lines of JSON.
            operation.get("requestBody", {"content": {}})["content"].pop("application/x-ndjson", 0)
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance,response_headers_conformance"
    )
    done = subprocess.run(
        [
            sys.executable,
            *("-m", "schemathesis.cli", "run", tmp_path / "openapi.json"),
            *("--url", api_server.url),
            *("--header", f"Authorization: Bearer {operator}"),
            *("--checks", checks),
            *("--max-examples", os.environ.get("HEXIAO_TEST_EXAMPLES", "6" if IN_CI else "3")),
            *("--phases", "examples,coverage,fuzzing" if IN_CI else "examples,fuzzing"),
            *("--generation-deterministic", "--no-color"),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
