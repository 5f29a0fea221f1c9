"""One typed object with every setting: flags, then environment, then `.env`, then these defaults.

Units stand in the names or beside the defaults.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import httpx
from pydantic import (
    BeforeValidator,
    ByteSize,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from batch.errors import SettingsError
from batch.models import USUAL_LIMITS, DateOrder, Limits, Rate

PRODUCTION = "https://api.spirii.com"


def _rate(value: Any) -> Any:
    return Rate.parse(value) if isinstance(value, str) else value


def _zone(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone; write for example Europe/Oslo") from None


# NoDecode: else a variable with a rate in it would be taken for JSON.
RateSetting = Annotated[Rate, NoDecode, BeforeValidator(_rate)]


class Settings(BaseSettings):
    """What a command needs to know beside the sheet. The key is masked in every repr."""

    model_config = SettingsConfigDict(
        env_prefix="TOKEN_BATCH_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        arbitrary_types_allowed=True,
    )

    # One alias each, and no plain `api_key` among them: variables of that name are others'.
    api_key: SecretStr | None = Field(default=None, validation_alias="SPIRII_API_KEY")
    base_url: str = Field(default=PRODUCTION, validation_alias="SPIRII_BASE_URL")
    reports: Path = Path("reports")

    read_rate: RateSetting = Rate(600, 60.0)
    write_rate: RateSetting = Rate(120, 60.0)
    workers: PositiveInt = 64  # requests under way at once
    tries: PositiveInt = 6  # for one request, the first included
    connect_timeout: PositiveFloat = 10.0  # seconds
    timeout: PositiveFloat = 30.0  # seconds for one whole exchange
    max_outage: PositiveFloat = 3600.0  # seconds the API may be away, or ask to wait

    timezone: Annotated[ZoneInfo, BeforeValidator(_zone)] = ZoneInfo("UTC")
    date_order: DateOrder | None = None
    clear_marker: str = "NULL"
    delimiter: str | None = None
    encoding: str | None = None
    max_unpacked: ByteSize = ByteSize(USUAL_LIMITS.unpacked)  # of a packed sheet, or a workbook
    max_rows: PositiveInt = USUAL_LIMITS.rows
    max_columns: PositiveInt = USUAL_LIMITS.columns

    simulated: bool = False  # only ever set by --simulate, which brings the API to go with it
    max_changes: PositiveInt | None = None  # operations; None: no limit
    max_deactivations: NonNegativeInt | None = None  # operations; None: many are asked about
    pin_defaults: bool = False
    strict: bool = False

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if "@" in value:  # before anything that would repeat it
            raise ValueError("a URL with a user name or password in it is not accepted")
        if "?" in value or "#" in value:
            raise ValueError("the URL of an API has no ? or # in it: leave out what follows")
        try:
            url = httpx.URL(value)
        except httpx.InvalidURL as error:
            raise ValueError(f"{value!r} is not a URL: {error}") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError(f"{value!r} is not the URL of an API; write for example {PRODUCTION}")
        return value.rstrip("/").removesuffix("/v2")

    @field_validator("simulated")
    @classmethod
    def _is_no_setting(cls, value: bool) -> bool:  # noqa: FBT001 - pydantic's
        if value:
            raise ValueError("this is no setting; add --simulate to the command")
        return value

    def told(self) -> dict[str, object]:
        """Every setting by name, as a person would write it; the key is not among them."""
        values = {name: value for name, value in self if name != "api_key"}
        return {name: None if value is None else str(value) for name, value in values.items()}

    @property
    def limits(self) -> Limits:
        """How large a sheet may be."""
        return Limits(int(self.max_unpacked), self.max_rows, self.max_columns)

    @property
    def key(self) -> SecretStr:
        """The API key. SettingsError when there is none, or when it cannot be a header."""
        if self.api_key is None:
            raise SettingsError(
                "no API key: set SPIRII_API_KEY in the environment or in a .env file, "
                "or try the simulated API with --simulate"
            )
        key = self.api_key.get_secret_value()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise SettingsError(
                "SPIRII_API_KEY holds characters that no key has (a space, a line end, a letter "
                "outside ASCII): copy it again"
            )
        return self.api_key


def load(**flags: Any) -> Settings:
    """The settings, the given flags (None: not given) before all else. SettingsError if unfit."""
    _refuse_unknown_variables()
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except UnicodeDecodeError:
        raise SettingsError("the file .env is not UTF-8 text: save it again as UTF-8") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{fault['loc'][0] if fault['loc'] else 'setting'}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(faults) from None


def _refuse_unknown_variables() -> None:
    """A variable that is misspelt, or that is no setting, would be believed in and not heeded."""
    prefix = "TOKEN_BATCH_"
    known = {f"{prefix}{name}".upper() for name in Settings.model_fields}
    unknown = [
        name for name in os.environ if name.upper().startswith(prefix) and name.upper() not in known
    ]
    if unknown:
        raise SettingsError(f"{', '.join(unknown)} in the environment is no setting: remove it")
