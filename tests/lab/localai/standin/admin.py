"""Status and administration: what the collection uses is real; the rest answers as an open door does, so that a test of the edge means something."""
from __future__ import annotations

import re
import uuid
from typing import Any, Callable, Iterable

from . import VERSION, backends, log
from .configs import ConfigError
from .errors import RequestError, echo_error
from .messages import Request, Response, answer
from .service import Service

_PAGE = b"<!doctype html><title>LocalAI stand-in</title><p>The web UI of the LocalAI stand-in is this page.</p>"


class Admin:
    """Handlers of everything but inference."""

    def __init__(self, service: Service) -> None:
        self._service = service

    # -- status ------------------------------------------------------------------------------------------------------

    def ready(self, _request: Request) -> Response:
        """GET /readyz, /healthz: 200 and no body, whatever the models do."""
        return Response()

    def version(self, _request: Request) -> Response:
        """GET /version."""
        return answer({"version": VERSION})

    def models(self, request: Request) -> Response:
        """GET /v1/models."""
        pattern = request.query.get("filter")
        names = [name for name in self._service.catalog.names() if not pattern or re.search(pattern, name)]
        return answer({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})

    def system(self, _request: Request) -> Response:
        """GET /system: backends in use and loaded models."""
        loaded = self._service.loader.loaded()
        models = [{"id": name, "backend": backend} for name, backend in loaded]
        return answer({"backends": sorted({model["backend"] for model in models}), "loaded_models": models})

    def metrics(self, _request: Request) -> Response:
        """GET /metrics."""
        return Response(200, self._service.metrics.text().encode(), "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")

    def aliases(self, _request: Request) -> Response:
        """GET /api/aliases."""
        return answer(self._service.catalog.aliases())

    def backends(self, _request: Request) -> Response:
        """GET /backends."""
        names = backends.names(self._service.settings)
        return answer([{"Name": name, "RunFile": str(backends.run_script(self._service.settings, name)), "IsSystem": True} for name in names])

    # -- loaded models -----------------------------------------------------------------------------------------------

    def load(self, request: Request) -> Response:
        """POST /backend/load: blocks until the model is loaded. By the model's own name, which may be that of a file that came after the last reading."""
        config = self._service.catalog.own(self._named(request))
        try:
            self._service.loader.get(config)
        except RequestError as problem:
            return answer({"loaded": None, "message": f"failed to load model: {problem.message}"}, 500)
        return answer({"loaded": [config.name], "message": "model loaded"})

    def shutdown(self, request: Request) -> Response:
        """POST /backend/shutdown: by the model's own name, not by an alias."""
        self._service.loader.shutdown(self._named(request))
        return answer({"message": "model stopped"})

    def monitor(self, request: Request) -> Response:
        """GET /backend/monitor: an error for every llama.cpp model, as seen on a real server."""
        name = request.query.get("model") or self._service.fields(request).get("model") or ""
        if self._service.loader.process(name) is None:
            raise RequestError(500, f"backend {name} is not currently loaded")
        raise RequestError(
            500,
            "backend added experienced an error retrieving status info via rpc: rpc error: code = Unimplemented desc = , then failed local node "
            f"process sample: no grpc backend found for {name}.bin",
        )

    def _named(self, request: Request) -> str:
        name = self._service.fields(request).get("model") or ""
        if not name:
            raise echo_error(400, "model is required")
        return name

    # -- model files -------------------------------------------------------------------------------------------------

    def reload(self, _request: Request) -> Response:
        """POST /models/reload: adds and overwrites, never removes. An unknown key is an error here (LocalAI says success)."""
        try:
            self._service.catalog.read_all()
        except ConfigError as problem:
            log.error(str(problem))
            raise RequestError(500, str(problem)) from problem
        return answer({"success": True, "message": "Model configurations reloaded successfully"})

    def delete(self, request: Request) -> Response:
        """POST /models/delete/NAME: out of memory at once; this stand-in leaves the files alone."""
        self._service.catalog.forget(request.parameters["name"])
        return self.job(request)

    def job(self, _request: Request) -> Response:
        """A gallery operation that was taken on; nothing is installed here."""
        number = str(uuid.uuid4())
        return answer({"uuid": number, "status": f"/models/jobs/{number}"})

    def backend_job(self, _request: Request) -> Response:
        """A backend operation that was taken on; nothing is installed here."""
        number = str(uuid.uuid4())
        return answer({"id": number, "status_url": f"/backends/jobs/{number}"})

    def ollama_tags(self, _request: Request) -> Response:
        """GET /api/tags."""
        return answer({"models": [{"name": f"{name}:latest", "model": f"{name}:latest"} for name in self._service.catalog.names()]})

    # -- web UI ------------------------------------------------------------------------------------------------------

    def page(self, _request: Request) -> Response:
        """The page of the web UI."""
        return Response(200, _PAGE, "text/html; charset=UTF-8")


def fixed(value: Any) -> Callable[[Request], Response]:
    """A handler that always answers `value`."""
    return lambda _request: answer(value)


def redirect(target: str) -> Callable[[Request], Response]:
    """A handler that sends the client elsewhere."""
    return lambda _request: Response(301, headers={"Location": target})


def missing(code: str, text: str) -> Callable[[Request], Response]:
    """A handler for an engine feature that a text model lacks."""

    def handler(_request: Request) -> Response:
        raise RequestError(500, f"rpc error: code = {code} desc = {text}")

    return handler


def each(paths: Iterable[str], **methods: Callable[[Request], Response]) -> dict[str, dict[str, Callable[[Request], Response]]]:
    """The same handlers for several paths."""
    return {path: dict(methods) for path in paths}
