"""Settings: what stands when nothing is set, and one sentence for each mistake."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.config import Settings, SettingsError, load_secret, load_settings

ROOT = Path(__file__).parents[2]
KEY = "an-operator-key-of-24-or-more"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("HEXIAO_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = load_settings()
    var = Path.cwd() / "var"
    assert settings.embedded
    assert (settings.port, settings.workers, settings.cells) == (8080, 1, 1)
    assert (settings.tenant, settings.currency, settings.zone.key) == ("mall", "CNY",
                                                                       "Asia/Shanghai")
    assert settings.redis_dir == var / "redis"
    assert settings.database_url == f"sqlite+aiosqlite:///{var}/hexiao.db"
    assert not settings.rehearsal


def test_the_environment_counts_and_a_keyword_counts_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEXIAO_PORT", "9000")
    monkeypatch.setenv("HEXIAO_CELLS", "8")
    monkeypatch.setenv("HEXIAO_REDIS_URL", "")
    monkeypatch.setenv("HEXIAO_REHEARSAL", "1")
    monkeypatch.setenv("HEXIAO_DATA_DIR", str(tmp_path))
    settings = load_settings(port=9001, workers=None)
    assert (settings.port, settings.cells, settings.workers) == (9001, 8, 1)
    assert settings.embedded
    assert settings.rehearsal
    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/hexiao.db"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p%40x@h:5432/db", "postgresql+asyncpg://u:p%40x@h:5432/db"),
        ("postgres://h/db?sslmode=require", "postgresql+asyncpg://h/db?ssl=require"),
        ("postgresql+asyncpg://h/db", "postgresql+asyncpg://h/db"),
        ("sqlite:////data/h.db", "sqlite+aiosqlite:////data/h.db"),
    ],
)
def test_a_database_url_gets_its_driver(given: str, used: str) -> None:
    assert load_settings(database_url=given).database_url == used


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "abc", "HEXIAO_PORT should be a valid integer"),
        ("PORT", "65536", "HEXIAO_PORT should be less than or equal to 65535."),
        ("CELLS", "0", "HEXIAO_CELLS should be greater than or equal to 1."),
        ("REDIS_URL", "http://h", "HEXIAO_REDIS_URL must begin with redis://, rediss:// or unix:"),
        ("DATABASE_URL", "mysql://h/d", "HEXIAO_DATABASE_URL must begin with postgresql:// or"),
        ("DATABASE_URL", "books", "HEXIAO_DATABASE_URL must be a URL such as postgresql://"),
        ("TENANT", "a{b}", "HEXIAO_TENANT must be 1 to 64 of the characters A-Z a-z 0-9 _ . : -."),
        ("TENANT", "m" * 65, "HEXIAO_TENANT must be 1 to 64"),
        ("TIMEZONE", "Mars/North", "HEXIAO_TIMEZONE must be the name of a time zone"),
        ("TIMEZONE", "../../etc/passwd", "HEXIAO_TIMEZONE must be the name of a time zone"),
        ("CURRENCY", "yuan", "HEXIAO_CURRENCY must be the three capital letters of a currency"),
        ("OPERATOR_KEY", "k" * 23, "HEXIAO_OPERATOR_KEY must be 24 or more visible ASCII"),
        ("OPERATOR_KEY", KEY + " x", "HEXIAO_OPERATOR_KEY must be 24 or more visible ASCII"),
        ("SECRET", "short", "HEXIAO_SECRET must be 24 or more visible ASCII characters"),
        ("APPENDFSYNC", "no", "HEXIAO_APPENDFSYNC should be 'always' or 'everysec'."),
        ("REHEARSAL", "maybe", "HEXIAO_REHEARSAL should be a valid boolean"),
    ],
)
def test_a_mistake_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"HEXIAO_{name}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_all_mistakes_at_once_and_no_secret_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEXIAO_OPERATOR_KEY", "hunter2")
    monkeypatch.setenv("HEXIAO_PORT", "-1")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert len(str(refused.value).splitlines()) == 2
    assert "hunter2" not in str(refused.value)
    kept = load_settings(
        port=1, operator_key=KEY, secret=KEY, database_url="postgresql://u:hunter2@h/d"
    )
    assert KEY not in repr(kept)
    assert "hunter2" not in repr(kept)


def embedded(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "var")


def test_the_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    settings = embedded(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: load_secret(settings), range(16)))
    assert len(made) == 1
    path = tmp_path / "var" / "secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    assert [file.name for file in path.parent.iterdir()] == ["secret"]
    assert load_secret(settings) == made.pop()


def test_a_secret_that_others_read_or_that_was_cut_is_refused(tmp_path: Path) -> None:
    settings = embedded(tmp_path)
    load_secret(settings)
    path = tmp_path / "var" / "secret"
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="can be read by others"):
        load_secret(settings)
    path.chmod(0o600)
    path.write_text("")
    with pytest.raises(SettingsError, match="is cut short"):
        load_secret(settings)


def test_with_a_redis_of_ones_own_the_secret_must_be_set(tmp_path: Path) -> None:
    settings = load_settings(redis_url="redis://h", data_dir=tmp_path)
    with pytest.raises(SettingsError, match="HEXIAO_SECRET must be set when HEXIAO_REDIS_URL is"):
        load_secret(settings)
    assert load_secret(load_settings(redis_url="redis://h", secret=KEY)) == KEY.encode()


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_every_setting_is_documented(name: str) -> None:
    """All but the hooks for tests, with its default where that is a number."""
    text = (ROOT / name).read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `HEXIAO_")]
    told = {
        variable: value.strip()
        for _, variables, values, *_ in rows
        for variable, value in zip(
            re.findall(r"HEXIAO_\w+", variables), re.split("[,、]", values), strict=False
        )
    }
    for setting, field in Settings.model_fields.items():
        if setting.startswith("test_"):
            continue
        variable = f"HEXIAO_{setting.upper()}"
        assert variable in told, variable
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert told[variable] == str(field.default), variable
