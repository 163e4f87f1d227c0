"""Parse server-sent events (WHATWG HTML, section 9.2): bytes in, the data of whole events out."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """An incremental parser. Comments and fields other than `data` are left out, and a byte order mark.

    Errors under the field `error` (llama.cpp until 2025), or in an event named so, become data with the key `error`.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self._is_error = self._after_return = False
        self._has_begun = False
        self.waiting_bytes = 0
        """Of an event that is not complete yet."""

    def feed(self, piece: bytes) -> list[bytes]:
        piece = self._normalize(piece)
        self._rest.append(piece)
        self.waiting_bytes += len(piece)
        if b"\n" not in piece:
            return []
        *lines, rest = b"".join(self._rest).split(b"\n")
        self._rest = [rest]
        events = []
        if not self._has_begun:
            lines[0], self._has_begun = lines[0].removeprefix(BYTE_ORDER_MARK), True
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif line.startswith(b"error:"):
                self._data.append(b'{"error":' + line[6:] + b"}")
            elif line.startswith(b"event:"):
                self._is_error = line[6:].strip() == b"error"
            elif not line:
                events += self._end_event()
        self.waiting_bytes = len(rest) + sum(map(len, self._data))
        return events

    def _normalize(self, piece: bytes) -> bytes:
        """Make LF of each end of a line: CR LF, CR or LF."""
        if b"\r" not in piece and not self._after_return:
            return piece
        ended, self._after_return = self._after_return, piece.endswith(b"\r") or (self._after_return and not piece)
        piece = piece.removeprefix(b"\n") if ended else piece
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _end_event(self) -> list[bytes]:
        data, is_error = b"\n".join(self._data), self._is_error
        events = [b'{"error":' + data + b"}" if is_error and b'"error"' not in data else data] if self._data else []
        self._data, self._is_error = [], False
        return events

    def finish(self) -> list[bytes]:
        """Return the event of a stream that ended without its last empty line."""
        return self.feed(b"\n\n")
