"""Flags become settings, one function per command, outcomes become exit codes."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import SecretStr

from batch import __version__, documents, history, run, settings
from batch.check import Source
from batch.errors import BusyError, Interrupted, SettingsError, StopRun, TokenBatchError, UsageError
from batch.interruption import INTERRUPTED
from batch.models import DateOrder, Selection, Status
from batch.run import Ended
from batch.saved_plan import SUFFIX
from batch.settings import Settings
from batch.terminal import Terminal, log_error, start_logging, time_left

if TYPE_CHECKING:
    from batch.simulator import SimulatedApi

ALL_WELL = 0
SOME_NOT = 1
NOTHING_SENT = 2
STOPPED_EARLY = 3
FAULT = 70
BUSY = 75

T = TypeVar("T")

app = typer.Typer(
    help="Bulk updates of charging tokens in the Spirii platform, from a CSV or Excel sheet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class LogFormat(StrEnum):
    """How stderr is written."""

    TEXT = "text"
    JSON = "json"


def _panel(name: str, help_: str, **more: Any) -> Any:
    return typer.Option(name, help=help_, show_default=False, **more)


Sheet = Annotated[str, typer.Argument(help="A CSV, Excel or ODS file, or - for standard input.")]
RunName = Annotated[str | None, typer.Argument(help="A run's name; without it, the latest.")]

Worksheet = Annotated[str | None, _panel("--sheet", "The worksheet, by name.")]
Map = Annotated[
    list[str] | None, _panel("--map", 'What a column means: "Card no=label". Repeatable.')
]
Delimiter = Annotated[str | None, _panel("--delimiter", "Between cells of a CSV file.")]
Encoding = Annotated[str | None, _panel("--encoding", "Of a CSV file, such as windows-1252.")]
MaxUnpacked = Annotated[
    str | None, _panel("--max-unpacked", "What a workbook, .gz or .zip may grow to [1GiB].")
]
MaxRows = Annotated[int | None, _panel("--max-rows", "Of a sheet [2000000].", min=1)]
MaxColumns = Annotated[int | None, _panel("--max-columns", "Of a sheet [1000].", min=1)]
Timezone = Annotated[
    str | None, _panel("--timezone", "Of times without one, such as Europe/Copenhagen [UTC].")
]
DateOrderFlag = Annotated[
    DateOrder | None, _panel("--date-order", "How to read 03/04/2026: dmy or mdy.")
]
ClearMarker = Annotated[
    str | None, _panel("--clear-marker", "What a cell says to empty its field [NULL].")
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse a sheet with any invalid row.")]

Simulate = Annotated[
    bool, typer.Option("--simulate", help="Use the built-in simulated API; nothing real changes.")
]
BaseUrl = Annotated[str | None, _panel("--base-url", f"Of the API [{settings.PRODUCTION}].")]
Reports = Annotated[Path | None, _panel("--reports", "The folder of all runs [reports].")]
ReadRate = Annotated[str | None, _panel("--read-rate", "The budget for reads [600/min].")]
WriteRate = Annotated[
    str | None, _panel("--write-rate", "The budget for writes, N/s, N/min, N/h or N/10s [120/min].")
]
Workers = Annotated[int | None, _panel("--workers", "Requests under way at once [64].", min=1)]
Tries = Annotated[int | None, _panel("--tries", "For one request [6].", min=1)]
Timeout = Annotated[float | None, _panel("--timeout", "Seconds for one request [30].", min=0.001)]
MaxOutage = Annotated[
    float | None, _panel("--max-outage", "Seconds the API may be away [3600].", min=0.001)
]
MaxChanges = Annotated[
    int | None, _panel("--max-changes", "Refuse a plan that changes more tokens.", min=1)
]
MaxDeactivations = Annotated[
    int | None,
    _panel("--max-deactivations", "Refuse a plan that switches more tokens off.", min=0),
]
PinDefaults = Annotated[
    bool,
    typer.Option(
        "--pin-defaults",
        help="Send validFrom, isActive and roamingEnabled as they are along with every change.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; for jobs.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Log = Annotated[LogFormat, typer.Option("--log-format", help="Of stderr.", show_default=False)]


@app.callback(invoke_without_command=True)
def _about(
    *, version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False
) -> None:
    if version:
        typer.echo(f"token-batch {__version__}")
        raise typer.Exit


@app.command()
def check(
    sheet: Sheet,
    worksheet: Worksheet = None,
    map_: Map = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    max_unpacked: MaxUnpacked = None,
    max_rows: MaxRows = None,
    max_columns: MaxColumns = None,
    timezone: Timezone = None,
    date_order: DateOrderFlag = None,
    clear_marker: ClearMarker = None,
    *,
    as_json: AsJson = False,
    log_format: Log = LogFormat.TEXT,
) -> None:
    """Read and validate a sheet; offline. Every problem is listed by cell."""
    start_logging(log_format)
    chosen = _chosen(locals())
    checked = run.check(Source(sheet, worksheet, _mapping(map_)), chosen)
    if as_json:
        typer.echo(documents.as_json(documents.of_check(checked)))
    else:
        terminal = _terminal(chosen)
        terminal.show_check(checked)
        if not checked.invalid_rows:
            terminal.next_step(_typed_for("plan"))
        elif checked.invalid_rows < checked.rows:
            terminal.next_step("mend these and check again; apply leaves such rows out")
        else:
            terminal.next_step("mend these and check again")
    raise typer.Exit(SOME_NOT if checked.problems else ALL_WELL)


@app.command()
def plan(
    sheet: Sheet,
    worksheet: Worksheet = None,
    map_: Map = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    max_unpacked: MaxUnpacked = None,
    max_rows: MaxRows = None,
    max_columns: MaxColumns = None,
    timezone: Timezone = None,
    date_order: DateOrderFlag = None,
    clear_marker: ClearMarker = None,
    base_url: BaseUrl = None,
    reports: Reports = None,
    read_rate: ReadRate = None,
    write_rate: WriteRate = None,
    timeout: Timeout = None,
    tries: Tries = None,
    max_changes: MaxChanges = None,
    max_deactivations: MaxDeactivations = None,
    *,
    out: Annotated[
        Path | None, _panel("--out", "Save the plan, to apply it as it is: plan.json.")
    ] = None,
    strict: Strict = False,
    simulate: Simulate = False,
    as_json: AsJson = False,
    log_format: Log = LogFormat.TEXT,
) -> None:
    """Show what would change, old → new; nothing is sent."""
    start_logging(log_format)
    chosen = _chosen(locals())
    source = Source(sheet, worksheet, _mapping(map_))
    if out and out.suffix.lower() != SUFFIX:
        raise UsageError(f"{out.name}: the name of a saved plan ends with {SUFFIX}")
    with _account(chosen, simulate=simulate) as chosen:
        terminal = _terminal(chosen, as_json=as_json)
        proposal = _asynchronously(run.propose(source, chosen, terminal, out))
    if as_json:
        seconds = time_left(len(proposal.plan.operations), chosen.write_rate).total_seconds()
        document = documents.of_plan(proposal, simulated=simulate, seconds_needed=seconds)
        typer.echo(documents.as_json(document))
    else:
        terminal.show_plan(proposal)
        if proposal.plan.operations and not proposal.objections:
            saved = ["token-batch", "apply", str(out), *(["--simulate"] if simulate else [])]
            terminal.next_step(shlex.join(saved) if out else _typed_for("apply"))
    if proposal.objections:
        raise UsageError("; ".join(proposal.objections))
    unfit = sum(proposal.counts().values()) - proposal.counts()[Status.UNCHANGED]
    raise typer.Exit(SOME_NOT if unfit else ALL_WELL)


@app.command()
def apply(
    sheet: Annotated[str, typer.Argument(help="A sheet, or a saved plan (.json).")],
    worksheet: Worksheet = None,
    map_: Map = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    max_unpacked: MaxUnpacked = None,
    max_rows: MaxRows = None,
    max_columns: MaxColumns = None,
    timezone: Timezone = None,
    date_order: DateOrderFlag = None,
    clear_marker: ClearMarker = None,
    base_url: BaseUrl = None,
    reports: Reports = None,
    read_rate: ReadRate = None,
    write_rate: WriteRate = None,
    workers: Workers = None,
    timeout: Timeout = None,
    tries: Tries = None,
    max_outage: MaxOutage = None,
    max_changes: MaxChanges = None,
    max_deactivations: MaxDeactivations = None,
    *,
    pin_defaults: PinDefaults = False,
    strict: Strict = False,
    simulate: Simulate = False,
    yes: Yes = False,
    as_json: AsJson = False,
    log_format: Log = LogFormat.TEXT,
) -> None:
    """Plan, confirm, send, and report every row."""
    start_logging(log_format)
    chosen = _chosen(locals())
    _refuse_silence(yes=yes)
    source = Source(sheet, worksheet, _mapping(map_))
    with _account(chosen, simulate=simulate) as chosen:
        terminal = _terminal(chosen, yes=yes, as_json=as_json)
        ended = _asynchronously(run.apply(source, chosen, terminal))
    if ended is None:
        raise UsageError("not confirmed: nothing was sent")
    _exit(ended, terminal, as_json=as_json)


@app.command()
def resume(
    name: RunName = None,
    base_url: BaseUrl = None,
    reports: Reports = None,
    read_rate: ReadRate = None,
    write_rate: WriteRate = None,
    workers: Workers = None,
    timeout: Timeout = None,
    tries: Tries = None,
    max_outage: MaxOutage = None,
    *,
    pin_defaults: PinDefaults = False,
    simulate: Simulate = False,
    as_json: AsJson = False,
    log_format: Log = LogFormat.TEXT,
) -> None:
    """Go on with a run that stopped, however it stopped."""
    start_logging(log_format)
    chosen = _chosen(locals())
    folder = history.unfinished_run(chosen.reports, name)
    with _account(chosen, simulate=simulate) as chosen:
        terminal = _terminal(chosen, as_json=as_json)
        ended = _asynchronously(run.resume(folder, chosen, terminal))
    _exit(ended, terminal, as_json=as_json)


@app.command()
def undo(
    name: Annotated[str, typer.Argument(help="The run's name.")],
    clear_marker: ClearMarker = None,
    base_url: BaseUrl = None,
    reports: Reports = None,
    read_rate: ReadRate = None,
    write_rate: WriteRate = None,
    workers: Workers = None,
    timeout: Timeout = None,
    tries: Tries = None,
    max_outage: MaxOutage = None,
    max_changes: MaxChanges = None,
    max_deactivations: MaxDeactivations = None,
    *,
    pin_defaults: PinDefaults = False,
    simulate: Simulate = False,
    yes: Yes = False,
    as_json: AsJson = False,
    log_format: Log = LogFormat.TEXT,
) -> None:
    """Put back what a run has changed, where nobody has changed it since."""
    start_logging(log_format)
    chosen = _chosen(locals())
    _refuse_silence(yes=yes)
    folder = history.named_run(chosen.reports, name)
    with _account(chosen, simulate=simulate) as chosen:
        terminal = _terminal(chosen, yes=yes, as_json=as_json)
        ended = _asynchronously(run.undo(folder, chosen, terminal))
    if ended is None:
        raise UsageError("not confirmed: nothing was sent")
    _exit(ended, terminal, as_json=as_json)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="The run's name.")],
    base_url: BaseUrl = None,
    reports: Reports = None,
    read_rate: ReadRate = None,
    timeout: Timeout = None,
    tries: Tries = None,
    *,
    simulate: Simulate = False,
    as_json: AsJson = False,
    log_format: Log = LogFormat.TEXT,
) -> None:
    """Read the tokens again, and list where they differ from what a run wrote."""
    start_logging(log_format)
    chosen = _chosen(locals())
    folder = history.named_run(chosen.reports, name)
    with _account(chosen, simulate=simulate) as chosen:
        terminal = _terminal(chosen, as_json=as_json)
        verification = _asynchronously(run.verify(folder, chosen, terminal))
    if as_json:
        typer.echo(documents.as_json(verification))
    else:
        terminal.show_verification(verification)
    raise typer.Exit(SOME_NOT if verification.differences else ALL_WELL)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="The file to write: .xlsx, or .csv.")],
    customer: Annotated[
        int | None, _panel("--customer", "Only this customer's tokens.", min=1)
    ] = None,
    type_: Annotated[
        str | None, _panel("--type", "Only tokens of this type: rfid, virtual or vehicleId.")
    ] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Only those that work, or do not.")
    ] = None,
    timezone: Timezone = None,
    clear_marker: ClearMarker = None,
    base_url: BaseUrl = None,
    reports: Reports = None,
    read_rate: ReadRate = None,
    timeout: Timeout = None,
    tries: Tries = None,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Take the place of a file that is there.")
    ] = False,
    simulate: Simulate = False,
    as_json: AsJson = False,
    log_format: Log = LogFormat.TEXT,
) -> None:
    """Write the account's tokens as a sheet to edit and hand back."""
    start_logging(log_format)
    chosen = _chosen(locals())
    selection = Selection(customer, type_, active)
    with _account(chosen, simulate=simulate) as chosen:
        terminal = _terminal(chosen, as_json=as_json)
        exported = _asynchronously(
            run.export_tokens(out, selection, chosen, terminal, overwrite=overwrite)
        )
    if as_json:
        typer.echo(documents.as_json(documents.of_export(exported, simulated=simulate)))
    else:
        terminal.show_export(exported)


@app.command()
def runs(
    reports: Reports = None, *, as_json: AsJson = False, log_format: Log = LogFormat.TEXT
) -> None:
    """All runs, the latest last."""
    start_logging(log_format)
    chosen = _chosen(locals())
    found = history.runs(chosen.reports)
    if as_json:
        typer.echo(documents.as_json(found))
    else:
        _terminal(chosen).show_runs(found)


@app.command()
def report(
    name: RunName = None,
    reports: Reports = None,
    *,
    as_json: AsJson = False,
    log_format: Log = LogFormat.TEXT,
) -> None:
    """Write a run's reports again."""
    start_logging(log_format)
    chosen = _chosen(locals())
    ended = run.write_reports(history.named_run(chosen.reports, name))
    if as_json:
        typer.echo(ended.summary.model_dump_json(indent=2))
    else:
        chosen = chosen.model_copy(update={"simulated": ended.summary.simulated})
        _terminal(chosen).show_end(ended)


@app.command()
def simulate(
    reports: Reports = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8080,
    log_format: Log = LogFormat.TEXT,
) -> None:
    """Run the simulated API as a server of its own, until Ctrl-C."""
    start_logging(log_format)
    chosen = _chosen(locals())
    api = _simulated_api(chosen, host=host, port=port)
    try:
        api.run_foreground(lambda url: typer.echo(f"SIMULATED: the token API answers at {url}"))
    except OSError as error:
        raise SettingsError(
            f"{host}:{port} cannot be listened at ({error.strerror}): name another --port"
        ) from error
    finally:
        api.close()


def main() -> NoReturn:
    """The command line: every error one sentence on stderr, every end an exit code."""
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    _open_streams()
    # Rows, tokens and operations are many small objects without cycles: looking through them
    # for garbage as often as Python does by default takes a tenth of a run.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()
    try:
        app()
    except Interrupted as error:
        _fail(str(error), INTERRUPTED)
    except BusyError as error:
        _fail(str(error), BUSY)
    except StopRun as error:
        _fail(f"{error}; go on with `token-batch resume`", STOPPED_EARLY)
    except TokenBatchError as error:
        _fail(str(error), NOTHING_SENT)
    except Exception as error:  # noqa: BLE001 - the last resort, which names its log
        _fail(
            f"a fault of token-batch itself ({type(error).__name__}): details in {_fault_log()}",
            FAULT,
        )
    sys.exit(ALL_WELL)


def _open_streams() -> None:
    """A job may start the program with its streams closed. The numbers that they leave free
    would be given to files and sockets, and what is printed would go there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    signal.raise_signal(signal.SIGINT)


def _fail(sentence: str, code: int) -> NoReturn:
    log_error(sentence)
    sys.exit(code)


def _fault_log() -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="token-batch-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        log.write(traceback.format_exc())
    return log.name


def _refuse_silence(*, yes: bool) -> None:
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("there is no terminal to confirm the plan on: add --yes to apply it")


def _exit(ended: Ended, terminal: Terminal, *, as_json: bool) -> NoReturn:
    """Show how the run ended, and say it to the shell."""
    if as_json:
        typer.echo(documents.as_json(ended.summary))
    else:
        terminal.show_end(ended)
    if ended.interrupted:
        raise typer.Exit(INTERRUPTED)
    if ended.stop:
        raise typer.Exit(STOPPED_EARLY)
    raise typer.Exit(ALL_WELL if ended.summary.all_well else SOME_NOT)


def _typed_for(command: str) -> str:
    """What was typed, with another command that takes the same options."""
    return shlex.join(["token-batch", command, *sys.argv[2:]])


def _chosen(given: dict[str, Any]) -> Settings:
    """The settings, of a command's parameters those that are one: they bear the same names."""
    return settings.load(
        **{
            name: value
            for name, value in given.items()
            if name in Settings.model_fields and value is not None and value is not False
        }
    )


def _mapping(pairs: list[str] | None) -> dict[str, str]:
    mapping = {}
    for pair in pairs or ():
        header, equals, meaning = pair.rpartition("=")
        if not equals or not header.strip() or not meaning.strip():
            raise SettingsError(f'--map {pair!r}: write for example --map "Card no=label"')
        mapping[header.strip()] = meaning.strip()
    return mapping


def _terminal(chosen: Settings, *, yes: bool = False, as_json: bool = False) -> Terminal:
    return Terminal(
        write_rate=chosen.write_rate, yes=yes, simulated=chosen.simulated, as_json=as_json
    )


@contextmanager
def _account(chosen: Settings, *, simulate: bool) -> Iterator[Settings]:
    """The settings for the account to work on: the real one, or the simulated API's."""
    if not simulate:
        _ = chosen.key  # a missing key is said before a long sheet is read
        yield chosen
        return
    with _simulated_api(chosen) as api:
        key = SecretStr("simulated")
        yield chosen.model_copy(update={"simulated": True, "base_url": api.url, "api_key": key})


def _simulated_api(chosen: Settings, host: str = "127.0.0.1", port: int = 0) -> SimulatedApi:
    """Its tokens live beside the runs, so that the next command sees what this one changed."""
    from batch.simulator import SimulatedApi  # noqa: PLC0415 - a web server, only when asked for

    try:
        chosen.reports.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{chosen.reports} cannot be made ({error.strerror}): name another folder with "
            "--reports"
        ) from error
    return SimulatedApi(chosen.reports / "simulated.sqlite", host=host, port=port)


def _asynchronously(work: Coroutine[Any, Any, T]) -> T:
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(work)
    except KeyboardInterrupt:  # typer's own answer to it is silence
        raise Interrupted("interrupted") from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's where the extra `fast` is installed, else Python's own."""
    try:
        import uvloop  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
