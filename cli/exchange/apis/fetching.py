"""The records of a source's API, page by page: with deadlines, patience, and a page to go on from."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from cli.exchange.apis.pages import Listed, NoPage, read_page
from cli.exchange.found import Refused
from cli.exchange.ports import Api, Listing, Record
from local.errors import StackFailed

REQUEST_SECONDS = 60.0
PATIENCE_SECONDS = 900.0
"""How long one page is asked for again, where the API is busy or away."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_PAGE = 256 * 2**20
"""Bytes of an answer, unpacked."""
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 524})


@dataclass(frozen=True)
class Page:
    """A page of a listing, as it can be asked for again: `until` is the time before which its records were made."""

    path: str
    until: str
    at: str | None = None
    """The cursor, the number, or the id before it; None: the first."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Credentials:
    """A key, and with it a user or none."""

    secret: str = field(repr=False)
    user: str | None = None

    @classmethod
    def find(cls, api: Api, environment: Mapping[str, str] = os.environ) -> "Credentials":
        """Find them in the environment. Raises: StackFailed: they are not there; says which variables to set."""
        names = [name for name in (api.user_variable, api.secret_variable) if name]
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise StackFailed(f"the API's key is not there: set {' and '.join(missing)}")
        user = environment[api.user_variable] if api.user_variable else None
        return cls(environment[api.secret_variable], user)


class Client:
    """Reads a source's API. One request is under way at a time."""

    def __init__(
        self,
        api: Api,
        address: str,
        credentials: Credentials,
        since: datetime | None = None,
        *,
        say: Callable[[str], None] = lambda line: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.stages = api.stages
        self._say, self._sleep, self._was_reached = say, sleep, False
        self._address, self._since = address.rstrip("/"), since
        bearer = {} if credentials.user else {"authorization": f"Bearer {credentials.secret}"}
        self._client = httpx.Client(
            base_url=self._address,
            timeout=REQUEST_SECONDS,
            auth=(credentials.user, credentials.secret) if credentials.user else None,
            headers=bearer,
        )

    def close(self) -> None:
        self._client.close()

    def list_pages(self, stage: int, begin: Page | None = None) -> Iterator[tuple[Page, list[Record | Refused]]]:
        """List a stage's pages, each with its records, or why one of them is none, from `begin` on.

        Raises: StackFailed: the API refuses, does not answer within 15 minutes, or answers with something else.
        """
        listing, page, first = self._open(self.stages[stage], begin)
        listed: Listed | None = first
        while listed is not None:
            yield page, [self._complete(listing, record) for record in listed.records]
            following = self._find_next(listing, page, listed)
            if following is None:
                return
            page, listed = following, self._ask(listing, following)
        raise StackFailed(f"{self._address}{page.path} is not there any more")

    def _find_next(self, listing: Listing, page: Page, listed: Listed) -> Page | None:
        """Find the next page; None: it was the last. Raises: StackFailed: it would be the same again."""
        try:
            at = listed.find_next(listing, page.at)
        except NoPage as error:
            raise StackFailed(f"{self._address}{page.path} {error}") from None
        if at is not None and at == page.at:
            raise StackFailed(f"{page.path} gives one page again and again")
        return replace(page, at=at) if at else None

    def _open(self, listings: Sequence[Listing], begin: Page | None) -> tuple[Listing, Page, Listed]:
        """Find the first listing that is there, and ask for its first page."""
        for listing in listings:
            if begin and begin.path != listing.path:
                continue
            page = begin or Page(listing.path, datetime.now(UTC).isoformat(timespec="milliseconds"))
            if (listed := self._ask(listing, page)) is not None:
                return listing, page, listed
        paths = ", ".join(listing.path for listing in listings)
        raise StackFailed(f"{self._address} has none of {paths}: is it the tool's own address?")

    def _ask(self, listing: Listing, page: Page) -> Listed | None:
        parameters = dict(listing.params)
        if listing.times:
            parameters[listing.times[1]] = page.until
            if self._since:
                parameters[listing.times[0]] = self._since.isoformat()
        if page.at is not None:
            parameters[{"cursor": "cursor", "number": "page", "after": "after"}[listing.paging]] = page.at
        return self._get(listing.path, parameters)

    def _complete(self, listing: Listing, record: Record | Refused) -> Record | Refused:
        """Add the member that has a list of its own; without all of that list it is refused."""
        if listing.inside is None or isinstance(record, Refused) or "id" not in record:
            return record
        name, path = listing.inside
        listed = self._get(path.format(id=quote(str(record["id"]), safe="")), {"limit": "100"})
        return record if listed is None else listed.refused or {**record, name: listed.records}

    def _get(self, path: str, parameters: Mapping[str, str]) -> Listed | None:
        """Get what stands at a path; None if there is nothing. A busy API is asked again, when it says so."""
        pause, waited = FIRST_PAUSE_SECONDS, 0.0
        while True:
            try:
                reply, content = self._fetch(path, parameters)
                said, after = f"status {reply.status_code}", reply.headers.get("retry-after", "")
                self._was_reached = True
                if reply.status_code not in BUSY:
                    return self._read(path, reply, content)
            except httpx.HTTPError as error:
                said, after = f"{type(error).__name__}: {error}", ""
                if not self._was_reached:
                    raise StackFailed(f"{self._address} cannot be reached ({said})") from None
            wait = min(float(after), PATIENCE_SECONDS) if after.isdecimal() else pause
            waited, pause = waited + wait, min(2 * pause, LONGEST_PAUSE_SECONDS)
            if waited > PATIENCE_SECONDS:
                raise StackFailed(f"{self._address}{path} does not answer ({said}); the same command goes on from here")
            self._say(f"{path}: {said}, asking again in {wait:.0f} s")
            self._sleep(wait)

    def _fetch(self, path: str, parameters: Mapping[str, str]) -> tuple[httpx.Response, bytes]:
        """Ask once. Raises: StackFailed: the answer is larger than a page may be, or does not end."""
        content, give_up_at = bytearray(), time.monotonic() + PATIENCE_SECONDS
        with self._client.stream("GET", path, params=dict(parameters)) as reply:
            for chunk in reply.iter_bytes():
                content += chunk
                if len(content) > LONGEST_PAGE:
                    raise StackFailed(f"{self._address}{path} answers with more than {LONGEST_PAGE:,} bytes at once")
                if time.monotonic() > give_up_at:
                    raise StackFailed(f"{self._address}{path} does not end its answer")
        return reply, bytes(content)

    def _read(self, path: str, reply: httpx.Response, content: bytes) -> Listed | None:
        if reply.status_code == 404:
            return None
        if reply.status_code in (401, 403):
            raise StackFailed(f"{self._address} does not take the key ({reply.status_code}): is it of this address?")
        if reply.is_error:
            raise StackFailed(f"{self._address}{path} refuses ({reply.status_code}): {_show(content)}")
        try:
            return read_page(content)
        except NoPage as error:
            raise StackFailed(f"{self._address}{path} {error}") from None


def _show(content: bytes) -> str:
    """Return the beginning of an answer, as a terminal may show it."""
    return "".join(sign if sign.isprintable() else " " for sign in content[:300].decode(errors="replace"))
