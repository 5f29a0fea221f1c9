"""What the simulated API sends back: errors in both shapes, and answers that go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from batch.simulator.behaviour import ErrorBody
from batch.simulator.faults import Fault

HANG_UP = "batch.simulator.hang_up"
"""Under this name the server puts into a request's scope what ends its connection:
`hang_up(abort=True)` at once, `hang_up(abort=False)` after what was written has gone out."""

_PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_GATEWAY = (502, 504)
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_INJECTED = {
    400: ("invalid_request", "The request was refused."),
    403: ("insufficient_permission", "This key may not change this token."),
    404: ("token_not_found", "Token not found."),
    409: ("conflict", "The token is being changed by another request."),
    422: ("unprocessable", "The token cannot be changed so."),
    429: ("rate_limit_exceeded", "Too many requests."),
    500: ("internal_error", "Something went wrong on our side."),
    503: ("service_unavailable", "The service is temporarily unavailable."),
}


class ApiError(Exception):
    """An error that the API answers. `param` names the field or parameter it is about."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers

    def response(self, shape: ErrorBody, request_id: str) -> Response:
        """The error in one of its two shapes."""
        if shape is ErrorBody.OLD:
            return JSONResponse({"message": self.message}, self.status, self.headers)
        error = {
            "type": _TYPES.get(self.status, "api_error"),
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "request_id": request_id,
        }
        return JSONResponse({"error": error}, self.status, self.headers)


def injected(
    status: int, headers: Mapping[str, str], shape: ErrorBody, request_id: str
) -> Response:
    """An error for no reason; a gateway tells its own as an HTML page."""
    if status in _GATEWAY:
        return page(f"{status} Gateway error", status, headers)
    code, message = _INJECTED[status]
    return ApiError(status, code, message, headers=headers).response(shape, request_id)


def page(title: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An HTML page, where JSON was expected."""
    return HTMLResponse(_PAGE.format(title), status, headers)


def spoilt(fault: Fault, true: Response, stall: float) -> Response:
    """What comes of the true answer under a fault that is no error status."""
    half = bytes(true.body[: len(true.body) // 2])
    match fault:
        case Fault.DROP | Fault.DROP_APPLIED:
            return NoAnswer()
        case Fault.STALL | Fault.STALL_APPLIED:
            return NoAnswer(after=stall)
        case Fault.HALF:
            return HalfAnswer(half, headers={"Content-Length": str(len(true.body))})
        case Fault.HTML:
            return page("Spirii")
        case Fault.TRUNCATED:
            return Response(half, media_type="application/json")
        case _:
            return Response(media_type="application/json")


class NoAnswer(Response):
    """Cuts the connection after some seconds, unless the client has gone before."""

    def __init__(self, after: float = 0.0) -> None:
        super().__init__()
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(self._after) else self._after):
                await _client_gone(receive)
        scope[HANG_UP](abort=True)
        await _client_gone(receive)


class HalfAnswer(Response):
    """Sends less than its `Content-Length` says, then closes the connection."""

    media_type = "application/json"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        scope[HANG_UP](abort=False)
        await _client_gone(receive)


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
