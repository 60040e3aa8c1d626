"""Every table of acts, on one cell and on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import Place
from tests.engine.harness import mall_on, open_ground, reconciled, together
from tests.engine.table import Scenario, Table, read, setting

TABLES = sorted((Path(__file__).parent / "tables").glob("*.txt"))


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
async def test_table(
    table: Path, place: Place, redis_kind: str, tenant: str, books_file: Path
) -> None:
    async with open_ground(place.url, books_file) as (server, books):

        async def run(number: int, scenario: Scenario) -> None:
            zone = setting(scenario, "zone", "Asia/Shanghai")
            cells = int(setting(scenario, "cells", str(place.cells)))
            mall = await mall_on(server, books, f"{tenant}-{number}", cells=cells, zone=zone)
            await Table(mall, zone).run(scenario)

        scenarios = list(enumerate(read(table)))
        wrong = await together(*(run(n, scenario) for n, scenario in scenarios))
        # What the acts left is what their facts tell. Once is enough: it is no server's matter.
        if not any(wrong) and place.cells == 1 and redis_kind == "valkey":
            await reconciled(books, place.url, *(f"{tenant}-{number}" for number, _ in scenarios))
    sentences = [str(error) for error in wrong if isinstance(error, AssertionError)]
    assert not sentences, "\n\n" + "\n\n".join(sentences)
    for error in filter(None, wrong):
        raise error
