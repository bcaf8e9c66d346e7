"""API keys: the environment, `runtime_settings.json`, and `api_keys.json`, which is read again when it changes."""
from __future__ import annotations

import hmac
import json
import threading
from http.cookies import CookieError, SimpleCookie
from typing import Mapping

from . import log
from .settings import Settings

_POLL = 0.5  # seconds; a real server notices a change within 3


class Keys:
    """The keys in force. All are equal, each is an admin's; none at all means that the server is open."""

    def __init__(self, settings: Settings) -> None:
        self._fixed = (*settings["API_KEY"], *settings.runtime_keys)
        self._path = settings.configuration / "api_keys.json"
        self._file: tuple[str, ...] = ()
        self._seen: object = None
        self.refresh()

    def watch(self) -> None:
        """Follow the file from now on, in a thread of its own."""
        threading.Thread(target=self._follow, name="keys", daemon=True).start()

    def _follow(self) -> None:
        pause = threading.Event()
        while not pause.wait(_POLL):
            self.refresh()

    def refresh(self) -> None:
        """Read the file when it is another one than before; broken JSON leaves the old keys in force."""
        try:
            status = self._path.stat()
        except OSError:
            self._file, self._seen = (), None
            return
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self._file = tuple(str(key) for key in found)
            log.info("API keys read from file", count=len(self._file))
        except (OSError, ValueError, TypeError) as problem:
            log.error("failed reading api_keys.json", error=str(problem))

    @property
    def required(self) -> bool:
        """Whether a request needs a key."""
        return bool(self._fixed or self._file)

    def accepts(self, headers: Mapping[str, str]) -> bool:
        """Whether one of the places where a key may stand holds a right one."""
        return any(hmac.compare_digest(sent.encode(), key.encode()) for sent in sent_keys(headers) for key in (*self._fixed, *self._file))


def sent_keys(headers: Mapping[str, str]) -> list[str]:
    """What the request offers as a key. `Bearer` is case-sensitive; without it the whole header is the key."""
    authorization = headers.get("Authorization") or ""
    found = [authorization.removeprefix("Bearer "), headers.get("x-api-key") or "", headers.get("xi-api-key") or "", _cookie(headers.get("Cookie") or "")]
    return [key for key in found if key]


def _cookie(text: str) -> str:
    try:
        morsel = SimpleCookie(text).get("token")
    except CookieError:
        return ""
    return morsel.value if morsel else ""
