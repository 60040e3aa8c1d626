"""A header is a contract: what it says of keys, arguments, outcomes and includes is so."""

from __future__ import annotations

import re

import pytest

from engine import scripts
from engine.outcomes import Outcome
from tests.engine.lua_source import (
    LIBRARIES,
    MARK,
    WRITES,
    code_of,
    parse,
    path_of,
    reach,
    strip_strings,
    used_libraries,
)

VERBS = scripts.verbs()
BATCHED = [verb for verb in VERBS if "batch.run(" in parse(verb).body]
ACTING = [verb for verb in VERBS if "no-writes" not in scripts.load(verb).header.flags]
LUA_NAMES = frozenset(
    re.findall(
        r"\w+",
        """and break do else elseif end false for function if in local nil not or repeat return then
        true until while ipairs pairs math string table tonumber tostring error pcall select unpack
        type setmetatable redis cmsgpack cjson KEYS ARGV MARK""",
    )
)


def reached(verb: str) -> str:
    """All code that a call of the verb can come to."""
    return reach(parse(verb).body, parse(verb))


def section(verb: str, name: str) -> list[str]:
    """The lines of a section of a header."""
    header = path_of(verb).read_text().split("\n]]")[0]
    match = re.search(rf"^{name}:(.*?)(?=^\w+:|\Z)", header, re.DOTALL | re.MULTILINE)
    return [line.strip() for line in match[1].splitlines() if line.strip()] if match else []


@pytest.mark.parametrize("verb", VERBS)
def test_a_header_says_what_it_is_for(verb: str) -> None:
    header = scripts.load(verb).header
    assert header.purpose.endswith(".")
    assert header.keys == ("cell",)
    assert set(header.flags) <= {"allow-oom", "no-writes"}


@pytest.mark.parametrize("verb", VERBS)
def test_outcomes_are_those_that_can_come_out(verb: str) -> None:
    named = scripts.load(verb).header.outcomes
    assert len(set(named)) == len(named)
    assert set(named) == set(re.findall(r"\bOUTCOME\.(\w+)", reached(verb)))
    assert all(name in Outcome.__members__ for name in named)


@pytest.mark.parametrize("verb", VERBS)
def test_derived_keys_are_those_that_are_touched(verb: str) -> None:
    derived = scripts.load(verb).header.derived
    assert sorted(derived) == sorted(set(re.findall(r"\bkeys\.(\w+)\(", reached(verb))))


@pytest.mark.parametrize("verb", VERBS)
def test_includes_are_those_that_the_file_uses(verb: str) -> None:
    assert set(scripts.load(verb).header.include) == used_libraries(parse(verb))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_includes_what_it_uses(library: str) -> None:
    file = parse(f"lib/{library}")
    first = re.match(r"-- include: (.*)", path_of(file.name).read_text())
    assert set(first[1].split(", ") if first else []) == used_libraries(file)


@pytest.mark.parametrize("verb", VERBS)
def test_keys_and_arguments_are_numbered_as_they_are_used(verb: str) -> None:
    used = reached(verb) + parse("lib/keys").body
    assert set(re.findall(r"\bKEYS\[(.*?)\]", used)) == {"1"}
    numbers = [line.split()[0] for line in section(verb, "arguments")]
    in_loop = re.findall(r"(\d+), #ARGV", used)
    assert sorted(numbers) == sorted({*re.findall(r"\bARGV\[(\d+)\]", used), *in_loop})


@pytest.mark.parametrize("verb", BATCHED)
def test_every_field_of_a_command_is_read(verb: str) -> None:
    name = section(verb, "arguments")[0].split("commands.")[1]
    fields = set(scripts._STRUCTS[name.upper()].__struct_fields__)
    used = set(re.findall(rf"\b{name.upper()}\.(\w+)", reached(verb)))
    assert used == fields


def undeclared(code: str) -> set[str]:
    """Names that are used and nowhere local: Redis lets a script read no global of its own."""
    text = strip_strings(code)
    declared = LUA_NAMES | set(LIBRARIES)
    for names in re.findall(r"\b(?:local|for) (\w+(?:, *\w+)*)", text):
        declared |= set(re.split(r", *", names))
    for names in re.findall(r"\bfunction *[\w.]*\(([^)]*)\)", text):
        declared |= {part.strip() for part in names.split(",")}
    declared |= set(re.findall(r"\blocal function (\w+)", text))
    declared |= set(re.findall(r"[{,]\s*(\w+) = ", text))  # fields of a table constructor
    return set(re.findall(r"(?<![.\w])([a-z_]\w*)", text)) - declared


@pytest.mark.parametrize("name", [*VERBS, *(f"lib/{library}" for library in LIBRARIES)])
def test_there_are_no_globals(name: str) -> None:
    assert not undeclared(code_of(path_of(name).read_text()))


def test_a_global_is_seen() -> None:
    assert undeclared("local a = function(b) seen = a .. b.c return d end") == {"seen", "d"}


def test_no_function_is_dead() -> None:
    everything = "\n".join(reached(verb) for verb in VERBS)
    dead = [
        function
        for name in [*VERBS, *(f"lib/{library}" for library in LIBRARIES)]
        for function, text in parse(name).functions.items()
        if text not in everything
    ]
    assert not dead


# ---- decide, then do ---------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ACTING)
def test_every_check_is_above_the_line_and_every_write_below(verb: str) -> None:
    file = parse(verb)
    assert path_of(verb).read_text().count(MARK) == 1
    assert file.body.count("MARK()") == 1
    deciding, doing = file.body.split("MARK()")
    # batch.run itself finishes the batch when all is decided.
    deciding = deciding.replace("batch.run(", "(")
    assert not WRITES.search(reach(deciding, file)), f"{verb} may write before all is decided"
    assert set(re.findall(r"OUTCOME\.(\w+)", doing)) <= {"DONE"}, f"{verb} may refuse half-way"
    assert "error(" not in reach(doing, file)


@pytest.mark.parametrize("verb", VERBS)
def test_what_says_no_writes_writes_nothing(verb: str) -> None:
    writes = WRITES.search(reached(verb)) is not None
    assert writes == ("no-writes" not in scripts.load(verb).header.flags)


def test_a_full_server_still_takes_back() -> None:
    spared = {verb for verb in ACTING if "allow-oom" in scripts.load(verb).header.flags}
    orders = {"order_cancel", "order_lapse", "refund"}
    counters = {"redeem", "commit", "release", "reverse", "lapse", "park", "checkin"}
    assert spared == counters | orders


def test_a_check_after_a_write_is_seen() -> None:
    file = parse("claim")
    assert WRITES.search(reach("campaigns.take_one(share)", file))
    assert WRITES.search(reach("redemptions.put(handle)", file))
    assert not WRITES.search(reach("issuing.judge(share) stacking.judge(items)", file))


# ---- the loader --------------------------------------------------------------------------------


def test_numbers_are_put_in_and_lines_are_known() -> None:
    script = scripts.load("claim")
    assert script.source.startswith("#!lua\n")
    assert not re.search(r"\b(OUTCOME|COUPON|CLAIM)\.", script.source)
    assert len(script.lines) == script.source.count("\n")
    for line, place in list(zip(script.source.splitlines(), script.lines, strict=True))[1:]:
        file, _, at = place.rpartition(":")
        written = (scripts.LUA / file).read_text().splitlines()[int(at) - 1]
        assert scripts._named(written, place) == line
    last = len(script.lines)
    assert script.where(f"user_script:{last}: oops") == f"{script.lines[-1]}: oops"
    assert script.where("user_script:9999: oops") == "user_script:9999: oops"


def test_flags_stand_in_the_first_line() -> None:
    assert scripts.load("redeem").source.startswith("#!lua flags=allow-oom\n")
    assert scripts.load("offers").source.startswith("#!lua flags=no-writes,allow-oom\n")


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_carries_what_it_reaches_and_no_more(verb: str) -> None:
    source = scripts.load(verb).source
    made = set(re.findall(r"^function (\w+\.\w+)", source, re.MULTILINE))
    named = set(re.findall(rf"\b(?:{'|'.join(LIBRARIES)})\.\w+(?=\()", source))
    assert made == named


@pytest.mark.parametrize("line", ["OUTCOME.NO_SUCH", "CLAIM.no_such", "COUPON_STATE.GONE"])
def test_an_unknown_name_fails_at_load(line: str) -> None:
    with pytest.raises(ValueError, match=r"there:1: unknown name"):
        scripts._named(f"return {line}", "there:1")


def test_a_script_without_a_header_fails_at_load() -> None:
    with pytest.raises(ValueError, match="opens with"):
        scripts.parse_header("return 1")
