"""The API itself: every request is recorded, admitted, perhaps spoilt, and answered."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batch.simulator import checks
from batch.simulator.answers import ApiError, NoAnswer, injected, page, spoilt
from batch.simulator.behaviour import Behaviour
from batch.simulator.faults import Chooser, Fault, Faults, Outage
from batch.simulator.keys import Keys
from batch.simulator.limits import Limiter
from batch.simulator.record import Record, Request
from batch.simulator.sample import CUSTOMERS
from batch.simulator.tokens import TokenStore

_MAY_ASK_TO_WAIT = (429, 500, 502, 503, 504)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_TOLD = [field.name for field in fields(Request)]


@dataclass(frozen=True, slots=True)
class _Call:
    """A request as it is handed from step to step."""

    http: HttpRequest
    request: Request
    request_id: str
    is_json: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    response: Response
    applied: bool = False
    fault: Fault | None = None

    @property
    def status(self) -> int | None:
        return None if isinstance(self.response, NoAnswer) else self.response.status_code


class Api:
    """One simulated account and the rules by which it answers.

    `outage` and `faults` may be set, and another key accepted, from any thread at any time.
    """

    def __init__(self, store: TokenStore, behaviour: Behaviour, faults: Faults) -> None:
        self.outage: Outage | None = None
        self.faults = faults
        self.record = Record()
        self.keys = Keys(behaviour)
        self._store = store
        self._behaviour = behaviour
        self._limiter = Limiter(behaviour.limits) if behaviour.limits else None

    @property
    def faults(self) -> Faults:
        """What goes wrong from now on; setting it starts its script and counts anew."""
        return self._chooser.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._chooser = Chooser(faults)

    def app(self) -> Starlette:
        """The API as an ASGI application."""
        return Starlette(
            routes=[
                Route("/_simulator/requests", self._tell_requests),
                Route("/{path:path}", self._serve, methods=_METHODS),
            ]
        )

    async def _tell_requests(self, _: HttpRequest) -> Response:
        requests = self.record.requests()
        told = [{name: getattr(request, name) for name in _TOLD} for request in requests]
        writes = sum(request.is_write for request in requests)
        applied = sum(request.applied for request in requests)
        counts = {"reads": len(requests) - writes, "writes": writes, "applied": applied}
        return JSONResponse(counts | {"requests": told})

    async def _serve(self, http: HttpRequest) -> Response:
        body, is_json = _body(await http.body())
        request = Request(
            arrived=time.monotonic(),
            method=http.method,
            path=http.scope["path"],
            query=http.scope["query_string"].decode("latin-1"),
            token_id=_token_id(http.scope["path"]),
            body=body,
        )
        number = self.record.arrived(request)
        answer = await self._answer(_Call(http, request, f"req_{number + 1:08x}", is_json))
        self.record.finished(
            number,
            time.monotonic(),
            status=answer.status,
            applied=answer.applied,
            fault=answer.fault,
        )
        return answer.response

    async def _answer(self, call: _Call) -> _Answer:
        if self.outage is Outage.NOT_THE_API:
            return _Answer(page("Welcome"))
        if self.outage is Outage.UNAVAILABLE:
            return _Answer(self._error(call, HTTPStatus.SERVICE_UNAVAILABLE))
        try:
            authorization = call.http.headers.get("authorization", "")
            self.keys.check(authorization, write=call.request.is_write)
            limit_headers = self._admit(call)
        except ApiError as error:
            return _Answer(error.response(self._behaviour.error_body, call.request_id))
        answer = await self._perhaps_spoilt(call)
        answer.response.headers.update(limit_headers)
        return answer

    def _admit(self, call: _Call) -> dict[str, str]:
        if self._limiter is None:
            return {}
        now = time.time()
        ruling = self._limiter.rule(now, write=call.request.is_write)
        if ruling.allowed:
            return ruling.headers()
        wait = self._retry_after(now, ruling.reset_at - now)
        message = f"Too many requests: {ruling.limit} are allowed."
        raise ApiError(429, "rate_limit_exceeded", message, headers=ruling.headers() | wait)

    async def _perhaps_spoilt(self, call: _Call) -> _Answer:
        chooser, request = self._chooser, call.request
        target = f"{request.path}?{request.query}"
        fault, delay = chooser.choose(request.method, target, request.token_id)
        await asyncio.sleep(delay)
        if fault is None or fault.applies:
            true = self._true_answer(call)
            applied = request.is_write and true.status_code == HTTPStatus.OK
        else:
            true, applied = Response(), False
        if fault is None:
            return _Answer(true, applied)
        if fault.status is None:
            return _Answer(spoilt(fault, true, chooser.faults.stall), applied, fault)
        return _Answer(self._error(call, fault.status), applied, fault)

    def _true_answer(self, call: _Call) -> Response:
        try:
            return JSONResponse(self._handle(call))
        except ApiError as error:
            return error.response(self._behaviour.error_body, call.request_id)

    def _handle(self, call: _Call) -> dict[str, Any]:
        request = call.request
        match request.method, request.path.split("/"):
            case "GET", ["", "v2", "tokens"]:
                tokens, count = self._store.page(checks.listing(call.http.query_params))
                return {"data": tokens, "count": count}
            case "GET", ["", "v2", "tokens", text]:
                return _found(self._store.get(checks.token_id(text)))
            case "PATCH", ["", "v2", "tokens", text]:
                return self._patch(checks.token_id(text), call)
        raise ApiError(404, "not_found", f"There is no {request.method} {request.path}.")

    def _patch(self, token_id: int, call: _Call) -> dict[str, Any]:
        if not call.is_json:
            raise ApiError(400, "invalid_json", "The body is not valid JSON.")
        asked = checks.changes(call.request.body)
        _found(self._store.get(token_id))
        customer = asked.get("customerId")
        if customer is not None and customer not in CUSTOMERS:
            raise ApiError(404, "customer_not_found", "Customer not found.", param="customerId")
        now = checks.written(datetime.now(UTC))
        if self._behaviour.applies_defaults:
            asked = {"validFrom": now, "isActive": True, "roamingEnabled": True, **asked}
        return _found(self._store.change(token_id, {**asked, "updatedAt": now}))

    def _error(self, call: _Call, status: int) -> Response:
        asked = self.faults.retry_after if status in _MAY_ASK_TO_WAIT else None
        wait = {} if asked is None else self._retry_after(time.time(), asked)
        return injected(status, wait, self._behaviour.error_body, call.request_id)

    def _retry_after(self, now: float, seconds: float) -> dict[str, str]:
        if self._behaviour.retry_after_as_date:
            return {"Retry-After": formatdate(math.ceil(now + seconds), usegmt=True)}
        return {"Retry-After": str(math.ceil(seconds))}


def _body(raw: bytes) -> tuple[Any, bool]:
    try:
        return (checks.parsed(raw), True) if raw else (None, False)
    except ValueError:
        return raw.decode(errors="replace"), False


def _token_id(path: str) -> int | None:
    try:
        return checks.token_id(path.removeprefix("/v2/tokens/"))
    except ApiError:
        return None


def _found(token: dict[str, Any] | None) -> dict[str, Any]:
    if token is None:
        raise ApiError(404, "token_not_found", "Token not found.")
    return token
