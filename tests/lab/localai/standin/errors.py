"""The two ways in which things go wrong: the server does not start, or a request is answered with an error."""
from __future__ import annotations

from typing import Mapping, Optional


class StartError(Exception):
    """The server does not start; the text goes to standard error and `code` is the exit status."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class RequestError(Exception):
    """A request is answered with `status` and LocalAI's error body."""

    def __init__(self, status: int, message: str, kind: str = "", headers: Optional[Mapping[str, str]] = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """The JSON body, keys in LocalAI's order."""
        return {"error": {"code": self.status, "message": self.message, "type": self.kind}}


def not_found() -> RequestError:
    """What an unknown path gets."""
    return RequestError(404, "Resource not found")


def echo_error(status: int, text: str, headers: Optional[Mapping[str, str]] = None) -> RequestError:
    """An error of the HTTP framework, whose text carries its own code."""
    return RequestError(status, f"code={status}, message={text}", headers=headers)


def engine_error(code: str, text: str) -> RequestError:
    """An error of the engine as the gRPC client reports it."""
    return RequestError(500, f"rpc error: code = {code} desc = {text}")
