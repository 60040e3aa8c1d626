"""Writes the tables of docs/BENCHMARKS.md from reports/*.json: no figure is typed by hand.

``python -m benchmarks.tables [--reports DIR] [--document PATH]``. A table stands after its mark,
``<!-- table: NAME -->``, up to ``<!-- end -->``; where a report is missing the table stays as it
is, or says that it was not measured.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Report = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(r"<!-- table: (\S+) -->\n(?:.*?<!-- end -->\n)?", re.DOTALL)
NOT_YET = "\n*Not measured yet.*\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Numbers to the right, the first column to the left."""
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    lines += ["| " + " | ".join(map(shown, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """Three figures or so."""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def where(report: Report) -> str:
    """The line under a table: when and on what."""
    machine = report.get("machine", report)
    server = report.get("server", "")
    if isinstance(server, dict):
        server = server.get("redis", "")
    said = [
        machine.get("date", "")[:10],
        f"commit {machine['commit']}" if machine.get("commit") else "",
        f"{machine['cpus']} CPUs, {machine.get('cpu', machine.get('machine', ''))}",
        server,
        f"PostgreSQL {report['postgresql']}" if "postgresql" in report else "",
        report.get("durability", ""),
        f"Python {machine['python']}",
    ]
    return "*" + " · ".join(part for part in said if part) + "*\n"


def picked(rows: Iterable[Report], *names: str) -> list[list[Any]]:
    """Of each row these."""
    return [[row[name] for name in names] for row in rows]


# ---- one function a table ------------------------------------------------------------------------


def http_claims(report: Report) -> str:
    rows = []
    for one in report["medians"]:
        for server in ("bare", "ours"):
            row = one[server]
            rows.append(
                [f"{server}, {one['connections']}, {one['loop']} loop"]
                + [row[n] for n in ("per_second", "p50", "p99", "p999", "cpu", "redis_cpu",
                                    "writer_cpu", "batch")]
                + ([one["per_second_ratio"], one["p99_ratio"]] if server == "ours" else ["", ""])
            )  # fmt: skip
    heads = ("server, connections", "requests/s", "p50 µs", "p99", "p99.9", "API CPU µs",
             "Redis CPU", "writer CPU", "batch", "of bare's rate", "of its p99")  # fmt: skip
    return table(heads, rows)


def http_refusals(report: Report) -> str:
    rows = []
    for one in report["medians"]:
        for server in ("bare", "ours"):
            ratio = one["per_second_ratio"] if server == "ours" else ""
            figures = picked([one[server]], "per_second", "p50", "p99", "cpu", "script_calls")[0]
            rows.append([f"{server}, {one['connections']}", *figures, ratio])
    heads = ("server, connections", "requests/s", "p50 µs", "p99", "CPU µs", "script calls each",
             "of bare's rate")  # fmt: skip
    return table(heads, rows)


def http_flood(report: Report) -> str:
    names = ("offered", "admitted", "turned_away", "p50", "p99", "away_p50", "away_p99",
             "till_p50", "till_p99")  # fmt: skip
    heads = ("offered/s", "admitted", "503", "p50", "p99", "p50 of 503", "p99 of 503",
             "till p50", "till p99")  # fmt: skip
    ratio = shown(report["admitted_p99_ratio"])
    return (
        table(heads, picked(report["rounds"], *names)) + f"\np99 of the admitted: {ratio} times\n"
    )


def contest(rows: list[Report]) -> str:
    heads = ("way, durability, in flight", "claims/s", "a core", "p50 µs", "p99", "p99.9",
             "client CPU µs", "server CPU", "script", "batch")  # fmt: skip
    names = ("per_second", "per_core", "p50", "p99", "p999", "client_cpu", "server_cpu", "script",
             "batch")  # fmt: skip
    return table(
        heads,
        [
            [
                f"{row['name']}, {row['durability']}, {row['in_flight']:.0f}",
                *picked([row], *names)[0],
            ]
            for row in rows
        ],
    )


def engine(report: Report) -> str:
    ratios = [
        [name, *picked([row], "to_64_in_flight", "to_one_at_a_time", "cpu_to_64_in_flight")[0]]
        for name, row in report["ratios"].items()
    ]
    heads = ("ours with 64 in flight against", "its 64 in flight", "its one at a time",
             "its client CPU")  # fmt: skip
    return (
        contest(report["medians"])
        + "\n"
        + table(heads, ratios)
        + f"\nClient CPU at batch 32: {shown(report['client_cpu_at_32'])} µs; most claims a second"
        f" with `always`: {shown(report['most_per_second_always'])}.\n"
    )


def redis_time(report: Report) -> str:
    names = {"no_op": "no-op script", "claim": "claim", "redeem_one": "redemption of one coupon",
             "redeem_three": "redemption of three"}  # fmt: skip
    rows = [[names[key], report[key]["us"], report[key]["batch"]] for key in names]
    return table(("act", "µs", "batch"), rows) + (
        f"\nA claim is {shown(report['claim_in_no_ops'])} no-ops, three coupons are"
        f" {shown(report['three_to_one'])} times one,"
        f" one is {shown(report['one_to_claim'])} claims, three are"
        f" {shown(round(report['redeem_three']['us'] / report['claim']['us'], 2))}.\n"
    )


def memory(report: Report) -> str:
    rows = [
        [
            f"{row['server']}: {row['in_a_wallet']}{', with source' if row['with_source'] else ''}",
            *picked([row], "bytes_a_coupon", "coupon_fields", "count_fields", "user_field",
                    "name_of_wallet", "holders_a_coupon")[0],
        ]
        for row in report["rows"]
    ]  # fmt: skip
    heads = ("server: coupons in a wallet", "bytes a coupon", "its record", "the person's count",
             "the person", "the wallet's name", "list of holders")  # fmt: skip
    return table(heads, rows)


def writer(report: Report) -> str:
    rows = [
        [
            f"{row['database']}, {row['mix']}, batches of {row['batch']}", row["rate"],
            row["cpu_seconds"] / row["facts"] * 1e6,
            row["of_bare"] if row["bare_seconds"] else "",
        ]
        for row in report["results"]
    ]  # fmt: skip
    return table(("books, mix", "facts/s", "writer's CPU µs", "of bare COPY and merge"), rows)


def backlog(report: Report) -> str:
    heads = ("facts", "seconds", "facts/s", "CPU µs", "MB at a tenth", "MB at most")
    names = ("facts", "seconds", "per_second", "cpu", "mb_at_a_tenth", "mb_at_most")
    return table(heads, picked([report], *names))


def lag(report: Report) -> str:
    heads = ("peak claims/s", "claims/s", "median lag ms", "most", "most facts behind")
    names = ("peak_per_second", "per_second", "lag_ms_median", "lag_ms_most", "facts_most")
    told = table(heads, picked([report], *names))
    for row in report["writer"]["results"] if "writer" in report else ():
        if (row["mix"], row["batch"]) == ("claims", 4000):
            times = shown(row["rate"] / report["peak_per_second"])
            told += f"\nThe writer's rate into {row['database']} is {times} times that peak.\n"
    return told


def workers(report: Report) -> str:
    heads = ("processes, connections", "claims/s", "p50 µs", "p99", "p99.9", "API CPU µs",
             "Redis CPU", "script", "batch", "503", "least share")  # fmt: skip
    names = ("per_second", "p50", "p99", "p999", "cpu", "redis_cpu", "script", "batch",
             "turned_away", "least_share")  # fmt: skip
    rows = [
        [f"{row['workers']}, {row['connections']}", *picked([row], *names)[0]]
        for row in report["medians"]
    ]
    return table(heads, rows)


def waitlist(report: Report) -> str:
    rows = []
    for line in ("short", "long"):
        claim = report[line]["claim"]
        for act, told in report[line].items():
            redis_us, cpu_us = told["redis_us"], told["cpu_us"]
            both, of_claim = redis_us + cpu_us, claim["redis_us"] + claim["cpu_us"]
            rows.append(
                [line, act, redis_us, redis_us / claim["redis_us"], cpu_us,
                 cpu_us / claim["cpu_us"], both, both / of_claim]
            )  # fmt: skip
    heads = ("line", "act", "script µs", "of a claim", "client CPU µs", "of a claim",
             "both µs", "of a claim")  # fmt: skip
    return table(heads, rows)


def waitlist_http(report: Report) -> str:
    if "http" not in report:
        return NOT_YET
    found = report["http"]
    names = ("api", "redis", "writer", "total", "of_claim", "p50", "p99")
    rows = [
        [line, act, *picked([told], *names)[0]]
        for line in ("short", "long")
        for act, told in found[line].items()
    ]
    heads = ("line", "act", "API CPU µs", "Redis CPU", "writer CPU", "all", "of a claim",
             "p50 µs", "p99")  # fmt: skip
    people = " and ".join(shown(found[f"{line}_people"]) for line in ("short", "long"))
    return table(heads, rows) + f"\nIn the lines: {people}, after the last round.\n"


def growth(report: Report) -> str:
    points = report["points"]
    axes = list(dict.fromkeys(row["axis"] for row in points))
    plots = list(dict.fromkeys(axis.partition(",")[0] for axis in axes))
    pictures = "".join(f"![{axis}](benchmarks/growth-{axis}.svg)\n" for axis in plots)
    rows = [
        [axis, *picked([row], "x", "client", "redis", "batch")[0]]
        for axis in axes
        for row in points
        if row["axis"] == axis
    ]
    return pictures + "\n" + table(("axis", "at", "client CPU µs", "Redis µs", "batch"), rows)


def codes(report: Report) -> str:
    least = report["best_ns"]
    raw, jwt = least["one-shot HMAC"], least["PyJWT HS256 decode"]
    rows = [[name, ns / 1000, ns / raw, jwt / ns] for name, ns in least.items()]
    return table(("what", "µs", "of a one-shot HMAC", "times PyJWT decode"), rows)


def kept(rows: list[Report], limit: str = "limit") -> str:
    """Who kept a limit."""
    heads = ("way", "limit", "accepted", "recorded", "holds")
    return table(heads, picked(rows, "name", limit, "accepted", "recorded", "holds"))


def peers_claims(report: Report) -> str:
    rows = [
        [f"{way}, {durability}", times]
        for durability, ways in report["times"].items()
        for way, times in ways.items()
    ]
    sold = [one | {"name": f"{one['name']}, {one['durability']}"} for one in report["overselling"]]
    return "\n".join(
        (contest(report["medians"]), table(("ours against", "times"), rows), kept(sold))
    )


def sides(report: Report) -> str:
    """Two servers over HTTP."""
    heads = ("server", "requests/s", "a core", "p50 µs", "p99", "p99.9", "CPU µs")
    rows = picked(
        report["medians"], "server", "per_second", "per_core", "p50", "p99", "p999", "cpu"
    )
    return table(heads, rows) + (
        f"\nOurs: {shown(report['times'])} times the requests a second,"
        f" {shown(report['times_a_core'])} times a core's.\n"
    )


def peers_http(report: Report) -> str:
    few = report["sql_limited"]
    return (
        sides(report) + f"\nSQL, more people than coupons: {few['accepted']} of {few['limit']}.\n"
    )


def peers_checkin(report: Report) -> str:
    told = [
        [one["server"], *(", ".join(f"{n} {what}" for what, n in one[key].items())
                          for key in ("again", "at_once")), one["holds"]]
        for one in report["once_only"]
    ]  # fmt: skip
    heads = ("server", "used ones again", "eight at once for one", "once only")
    return sides(report) + "\n" + table(heads, told)


def peers_packages(report: Report) -> str:
    rows = [row | {"recorded": row["counted"]} for row in report["rows"]]
    heads = ("way", "at a time", "tries/s", "p50 µs", "p99", "client CPU µs", "server CPU")
    names = ("name", "in_flight", "per_second", "p50", "p99", "client_cpu", "server_cpu")
    return table(heads, picked(rows, *names)) + "\n" + kept(rows)


TABLES: dict[str, tuple[str, Callable[[Report], str]]] = {
    "http-claims": ("bench-http-claims", http_claims),
    "http-refusals": ("bench-http-refusals", http_refusals),
    "http-flood": ("bench-http-flood", http_flood),
    "engine": ("bench-engine", engine),
    "redis-time": ("bench-redis-time", redis_time),
    "memory": ("bench-memory", memory),
    "writer": ("bench-writer", writer),
    "backlog": ("bench-backlog", backlog),
    "lag": ("bench-lag", lag),
    "workers": ("bench-workers", workers),
    "waitlist": ("bench-waitlist", waitlist),
    "waitlist-http": ("bench-waitlist", waitlist_http),
    "growth": ("bench-growth", growth),
    "codes": ("bench-codes", codes),
    "peers-claims": ("peers-claims", peers_claims),
    "peers-http": ("peers-http", peers_http),
    "peers-checkin": ("peers-checkin", peers_checkin),
    "peers-packages": ("peers-packages", peers_packages),
}


def filled(text: str, reports: Path) -> str:
    """The document with every table that there is a report for."""

    def one(match: re.Match[str]) -> str:
        name = match[1]
        file, build = TABLES[name]
        path = reports / f"{file}.json"
        if path.exists():
            report = json.loads(path.read_text())
            writer_path = reports / "bench-writer.json"
            if name == "lag" and writer_path.exists():  # the one figure made of two runs
                report["writer"] = json.loads(writer_path.read_text())
            inside = f"\n{build(report)}\n{where(report)}"
        elif match[0].endswith("<!-- end -->\n"):
            return match[0]
        else:
            inside = NOT_YET
        return f"<!-- table: {name} -->\n{inside}<!-- end -->\n"

    return MARK.sub(one, text)


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description="Tables of docs/BENCHMARKS.md.")
    parser.add_argument("--reports", type=Path, default=ROOT / "reports")
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "BENCHMARKS.md")
    arguments = parser.parse_args()
    text = arguments.document.read_text(encoding="utf-8")
    arguments.document.write_text(filled(text, arguments.reports), encoding="utf-8")


if __name__ == "__main__":
    main()
