"""One typed object with every setting: flags, then environment, then `.env`, then these defaults.

Units stand in the names or beside the defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import httpx
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from batch.errors import SettingsError
from batch.models import DateOrder, Rate

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


RateSetting = Annotated[Rate, BeforeValidator(_rate)]


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

    api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("api_key", "SPIRII_API_KEY")
    )
    base_url: str = Field(
        default=PRODUCTION, validation_alias=AliasChoices("base_url", "SPIRII_BASE_URL")
    )
    reports: Path = Path("reports")

    read_rate: RateSetting = Rate(600, 60.0)
    write_rate: RateSetting = Rate(120, 60.0)
    workers: PositiveInt = 64  # requests under way at once
    tries: PositiveInt = 6  # for one request, the first included
    connect_timeout: PositiveFloat = 10.0  # seconds
    timeout: PositiveFloat = 30.0  # seconds for one whole exchange
    max_outage: PositiveFloat = 3600.0  # seconds the API may ask to wait

    timezone: Annotated[ZoneInfo, BeforeValidator(_zone)] = ZoneInfo("UTC")
    date_order: DateOrder | None = None
    clear_marker: str = "NULL"
    delimiter: str | None = None
    encoding: str | None = None

    simulated: bool = False
    max_changes: PositiveInt | None = None  # operations; None: no limit
    pin_defaults: bool = False
    strict: bool = False

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        try:
            url = httpx.URL(value)
        except httpx.InvalidURL as error:
            raise ValueError(f"{value!r} is not a URL: {error}") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError(f"{value!r} is not the URL of an API; write for example {PRODUCTION}")
        if url.userinfo:
            raise ValueError("a URL with a user name or password in it is not accepted")
        return value.rstrip("/").removesuffix("/v2")

    @property
    def key(self) -> SecretStr:
        """The API key. SettingsError when there is none, or when it cannot be a header."""
        if self.api_key is None:
            raise SettingsError(
                "no API key: set SPIRII_API_KEY in the environment or in a .env file, "
                "or try the simulated API with --simulate"
            )
        key = self.api_key.get_secret_value()
        if not key.isascii() or not key.isprintable() or key != key.strip():
            raise SettingsError(
                "SPIRII_API_KEY holds characters that no key has (a space, a line end, a letter "
                "outside ASCII): copy it again"
            )
        return self.api_key


def load(**flags: Any) -> Settings:
    """The settings, the given flags (None: not given) before all else. SettingsError if unfit."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(
            f"{fault['loc'][0] if fault['loc'] else 'setting'}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(faults) from None
