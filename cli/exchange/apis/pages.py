"""A page of an API's listing, taken apart as files are: a record that cannot be read costs itself and not its page."""

import json
from dataclasses import dataclass
from typing import Any

from cli.exchange.files.reading import LONGEST_LINE, parse_record, refuse_long
from cli.exchange.files.splitting import ListSplitter, find_list
from cli.exchange.found import Refused
from cli.exchange.ports import Listing, Record
from shared.errors import MalformedBody
from shared.json_depth import check_depth

WRAPPER = "data"


class NoPage(ValueError):
    """What an API answers is no page of a listing; says what it is."""


@dataclass(frozen=True)
class Listed:
    """The records of a page, and what stands around them."""

    records: list[Record | Refused]
    frame: dict[str, Any]

    @property
    def refused(self) -> Refused | None:
        return next((one for one in self.records if isinstance(one, Refused)), None)

    def find_next(self, listing: Listing, at: str | None) -> str | None:
        """Return where the next page begins, by the cursor, number or id of the one before; None: this was the last.

        Raises: NoPage: more is said to follow, and not where.
        """
        meta = self.frame.get("meta")
        said: dict[str, Any] = meta if isinstance(meta, dict) else {}
        if listing.paging == "cursor":
            cursor = said.get("cursor") or said.get("nextCursor")
            return str(cursor) if cursor else None
        if listing.paging == "number":
            number, pages = int(at or 1), said.get("totalPages")
            return str(number + 1) if isinstance(pages, int) and number < pages else None
        if not self.frame.get("has_more"):
            return None
        ids = [one["id"] for one in self.records if not isinstance(one, Refused) and one.get("id")]
        if found := self.frame.get("last_id") or (ids[-1] if ids else None):
            return str(found)
        raise NoPage("says that more follows, and no record of it has an id")


def read_page(content: bytes) -> Listed:
    """Take a page apart. Raises: NoPage."""
    begin = find_list(content, (WRAPPER,))
    if begin is None or content[:begin].lstrip().startswith(b"["):
        _parse_frame(content)
        raise NoPage(f"answers without a list under `{WRAPPER}`")
    splitter = ListSplitter(LONGEST_LINE)
    members = list(splitter.feed(content[begin:]))
    if not splitter.is_ended:
        raise NoPage("answers with something that is no JSON")
    records = [refuse_long("member of the list") if one is None else parse_record(one) for one in members]
    return Listed(records, _parse_frame(content[:begin] + b"]" + splitter.rest()))


def _parse_frame(content: bytes) -> dict[str, Any]:
    try:
        check_depth(content)
        frame = json.loads(content.decode())
    except (MalformedBody, ValueError, RecursionError):
        raise NoPage("answers with something that is no JSON") from None
    if not isinstance(frame, dict):
        raise NoPage(f"answers without a list under `{WRAPPER}`")
    return frame
