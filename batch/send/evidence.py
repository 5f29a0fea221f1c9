"""What an answer, or its absence, proves about one operation. Pure."""

from __future__ import annotations

from batch.client.token_client import NOT_FOUND
from batch.errors import Refused, TryAgain
from batch.models import BadCells, Field, Operation, Outcome, Status, Token, shown

NO_ANSWER = "no_answer"
TRIES_USED_UP = "tries_used_up"
SERVER_ERROR = 500  # and above


def of_refusal(failure: Refused) -> Outcome:
    """The API's final word, as an outcome."""
    if failure.http_status == NOT_FOUND:
        status = Status.NOT_FOUND
    else:
        status = Status.FAILED if failure.doubtful else Status.REJECTED
    return Outcome(
        status,
        str(failure),
        code=failure.code,
        http_status=failure.http_status,
        request_id=failure.request_id,
        bad_cells=_named_by_the_api(failure),
    )


def _named_by_the_api(failure: Refused) -> BadCells:
    """The cell at fault, where the API names its field: `customerId`, or `identifier.appUserId`."""
    name = failure.param.rpartition(".")[2]
    return {Field(name): str(failure)} if name in tuple(Field) else {}


def of_failure(failure: TryAgain, attempts: int) -> Outcome:
    """The last of the tries, as an outcome."""
    return Outcome(
        Status.FAILED,
        f"no success in {attempts} tries: {failure}",
        code=NO_ANSWER if failure.http_status is None else TRIES_USED_UP,
        http_status=failure.http_status,
        request_id=failure.request_id,
    )


def tells_of_no_service(outcome: Outcome) -> bool:
    """Whether the service gave no word of its own: a fault of the row, or it is away."""
    server_error = outcome.http_status is not None and outcome.http_status >= SERVER_ERROR
    used_up = outcome.code in {NO_ANSWER, TRIES_USED_UP}
    return used_up or (outcome.status is Status.FAILED and server_error)


def not_as_asked(operation: Operation, now: Token) -> str:
    """Which asked fields the token does not have, in words; empty when it has them all."""
    return ", ".join(
        f"{name} is {shown(now.value(name))} instead of {shown(value)}"
        for name, value in operation.changes.items()
        if now.value(name) != value
    )
