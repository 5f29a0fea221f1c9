"""Every exception of the program, grouped by what happens next.

TokenBatchError
├── UsageError        nothing was sent; mend the command, the settings or the sheet
│   ├── SettingsError     a setting is missing or makes no sense
│   ├── SheetError        the sheet cannot be read as a table of tokens
│   ├── RunError          the named run does not exist or cannot be used so
│   └── NothingSent       the API or the disk failed before the first change was sent
├── Interrupted       Ctrl-C or SIGTERM while nothing was being sent
├── BusyError         another process is working on this
├── StopRun           no further operation would fare better; resume is possible
│   ├── KeyRefused        the API does not accept the key
│   ├── NotAsAsked        the API did something else than it was asked
│   ├── NotTheApi         whatever answers at this URL is not the token API
│   ├── Unavailable       the API cannot be reached or answers only errors
│   └── JournalError      the journal cannot be written; unrecorded work must not go on
├── TryAgain          this attempt failed; a later one may succeed
├── Refused           the API's final word about this one request
└── Abandoned         the run is stopping: this request was not sent
"""

from __future__ import annotations

from typing import Self


class TokenBatchError(Exception):
    """The root. Its text is a sentence for the person at the keyboard."""


class UsageError(TokenBatchError):
    """Nothing was sent; the person can mend it."""


class SettingsError(UsageError):
    """A setting is missing or makes no sense."""


class SheetError(UsageError):
    """The sheet cannot be read as a table of tokens."""


class RunError(UsageError):
    """The named run does not exist or is not in a state for this."""


class NothingSent(UsageError):
    """The API or the disk failed before the first change was sent."""


class Interrupted(TokenBatchError):
    """Ctrl-C or SIGTERM while nothing was being sent."""


class BusyError(TokenBatchError):
    """Another process is working on this run."""


class StopRun(TokenBatchError):
    """No further operation would fare better; what is not settled can be resumed."""


class KeyRefused(StopRun):
    """The API does not accept the key (401, or 403 to several rows in a row)."""


class NotAsAsked(StopRun):
    """The API did something else to a token than it was asked."""

    @classmethod
    def to_token(cls, token_id: int, message: str, *, moved_unasked: bool) -> Self:
        """What happened to which token, and what helps."""
        advice = "; --pin-defaults sends these fields along" if moved_unasked else ""
        return cls(f"token {token_id}: {message}{advice}")


class NotTheApi(StopRun):
    """Whatever answers at this URL is not the token API."""


class Unavailable(StopRun):
    """The API cannot be reached or answers only errors.

    `doubtful`: the request that met this may have been applied.
    """

    def __init__(self, message: str, *, doubtful: bool = False) -> None:
        super().__init__(message)
        self.doubtful = doubtful


class JournalError(StopRun):
    """The journal cannot be written; unrecorded work must not go on."""


class TryAgain(TokenBatchError):
    """One attempt failed and a later one may succeed.

    `doubtful`: the request may have reached the server and been applied.
    `http_status`: None when no status line came back.
    `retry_after`: seconds the server asked everyone to wait, None when it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        doubtful: bool,
        http_status: int | None = None,
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.doubtful = doubtful
        self.http_status = http_status
        self.retry_after = retry_after
        self.request_id = request_id


class Refused(TokenBatchError):
    """The API's final word about one request.

    `code`: the API's own error code, empty when it gave none. `param`: the field that it names as
    the cause, likewise.
    `doubtful`: an error of the server's own (5xx), after which the change may stand.
    """

    def __init__(
        self,
        message: str,
        *,
        http_status: int,
        code: str = "",
        param: str = "",
        request_id: str = "",
        doubtful: bool = False,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.param = param
        self.request_id = request_id
        self.doubtful = doubtful


class Abandoned(TokenBatchError):
    """The run is stopping: this request was not sent."""
