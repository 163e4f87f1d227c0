"""Parse server-sent events (WHATWG HTML, section 9.2): bytes in, the data of whole events out."""


class EventParser:
    """An incremental parser. Comments and fields other than `data` are left out.

    llama.cpp wrote errors under the field `error` until 2025: they become data with the key `error`.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self.waiting_bytes = 0
        """Of an event that is not complete yet."""

    def feed(self, piece: bytes) -> list[bytes]:
        self._rest.append(piece)
        self.waiting_bytes += len(piece)
        if b"\n" not in piece:
            return []
        *lines, rest = b"".join(self._rest).split(b"\n")
        self._rest = [rest]
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif line.startswith(b"error:"):
                self._data.append(b'{"error":' + line[6:] + b"}")
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        self.waiting_bytes = len(rest) + sum(map(len, self._data))
        return events

    def finish(self) -> list[bytes]:
        """Return the event of a stream that ended without its last empty line."""
        return self.feed(b"\n\n")
