"""What is answered in place of text."""

from typing import Any


class Refused(Exception):
    """A request that is not served; `status` is HTTP's, `code` and `param` are OpenAI's."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def describe(self) -> dict[str, Any]:
        """Describe it in OpenAI's form."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
