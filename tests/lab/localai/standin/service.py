"""What the handlers share: settings, models, loaded processes, counters, and the limits on running requests."""
from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import Any, Iterator, Mapping

from . import requests
from .catalog import Catalog
from .configs import ModelConfig
from .errors import RequestError
from .keys import sent_keys
from .loader import Loader
from .messages import Request
from .metrics import Metrics
from .process import EngineProcess
from .settings import Settings


class Service:
    """One running server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalog = Catalog(settings)
        self.loader = Loader(settings)
        self.metrics = Metrics()
        self._running: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    def fields(self, request: Request) -> dict[str, Any]:
        """The fields of a JSON body."""
        return requests.read(request.content_type, request.body)

    def model_name(self, request: Request, fields: Mapping[str, Any]) -> str:
        """The name asked for: the body, the path, the query, a key that is a model's name; "" when there is none."""
        keys = [key for key in sent_keys(request.headers) if key in self.catalog.configs()]
        return fields.get("model") or request.parameters.get("model") or request.query.get("model") or (keys[0] if keys else "")

    def process(self, config: ModelConfig) -> EngineProcess:
        """The process that serves `config`."""
        return self.loader.get(config)

    @contextmanager
    def admitted(self, config: ModelConfig, chat: bool = False) -> Iterator[None]:
        """A place among the running requests; of the model too, when it is a chat and the file limits them. Raises `RequestError`."""
        ceiling = self.settings["MAX_CONCURRENT_BACKEND_REQUESTS"] or 1024
        limit = config.limits.get("max_concurrent", 0) if chat else 0
        names = ["", *([config.name] if limit else [])]
        with self._lock:
            if self._running[""] >= ceiling:
                text = f"backend inference capacity reached (max_concurrent={ceiling}); retry after 1s"
                raise RequestError(503, text, headers={"Retry-After": "1"})
            if limit and self._running[config.name] >= limit:
                wait = config.limits.get("retry_after_seconds", 1)
                text = f'model "{config.name}" is at capacity (max_concurrent={limit}); retry after {wait}s'
                raise RequestError(503, text, headers={"Retry-After": str(wait)})
            for name in names:
                self._running[name] += 1
        try:
            yield
        finally:
            with self._lock:
                for name in names:
                    self._running[name] -= 1
