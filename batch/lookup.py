"""The tokens that a sheet names, read in the cheaper of two ways.

One page holds 1,000 tokens, and the first page tells how many there are: from then on it is
known whether the other pages or single reads cost fewer requests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar
from urllib.parse import urlencode

from batch.client.retrying import Retrying
from batch.client.token_client import FORBIDDEN, OK, PAGE_LIMIT, Page, TokenClient
from batch.errors import KeyRefused, NotTheApi, Refused, TryAgain, Unavailable
from batch.models import Selection, Token

T = TypeVar("T")

READS_AT_ONCE = 16
_LISTINGS = 3  # of an account that changes meanwhile, before it is given up


class Wanted(Protocol):
    """What is looked for, and where what is found goes."""

    @property
    def only_by_id(self) -> bool: ...
    @property
    def missing(self) -> int: ...
    @property
    def missing_ids(self) -> Sequence[int]: ...
    @property
    def misses_others(self) -> bool: ...
    def offer(self, token: Token) -> None: ...


class Lookup:
    """Reads tokens, several requests at once.

    `seen` is told the tokens gone by and those there are. Raises StopRun's children: when a
    read fails for good, nothing that depends on it can be decided.
    """

    def __init__(
        self,
        client: TokenClient,
        retrying: Retrying,
        seen: Callable[[int, int], None] = lambda _seen, _count: None,
    ) -> None:
        self._client = client
        self._retrying = retrying
        self._seen = seen

    async def collect(self, wanted: Wanted) -> None:
        """Offer every token of the account that is wanted.

        An id that the listing lacked is asked for by itself before it counts as missing,
        because pages shift when tokens are deleted while they are read. A label or uid cannot
        be asked for: if one is missing, the listing is read once more.
        """
        if wanted.only_by_id and wanted.missing <= 1:
            await self._singly(wanted)
            if wanted.missing:
                # Any web server answers 404: only one that lists tokens knows that none is there.
                await self._pages(partial(_offer, wanted), enough=lambda _: True)
            return
        await self._list(wanted)
        if wanted.misses_others:
            await self._list(wanted)
        await self._singly(wanted)

    async def account(self, selection: Selection) -> list[Token]:
        """Every token that is selected, by ascending id.

        A token deleted while pages are read moves those after it to earlier places, where one
        may be passed by: a listing whose count changed is read again. Unavailable when the count
        of none holds still.
        """
        for _ in range(_LISTINGS):
            pages: list[Page] = []
            await self._pages(pages.append, query=_filters(selection))
            found = {token.id: token for page in pages for token in page.data}
            if {page.count for page in pages} == {len(found)}:
                return [found[id_] for id_ in sorted(found) if selection.has(found[id_])]
        raise Unavailable(
            "tokens were added or deleted each time that the account was read: try again later"
        )

    async def tokens(self, ids: Collection[int]) -> dict[int, Token | None]:
        """The tokens with these ids, each read by itself; None where there is none."""
        found: dict[int, Token | None] = {}
        left = iter(ids)

        async def read_on() -> None:
            for token_id in left:
                found[token_id] = await self._token(token_id)
                self._seen(len(found), len(ids))

        await _several(read_on)
        return found

    async def _singly(self, wanted: Wanted) -> None:
        for token in (await self.tokens(wanted.missing_ids)).values():
            if token:
                wanted.offer(token)

    async def _list(self, wanted: Wanted) -> None:
        """Read pages while they are the cheaper way."""
        await self._pages(
            partial(_offer, wanted),
            enough=lambda left: wanted.only_by_id and wanted.missing <= left,
        )

    async def _pages(
        self,
        take: Callable[[Page], None],
        *,
        query: str = "",
        enough: Callable[[int], bool] = lambda _: False,
    ) -> None:
        """Every page of the listing, until there is `enough`, which is told how many are left."""
        gone_by = 0

        async def read(offset: int) -> Page:
            nonlocal gone_by
            page = await self._read(lambda: self._client.page(offset, query=query))
            take(page)
            gone_by += len(page.data)
            self._seen(min(gone_by, page.count), page.count)
            return page

        first = await read(0)
        # A server may hold back from pages as large as were asked for.
        size = len(first.data) or PAGE_LIMIT
        left = deque(range(size, first.count, size))

        async def read_on() -> None:
            while left and not enough(len(left)):
                await read(left.popleft())

        await _several(read_on)

    async def _token(self, token_id: int) -> Token | None:
        return await self._read(lambda: self._client.token(token_id))

    async def _read(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._retrying.call(attempt)
        except TryAgain as error:
            if error.http_status == OK:
                raise NotTheApi(f"{error}: check the base URL") from error
            raise Unavailable(f"{error}: try again later, or check the base URL") from error
        except Refused as error:
            if error.http_status == FORBIDDEN:
                raise KeyRefused(
                    f"the API refuses the key (403: {error}): check SPIRII_API_KEY"
                ) from error
            raise NotTheApi(
                f"the API refused to tell its tokens ({error.http_status}: {error}): "
                "check the base URL"
            ) from error


def _offer(wanted: Wanted, page: Page) -> None:
    for token in page.data:
        wanted.offer(token)


def _filters(selection: Selection) -> str:
    """The selection as the API filters by it (API reference, "Get a list of tokens")."""
    asked = {
        "customerId": selection.customer_id,
        "type": selection.type,
        "isActive": None if selection.is_active is None else str(selection.is_active).lower(),
    }
    return urlencode({name: value for name, value in asked.items() if value is not None})


async def _several(read_on: Callable[[], Awaitable[None]]) -> None:
    """As many at once as may be; the first failure cancels the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(read_on()) for _ in range(READS_AT_ONCE)]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


class ById:
    """The tokens with certain ids, collected as the account's tokens go by."""

    misses_others = False
    only_by_id = True

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids = set(ids)
        self.found: dict[int, Token] = {}

    @property
    def missing(self) -> int:
        return len(self._ids) - len(self.found)

    @property
    def missing_ids(self) -> list[int]:
        return sorted(self._ids - self.found.keys())

    def offer(self, token: Token) -> None:
        if token.id in self._ids:
            self.found[token.id] = token
