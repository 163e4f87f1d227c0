"""Parse server-sent events (WHATWG HTML, section 9.2): bytes in, the data of whole events out."""


class EventParser:
    """An incremental parser. Comments and fields other than `data` are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        return events

    def finish(self) -> list[bytes]:
        """Return the event of a stream that ended without its last empty line."""
        return self.feed(b"\n\n")
