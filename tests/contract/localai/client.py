"""A small HTTP client that sends exactly what a check says: any method, raw paths, no header of its own, no redirect."""
from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Optional, Union
from urllib.parse import urlsplit

TIMEOUT = 300.0  # seconds; a first answer waits for the model to load

Body = Union[bytes, str, Mapping[str, Any], None]


@dataclass(frozen=True)
class Answer:
    """Status, headers by lower-case name (several values joined by a comma), body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        """The data of a server-sent body, in order."""
        return [line[len("data: "):] for line in self.body.decode().split("\n") if line.startswith("data: ")]

    @property
    def chunks(self) -> list[Any]:
        """The events but the last one, as JSON. The last one must be [DONE]."""
        *found, last = self.events
        assert last == "[DONE]", last
        return [json.loads(text) for text in found]

    @property
    def error(self) -> tuple[int, str, str]:
        """(code, message, type) of an error body."""
        found = self.json["error"]
        assert set(found) == {"code", "message", "type"}, found
        return found["code"], found["message"], found["type"]


@dataclass(frozen=True)
class Client:
    """One server, one key ("": none)."""

    base_url: str
    key: str = ""
    timeout: float = TIMEOUT
    headers: Mapping[str, str] = field(default_factory=dict)

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        url = urlsplit(self.base_url)
        if url.scheme == "https":
            return http.client.HTTPSConnection(url.hostname or "", url.port or 443, timeout=self.timeout, context=ssl.create_default_context())
        return http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=self.timeout)

    def request(self, method: str, path: str, body: Body = None, headers: Optional[Mapping[str, str]] = None) -> Answer:
        """Send one request and read the whole answer."""
        connection = self.connect()
        try:
            send(connection, method, path, body, self.all_headers(body, headers))
            response = connection.getresponse()
            return Answer(response.status, _joined(response), response.read())
        finally:
            connection.close()

    def all_headers(self, body: Body, headers: Optional[Mapping[str, str]]) -> dict[str, str]:
        """The key, the content type of a JSON body, and what the check adds or replaces (an empty value removes one)."""
        found = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if isinstance(body, Mapping):
            found["Content-Type"] = "application/json"
        return {name: value for name, value in {**found, **self.headers, **(headers or {})}.items() if value}

    def get(self, path: str, headers: Optional[Mapping[str, str]] = None) -> Answer:
        """GET."""
        return self.request("GET", path, None, headers)

    def post(self, path: str, body: Body, headers: Optional[Mapping[str, str]] = None) -> Answer:
        """POST; a mapping is sent as JSON."""
        return self.request("POST", path, body, headers)

    def chat(self, model: str, text: str = "The sky is", **fields: Any) -> Answer:
        """A short chat."""
        messages = [{"role": "user", "content": text}]
        return self.post("/v1/chat/completions", {"model": model, "messages": messages, "max_tokens": 4, "temperature": 0, **fields})

    def complete(self, model: str, prompt: str = "The sky is", **fields: Any) -> Answer:
        """A short completion."""
        return self.post("/v1/completions", {"model": model, "prompt": prompt, "max_tokens": 4, "temperature": 0, **fields})

    def loaded(self) -> set[str]:
        """Names of the loaded models."""
        return {item["id"] for item in self.get("/system").json["loaded_models"]}

    def listed(self) -> set[str]:
        """Names that /v1/models has."""
        return {item["id"] for item in self.get("/v1/models").json["data"]}

    def lines(self, path: str, body: Mapping[str, Any]) -> Iterator[str]:
        """The lines of a streamed answer as they come; closing the iterator closes the connection."""
        connection = self.connect()
        try:
            send(connection, "POST", path, body, self.all_headers(body, None))
            for line in connection.getresponse():
                yield line.decode().rstrip("\n")
        finally:
            connection.close()

    def wait(self, path: str = "/readyz", seconds: float = 60.0) -> float:
        """Seconds until `path` answers 200. Raises `TimeoutError`."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            try:
                if self.get(path).status == 200:
                    return time.monotonic() - begin
            except OSError:
                pass
            time.sleep(0.1)
        raise TimeoutError(f"{self.base_url}{path} did not answer 200 within {seconds:.0f} s")


def send(connection: http.client.HTTPConnection, method: str, path: str, body: Body, headers: Mapping[str, str]) -> None:
    """Send a request. A server may answer and close before it has read a large body: that is no error here."""
    data = json.dumps(body).encode() if isinstance(body, Mapping) else body.encode() if isinstance(body, str) else body
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if data is not None:
        connection.putheader("Content-Length", str(len(data)))
    try:
        connection.endheaders(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def _joined(response: http.client.HTTPResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in response.getheaders():
        found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
    return found
