"""Where a setting comes from, what it may be, and what is said of one that makes no sense."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from batch.errors import SettingsError
from batch.models import DateOrder, Rate
from batch.settings import PRODUCTION, Settings, load


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the machine that runs the test is seen."""
    for name in list(os.environ):
        if name.upper().startswith(("TOKEN_BATCH_", "SPIRII_")) or name.upper() == "API_KEY":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dot_env(*lines: str) -> None:
    Path(".env").write_text("\n".join(lines), encoding="utf-8")


def shown(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


# Setting, its name in the environment, and three values: text, and as it is read.
SOURCES: list[tuple[str, str, list[tuple[str, Any]]]] = [
    ("api_key", "SPIRII_API_KEY", [("k1", "k1"), ("k2", "k2"), ("k3", "k3")]),
    ("base_url", "SPIRII_BASE_URL", [(f"http://h{n}", f"http://h{n}") for n in (1, 2, 3)]),
    ("reports", "TOKEN_BATCH_REPORTS", [(f"r{n}", Path(f"r{n}")) for n in (1, 2, 3)]),
    ("workers", "TOKEN_BATCH_WORKERS", [(str(n), n) for n in (1, 2, 3)]),
    ("tries", "TOKEN_BATCH_TRIES", [(str(n), n) for n in (1, 2, 3)]),
    ("timeout", "TOKEN_BATCH_TIMEOUT", [(f"{n}.5", n + 0.5) for n in (1, 2, 3)]),
    ("read_rate", "TOKEN_BATCH_READ_RATE", [(f"{n}/s", Rate(n, 1.0)) for n in (1, 2, 3)]),
    ("write_rate", "TOKEN_BATCH_WRITE_RATE", [(f"{n}/10s", Rate(n, 10.0)) for n in (1, 2, 3)]),
    ("max_outage", "TOKEN_BATCH_MAX_OUTAGE", [(str(n), float(n)) for n in (1, 2, 3)]),
    (
        "timezone",
        "TOKEN_BATCH_TIMEZONE",
        [(n, ZoneInfo(n)) for n in ("Europe/Oslo", "Europe/London", "Asia/Tokyo")],
    ),
    ("date_order", "TOKEN_BATCH_DATE_ORDER", [(order.value, order) for order in DateOrder]),
    ("clear_marker", "TOKEN_BATCH_CLEAR_MARKER", [(n, n) for n in ("-", "<null>", "x")]),
    ("max_changes", "TOKEN_BATCH_MAX_CHANGES", [(str(n), n) for n in (1, 2, 3)]),
    ("strict", "TOKEN_BATCH_STRICT", [("1", True), ("false", False), ("yes", True)]),
]


@pytest.mark.parametrize(
    ("name", "variable", "values"), SOURCES, ids=[setting for setting, _, _ in SOURCES]
)
def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    name: str, variable: str, values: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    default = shown(getattr(load(), name))
    (in_file, of_file), (in_environment, of_environment), (_, of_flag) = values
    found = []

    dot_env(f"{variable}={in_file}")
    found.append(shown(getattr(load(), name)))
    monkeypatch.setenv(variable, in_environment)
    found.append(shown(getattr(load(), name)))
    found.append(shown(getattr(load(**{name: of_flag}), name)))
    found.append(shown(getattr(load(**{name: None}), name)))

    assert found == [of_file, of_environment, of_flag, of_environment]
    Path(".env").unlink()
    monkeypatch.delenv(variable)
    assert shown(getattr(load(), name)) == default


def test_the_defaults_are_the_contracts() -> None:
    settings = load()

    assert (settings.base_url, settings.api_key) == (PRODUCTION, None)
    assert (str(settings.read_rate), str(settings.write_rate)) == ("600/min", "120/min")
    assert settings.max_outage == 3600.0
    assert (settings.timezone, settings.clear_marker) == (ZoneInfo("UTC"), "NULL")
    assert (settings.reports, settings.strict, settings.simulated) == (
        Path("reports"),
        False,
        False,
    )


@pytest.mark.parametrize("name", ["API_KEY", "api_key", "BASE_URL", "base_url"])
def test_a_variable_of_another_program_is_never_taken_for_ours(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://elsewhere.example")
    alone = load()
    monkeypatch.setenv("SPIRII_API_KEY", "ours")
    beside_ours = load()

    assert (alone.api_key, alone.base_url) == (None, PRODUCTION)
    assert (shown(beside_ours.api_key), beside_ours.base_url) == ("ours", PRODUCTION)


def test_no_variable_can_make_a_run_on_the_real_api_call_itself_simulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN_BATCH_SIMULATED", "true")

    with pytest.raises(SettingsError, match="--simulate"):
        load(base_url=PRODUCTION)


@pytest.mark.parametrize("name", ["TOKEN_BATCH_SIMULATE", "TOKEN_BATCH_WRITERATE"])
def test_a_variable_that_would_be_believed_in_and_not_heeded_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")

    with pytest.raises(SettingsError, match=name):
        load()


def test_an_empty_variable_is_none_and_other_lines_of_the_file_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dot_env("# ours", "OTHER=1", "", "SPIRII_API_KEY='in quotes'", "TOKEN_BATCH_NO_SUCH=1")
    monkeypatch.setenv("SPIRII_API_KEY", "")

    assert shown(load().api_key) == "in quotes"


def test_a_file_as_windows_writes_it_is_read() -> None:
    Path(".env").write_bytes("\ufeffSPIRII_API_KEY=key\r\nTOKEN_BATCH_TRIES=9\r\n".encode())

    settings = load()

    assert (shown(settings.api_key), settings.tries) == ("key", 9)


@pytest.mark.parametrize(
    "content",
    ["SPIRII_API_KEY=key".encode("utf-16"), "KUNDE=Sønderjylland".encode("latin-1")],
    ids=["UTF-16", "Windows-1252"],
)
def test_a_file_in_another_encoding_is_named_and_not_a_fault_of_the_program(
    content: bytes,
) -> None:
    Path(".env").write_bytes(content)

    with pytest.raises(SettingsError, match=r"\.env"):
        load()


# Nonsense

NONSENSE: list[Any] = [
    ("write_rate", "fast", "120/min"),
    ("write_rate", "0/min", "120/min"),
    ("write_rate", "120/00s", "120/min"),
    ("write_rate", "-1/s", "120/min"),
    ("write_rate", "1.5/s", "120/min"),
    ("write_rate", "120", "120/min"),
    ("write_rate", "120/day", "120/min"),
    pytest.param("write_rate", "1/" + "9" * 400 + "s", "120/min", id="write_rate-endless"),
    ("read_rate", "", "120/min"),
    ("timezone", "Oslo", "Europe/Oslo"),
    ("timezone", "../../etc/passwd", "Europe/Oslo"),
    ("timezone", "Europe", "Europe/Oslo"),
    ("timezone", "", "Europe/Oslo"),
    ("date_order", "day first", "'dmy'"),
    ("workers", "0", "greater than 0"),
    ("workers", "many", "integer"),
    ("tries", "-1", "greater than 0"),
    ("timeout", "0", "greater than 0"),
    ("timeout", "nan", "greater than 0"),
    ("connect_timeout", "soon", "number"),
    ("max_outage", "-1", "greater than 0"),
    ("max_changes", "0", "greater than 0"),
    ("strict", "perhaps", "boolean"),
    ("base_url", "", PRODUCTION),
    ("base_url", "api.spirii.com", PRODUCTION),
    ("base_url", "api.spirii.com:443", PRODUCTION),
    ("base_url", "https://", PRODUCTION),
    ("base_url", "ftp://api.spirii.com", PRODUCTION),
    ("base_url", "file:///etc/passwd", PRODUCTION),
    ("base_url", "https://api.spirii.com:port", "not a URL"),
    ("base_url", "https://api.spirii.com\n", "not a URL"),
    ("base_url", "https://someone@api.spirii.com", "user name"),
    ("base_url", "https://someone:secret@api.spirii.com", "user name"),
]


@pytest.mark.parametrize(("name", "value", "says"), NONSENSE)
def test_a_setting_that_makes_no_sense_is_named_and_mended_by_its_message(
    name: str, value: Any, says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{name: value})

    assert str(caught.value).startswith(f"{name}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TOKEN_BATCH_WRITE_RATE", "fast"),
        ("TOKEN_BATCH_WORKERS", "many"),
        ("SPIRII_BASE_URL", "nowhere"),
        ("TOKEN_BATCH_TIMEZONE", "Oslo"),
    ],
)
def test_nonsense_in_the_environment_is_told_as_well(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=rf"(?i){variable.rpartition('_')[2]}"):
        load()


def test_all_that_makes_no_sense_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load(workers="many", tries="0", base_url="nowhere")

    assert [part.split(":")[0] for part in str(caught.value).split("; ") if ": " in part] == [
        "base_url",
        "workers",
        "tries",
    ]


@pytest.mark.parametrize(
    "base_url",
    [
        "https://someone:secret@api.spirii.com",
        "https://someone:secret@api.spirii.com:port",
        "ftp://someone:secret@api.spirii.com",
    ],
)
def test_a_password_in_a_url_is_not_repeated(base_url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(base_url=base_url)

    assert "secret" not in str(caught.value)


# The URL


@pytest.mark.parametrize("base_url", ["https://h.example/?a=secret", "https://h.example/#v2"])
def test_a_url_with_more_than_a_path_is_refused(base_url: str) -> None:
    with pytest.raises(SettingsError, match=r"has no \? or # in it"):
        load(base_url=base_url)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.spirii.com", "https://api.spirii.com"),
        ("https://api.spirii.com/", "https://api.spirii.com"),
        ("https://api.spirii.com//", "https://api.spirii.com"),
        ("https://api.spirii.com/v2", "https://api.spirii.com"),
        ("https://api.spirii.com/v2/", "https://api.spirii.com"),
        ("https://gateway.example/spirii/v2", "https://gateway.example/spirii"),
        ("https://gateway.example/v20", "https://gateway.example/v20"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_url_is_used_without_what_the_paths_add(given: str, used: str) -> None:
    assert load(base_url=given).base_url == used


# The key

KEY = "sk-live-0123456789"


def test_the_key_is_masked_wherever_the_settings_are_shown() -> None:
    settings = load(api_key=KEY)

    assert shown(settings.key) == KEY
    said = [repr(settings), str(settings), repr(settings.key), str(settings.key)]
    said += [repr(settings.model_dump()), settings.model_dump_json()]
    assert KEY not in "".join(said)


def test_the_key_is_in_no_message_about_another_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIRII_API_KEY", KEY)

    with pytest.raises(SettingsError) as caught:
        load(workers="many")

    assert KEY not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__!s}"


def test_a_missing_key_says_where_it_belongs() -> None:
    with pytest.raises(SettingsError, match=r"SPIRII_API_KEY .* \.env .* --simulate"):
        _ = load().key


@pytest.mark.parametrize(
    "key", ["sk-1\n", "sk-\r1", " sk-1", "sk-1 ", "sk-nøgle", "sk-\x001", "\u200bsk-1"]
)
def test_a_key_that_cannot_be_a_header_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(SettingsError, match="SPIRII_API_KEY") as caught:
        _ = load(api_key=key).key

    assert "sk-" not in str(caught.value)


def test_settings_cannot_be_changed_once_made() -> None:
    settings = load()

    with pytest.raises(ValueError, match="frozen"):
        settings.workers = 1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.write_rate.limit = 1  # type: ignore[misc]
    assert settings == Settings()
