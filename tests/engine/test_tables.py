"""Every table of acts, on one cell and on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import Place
from tests.engine.harness import open_mall
from tests.engine.table import Table, read, setting

TABLES = sorted((Path(__file__).parent / "tables").glob("*.txt"))


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
async def test_table(table: Path, place: Place, tenant: str, books_file: Path) -> None:
    wrong = []
    for number, scenario in enumerate(read(table)):
        zone = setting(scenario, "zone", "Asia/Shanghai")
        cells = int(setting(scenario, "cells", str(place.cells)))
        mall = open_mall(f"{tenant}-{number}", place.url, books_file, cells=cells, zone=zone)
        async with mall as running:
            try:
                await Table(running, zone).run(scenario)
            except AssertionError as error:
                wrong.append(str(error))
    assert not wrong, "\n\n" + "\n\n".join(wrong)
