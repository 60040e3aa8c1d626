"""/console/: its files as they are served, and what its pages name is there."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from api.app import all_routes
from api.console import POLICY
from api.routes import ROLES
from api.webfiles import WEB
from tests.api.server import Api, ApiServer


def digest_of(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


FOLDER = WEB / "console"
DIGESTS = {path.name: digest_of(path.read_bytes()) for path in FOLDER.iterdir()}
PAGES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".html", ".js", ".css"))
VENDORED = ("preact.js", "uplot.js", "uplot.css")
OURS = [path for path in PAGES if path.name not in VENDORED]
SCRIPTS = [path for path in OURS if path.suffix == ".js"]
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# A row of words.js: the key, then English and Chinese.
WORD = re.compile(r'^  "([\w.]*)": \[\s*("(?:[^"\\]|\\.)*"),\s*("(?:[^"\\]|\\.)*"),?\s*\],$', re.M)


# ---- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [FOLDER / "icon.svg", *PAGES], ids=lambda path: path.name)
async def test_files_are_served(api: Api, path: Path) -> None:
    """To anybody: with their type, the policy, and an ETag that spares sending them again."""
    page = await api.get(f"/console/{path.name}", key="")
    assert (page.status, digest_of(page.content)) == (200, DIGESTS[path.name])
    assert page.headers["Content-Type"] == TYPES[path.suffix]
    assert page.headers["Content-Security-Policy"] == POLICY
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-cache"
    tag = page.headers["ETag"]
    for known in (tag, f'"other", W/{tag}'):
        again = await api.get(f"/console/{path.name}", key="", headers={"If-None-Match": known})
        assert (again.status, again.content, again.headers["ETag"]) == (304, b"", tag)
    other = await api.get(f"/console/{path.name}", key="", headers={"If-None-Match": '"other"'})
    assert other.status == 200


async def test_the_page_itself(api: Api) -> None:
    """/console/ is index.html, /console leads there, HEAD has no body; no other method."""
    page = await api.get("/console/", key="")
    assert digest_of(page.content) == DIGESTS["index.html"]
    assert (await api.get("/console", key="")).content == page.content  # the redirect is followed
    assert (await api.ask("HEAD", "/console/", key="")).content == b""
    assert (await api.post("/console/", {})).status == 405


def test_the_policy_lets_nothing_else_in() -> None:
    """Own files only: nothing inline, nothing evaluated, nothing from elsewhere."""
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules.pop("default-src") == "'none'"
    assert set(rules.values()) <= {"'self'", "'none'"}


@pytest.mark.parametrize(
    "name",
    [
        "VENDOR.md",
        "LICENSE-htm",
        "nothing.js",
        "..%2fdocs%2findex.html",
        "..%2f..%2fconsole.py",
        "%2e%2e/docs/VENDOR.md",
        "../../pyproject.toml",
        "%2fetc%2fpasswd",
        "icon.svg%00",
        ".%5cindex.html",
    ],
)
def test_nothing_else_is_served(api_server: ApiServer, name: str) -> None:
    """Licences stay in the folder, and there is no way out of it, however it is spelled."""
    connection = HTTPConnection(api_server.url.removeprefix("http://"))
    connection.request("GET", f"/console/{name}")
    with connection.getresponse() as answer:
        assert answer.status == 404
    connection.close()


def named(path: Path) -> Iterator[str]:
    """Every file that a page, a script or a style sheet names."""
    text = path.read_text()
    if path.suffix == ".html":
        yield from re.findall(r'(?:src|href)="([^"]+)"', text)
    elif path.suffix == ".js":
        yield from re.findall(r'^import .* from "([^"]+)";$', text, re.M)
    else:
        yield from re.findall(r"""(?:url\(|@import )["']?([^"')]+)""", text)


async def test_what_is_named_is_there(api: Api) -> None:
    """Each name leads to a file of this server."""
    found = [(path.name, name) for path in OURS for name in named(path)]
    assert len(found) > 30
    for page, name in found:
        assert "//" not in name, (page, name)
        whole = posixpath.normpath(posixpath.join("/console", name))
        assert (await api.get(whole, key="")).status == 200, (page, name)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_is_inline_or_from_elsewhere(path: Path) -> None:
    """What the policy would stop is not there to be stopped; lines are ours."""
    text = path.read_text()
    assert not re.findall(r"https?://|innerHTML|\beval\(|new Function", text)
    if path.suffix == ".html":
        assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", text)
    assert max(map(len, text.splitlines())) <= 100


def test_vendored_files_are_unchanged() -> None:
    """Each is the one that VENDOR.md names, and all that is not ours is named there."""
    text = (FOLDER / "VENDOR.md").read_text()
    sums = dict(re.findall(r"^\| `([^`]+)` \| `[^`]+` \| `([0-9a-f]{64})` \|$", text, re.M))
    assert {*VENDORED} | {path.name for path in FOLDER.glob("LICENSE*")} == set(sums)
    for name, told in sums.items():
        assert DIGESTS[name] == told, name


# ---- what the pages ask and say ----------------------------------------------------------------


def test_every_call_is_a_route() -> None:
    """The table of calls names paths and methods that the API serves; nothing else names one."""
    text = (FOLDER / "api.js").read_text()
    table = text[text.index("export const CALLS = {") : text.index("};")]
    calls = dict(re.findall(r'^  (\w+): "(\w+ \S+)",$', table, re.M))
    assert len(calls) == table.count("\n") - 1
    assert set(calls.values()) <= {f"{one.method} {one.path}" for one in all_routes()}
    for path in SCRIPTS:
        rest = path.read_text().replace(table, "")
        assert not re.findall(r"[\"'`]/?v1/", rest), path.name
        asked = re.findall(r'\b(?:ask|download|file)\(\s*"(\w+)"', rest)
        assert set(asked) <= set(calls), path.name


def test_what_a_key_may_read_tells_its_role() -> None:
    """The pages are shown by which of a few readings are allowed: no two roles are taken for one.

    Roles of systems have no page, whatever they may read.
    """
    text = (FOLDER / "api.js").read_text()
    calls = dict(re.findall(r'^  (\w+): "(\w+ \S+)",$', text, re.M))
    probes = re.findall(r'^  \["(\w+)", \{', text[text.index("const PROBES") :], re.M)
    told = dict(re.findall(r'^  "([\w ]+)": "(\w+)",$', text[text.index("const ROLES") :], re.M))
    routes = {f"{one.method} {one.path}": one for one in all_routes()}
    for role in set(ROLES) - {"user"}:
        may = " ".join(one for one in probes if role in routes[calls[one]].roles)
        assert told.get(may, "") == (role if role in told.values() else ""), role
    views = (FOLDER / "console.js").read_text()
    assert set(told.values()) == set(re.findall(r"^  (\w+): \[\"", views, re.M))


def words() -> dict[str, tuple[str, str]]:
    """The table of words.js."""
    text = (FOLDER / "words.js").read_text()
    table = text[text.index("const WORDS = {") : text.index("\n};")]
    found = WORD.findall(table)
    assert len(found) == len(re.findall(r'^  "', table, re.M)), "a row is not of the usual form"
    assert len({key for key, _, _ in found}) == len(found), "a key stands twice"
    return {key: (english, chinese) for key, english, chinese in found}


def test_words_are_there_in_both_languages() -> None:
    """Neither side is empty, and both fill in the same values."""
    for key, (english, chinese) in words().items():
        assert min(len(english), len(chinese)) > 2, key
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese)), key


def test_words_that_are_used_are_there() -> None:
    """Each key that a page names, and for keys put together of parts at least one; no others."""
    known, used = words(), set[str]()
    for path in SCRIPTS:
        for argument in re.findall(r"(?<![\w.])t\(([^,)]*)", path.read_text()):
            for key in re.findall(r'"([^"]*)"', argument):
                assert key in known or argument.count('"') > 2, (path.name, key)
                used.add(key)
            for key in re.findall(r"`([^`]*)`?", argument):
                pattern = re.compile(re.sub(r"\\\$\\\{.*?\\\}", r"\\w*", re.escape(key)))
                fitting = {one for one in known if pattern.match(one)}
                assert fitting, (path.name, key)
                used |= fitting
    assert set(known) - used == set()
