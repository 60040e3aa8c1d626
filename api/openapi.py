"""/openapi.json: OpenAPI 3.1 from the route table and the Structs that decode and answer."""

from __future__ import annotations

import http
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from api.examples import EXAMPLES
from api.problems import PROBLEM
from api.readiness import VERSION
from api.routes import NoQuery, Route
from engine.definitions import Id
from engine.outcomes import Outcome

REFERENCE = "#/components/schemas/{name}"
Json = dict[str, Any]

INTRODUCTION = """\
Money is in minor units (fen), times are RFC 3339 (UTC with milliseconds in replies).
Every mutating POST takes an `Idempotency-Key`: sent again with the same request it gives the
same status and body, marked `Idempotent-Replayed: true`. A refusal is `application/problem+json`
with a `code`; one by a rule is 409 and changes nothing. The sentence in `detail` follows
`Accept-Language` (`en`, `zh-CN`).
"""

HEADERS: dict[str, Json] = {
    "Idempotency-Key": {
        "required": True,
        "description": "Names this request: sent again, it has one effect and one answer.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
        "example": "9f1c2a7e-claim-1",
    },
    "Hexiao-Actor": {
        "description": "Who acts, for the facts and the audit; else the key's label.",
        "schema": {"type": "string", "maxLength": 128, "pattern": "^[ -~]*$"},
    },
    "Hexiao-Deadline-Ms": {
        "description": "Milliseconds after arrival past which nothing is done and 503 is answered.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,9}$"},
    },
}

PROBLEM_SCHEMA: Json = {
    "title": "Problem",
    "description": "A refusal or a fault (RFC 9457); members beyond these help with some codes.",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string", "description": "One sentence, by Accept-Language."},
        "say": {"type": "string", "description": "For the person in front of a till's screen."},
        "field": {"type": "string", "description": "JSON path, query parameter or header."},
        "coupon_id": {"type": "string"},
        "short_by": {"type": "integer", "description": "Fen, or units for min_quantity."},
        "retry_at": {"type": "string", "format": "date-time"},
        "until": {"type": "string", "format": "date-time"},
        "failed": {"type": "array", "items": {"type": "object"}},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}

PLATE = {"type": "string", "minLength": 1, "maxLength": 64, "examples": ["沪A12345", "京AD12345"]}

DESCRIPTIONS = {
    400: "The request is not whole: `invalid_request` or `idempotency_key_required`.",
    401: "The key is missing or not valid: `unauthenticated`.",
    403: "This key may not do that: `forbidden`.",
    404: "There is no such thing here: `not_found`.",
    409: "Refused by a rule; nothing changed.",
    413: "The body is too large.",
    415: "The body is not of a media type that is taken here.",
    422: "The Idempotency-Key was used for another request: `idempotency_key_reused`.",
    503: "Too busy or recovering; ask again with the same key after `Retry-After`.",
}


def document(routes: Iterable[Route]) -> Json:
    """The whole document; routes marked hidden are left out."""
    shown = [route for route in routes if not route.hidden]
    bodies = _types(shown)
    schemas, components = msgspec.json.schema_components(bodies, ref_template=REFERENCE)
    by_type = dict(zip(map(id, bodies), schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in shown:
        operation = _operation(route, by_type, components)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hexiao",
            "version": VERSION,
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM_SCHEMA, **_cleaned(components)},
            "parameters": {
                name: {"name": name, "in": "header", **header} for name, header in HEADERS.items()
            },
            "responses": {f"Problem{status}": _problem_response(status) for status in DESCRIPTIONS},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of the mall, or an end user's JWT.",
                }
            },
        },
    }


def _types(routes: Iterable[Route]) -> list[Any]:
    """Every type that a body or a reply is made of, once."""
    found: dict[int, Any] = {}
    for route in routes:
        for one in (route.body, route.query, route.reply):
            if one is not None and one not in (bytes, str, dict):
                found.setdefault(id(one), one)
    return list(found.values())


def _operation(route: Route, by_type: Mapping[int, Json], components: Mapping[str, Json]) -> Json:
    module = route.handler.__module__.rpartition(".")[2]
    operation: Json = {
        "operationId": f"{module}_{route.handler.__name__}",
        "summary": route.summary,
        "tags": list(route.tags) or [module],
        "responses": _responses(route, by_type),
    }
    if route.public:
        operation["security"] = []
    else:
        roles = ", ".join(f"`{role}`" for role in sorted(route.roles))
        operation["description"] = f"For keys of: {roles}."
        operation["x-roles"] = sorted(route.roles)
    parameters = _parameters(route, by_type, components)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = _schema(route.body, by_type)
        shown: Json = {"schema": schema}
        if (route.method, route.path) in EXAMPLES:
            shown["example"] = EXAMPLES[route.method, route.path]
        content = dict.fromkeys(route.accepts, shown)
        operation["requestBody"] = {"required": _needs_body(route.body), "content": content}
    return _merged(operation, route.extra)


def _parameters(
    route: Route, by_type: Mapping[int, Json], components: Mapping[str, Json]
) -> list[Json]:
    identifier = _cleaned(msgspec.json.schema(Id))
    spelled = {"plate": PLATE}
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": spelled.get(name, identifier)}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    if route.query is not NoQuery:
        schema = components[by_type[id(route.query)]["$ref"].rpartition("/")[2]]
        required = schema.get("required", ())
        found += [
            {"name": name, "in": "query", "required": name in required, "schema": _cleaned(kind)}
            for name, kind in schema["properties"].items()
        ]
    if route.idempotent:
        found.append(_parameter("Idempotency-Key"))
    if not route.public:
        if route.method != "GET":
            found.append(_parameter("Hexiao-Actor"))
        found.append(_parameter("Hexiao-Deadline-Ms"))
    return found


def _parameter(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def _responses(route: Route, by_type: Mapping[int, Json]) -> Json:
    success: Json = {"description": http.HTTPStatus(route.status).phrase}
    if route.reply is not None:
        schema = _schema(route.reply, by_type)
        success["content"] = {
            media: {"schema": schema if media.endswith("json") else {"type": "string"}}
            for media in route.produces
        }
    if route.idempotent:
        success["headers"] = {
            "Idempotent-Replayed": {
                "description": "`true` where this is a first answer given again.",
                "schema": {"type": "string", "const": "true"},
            }
        }
    responses: Json = {str(route.status): success}
    for status in sorted(_statuses(route)):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
    return responses


def _statuses(route: Route) -> set[int]:
    """The statuses of every problem that the route can answer with."""
    if route.public:
        return {404} if "{" in route.path else set()
    found = {400, 401, 403, 404, 503} | {outcome.status for outcome in route.errors}
    if route.body is not None:
        found |= {413, 415}
    if route.idempotent:
        found |= {409, 422}
    if route.method in ("PUT", "PATCH", "DELETE"):
        found.add(409)
    return found & set(DESCRIPTIONS)


def _problem_response(status: int) -> Json:
    codes = sorted({one.code for one in Outcome if one.status == status and one != 120})
    response: Json = {
        "description": DESCRIPTIONS[status],
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status == 409:
        response["description"] += " One of " + ", ".join(f"`{code}`" for code in codes) + "."
    if status == 503:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return response


def _schema(one: Any, by_type: Mapping[int, Json]) -> Json:
    if one in (bytes, str):
        return {"type": "string"}
    if one is dict:
        return {"type": "object"}
    cleaned: Json = _cleaned(by_type[id(one)])
    return cleaned


def _needs_body(body: Any) -> bool:
    """Whether an empty body is refused: some field has no default."""
    if isinstance(body, type) and issubclass(body, msgspec.Struct):
        return any(one.required for one in msgspec.structs.fields(body))
    return True


def _cleaned(schema: Any) -> Any:
    """As most tools read it: patterns as ECMAScript has them, pairs as arrays of one type.

    ``(?!\\n)`` says what ``$`` means there anyhow; ``prefixItems`` is not known everywhere.
    """
    if isinstance(schema, list):
        return [_cleaned(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned = {name: _cleaned(value) for name, value in schema.items()}
    if isinstance(cleaned.get("pattern"), str):
        cleaned["pattern"] = cleaned["pattern"].replace("(?!\\n)", "")
    kinds = cleaned.get("prefixItems")
    if kinds and all(kind == kinds[0] for kind in kinds):
        cleaned["items"] = cleaned.pop("prefixItems")[0]
    return cleaned


def _merged(operation: Json, extra: Mapping[str, Any]) -> Json:
    """``extra`` into ``operation``: lists are added to, the rest replaced or merged."""
    for name, value in extra.items():
        old = operation.get(name)
        if isinstance(old, list) and isinstance(value, list):
            operation[name] = old + value
        elif isinstance(old, dict) and isinstance(value, Mapping):
            operation[name] = _merged(dict(old), value)
        else:
            operation[name] = value
    return operation
