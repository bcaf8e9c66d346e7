"""Embeddings, rerank, and the tokenizer."""
from __future__ import annotations

import time
import uuid
from typing import Any, Mapping

from . import engine
from .configs import ModelConfig
from .errors import RequestError, engine_error
from .messages import Request, Response, answer
from .service import Service


class Vectors:
    """Handlers of the routes that answer with numbers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _model(self, request: Request) -> tuple[str, ModelConfig, dict[str, Any]]:
        fields = self._service.fields(request)
        asked = self._service.model_name(request, fields)
        config = self._service.catalog.resolve(asked)
        return asked or config.name, config, fields

    def embeddings(self, request: Request) -> Response:
        """POST /v1/embeddings. A model without `embeddings: true` loses its engine process, as seen on a real server."""
        name, config, fields = self._model(request)
        with self._service.admitted(config):
            process = self._service.process(config)
            if not config.get("embeddings"):
                self._crash(config)
            body = {"input": fields.get("input") or "", "encoding_format": "float"}
            try:
                found = engine.call(process, "/v1/embeddings", body, request.caller)
            except RequestError as problem:
                raise (RequestError(400, problem.message) if "ooling type" in problem.message else problem) from problem
        data = [{"embedding": item["embedding"], "index": item["index"], "object": "embedding"} for item in found["data"]]
        self._service.metrics.usage(request.pattern, config.name, (found.get("usage") or {}).get("prompt_tokens", 0), 0)
        return answer({"created": int(time.time()), "object": "list", "id": str(uuid.uuid4()), "model": name, "data": data})

    def _crash(self, config: ModelConfig) -> None:
        process = self._service.loader.process(config.name)
        if process is None or not process.alive:
            return  # the call that follows says "connection refused"
        process.last_health = time.monotonic()
        process.kill()
        raise engine_error("Unavailable", "error reading from server: EOF")

    def rerank(self, request: Request) -> Response:
        """POST /v1/rerank."""
        name, config, fields = self._model(request)
        if not config.get("reranking"):
            self._service.process(config)
            raise engine_error("Unimplemented", "This server does not support reranking. Start it with `--reranking` and without `--embedding`")
        documents = fields.get("documents") or []
        body = {"query": fields.get("query") or "", "documents": documents, "top_n": fields.get("top_n") or len(documents)}
        with self._service.admitted(config):
            found = engine.call(self._service.process(config), "/v1/rerank", body, request.caller)
        results = [
            {"index": item["index"], "document": {"text": documents[item["index"]]}, "relevance_score": item["relevance_score"]} for item in found["results"]
        ]
        return answer({"model": name, "usage": _rerank_usage(found.get("usage") or {}), "results": results})

    def tokenize(self, request: Request) -> Response:
        """POST /v1/tokenize: `content` → `tokens`."""
        config, fields = self._model(request)[1:]
        found = engine.call(self._service.process(config), "/tokenize", {"content": fields.get("content") or ""}, request.caller)
        return answer({"tokens": found["tokens"]})

    def detokenize(self, request: Request) -> Response:
        """POST /v1/detokenize: `tokens` → `content`."""
        config, fields = self._model(request)[1:]
        found = engine.call(self._service.process(config), "/detokenize", {"tokens": fields.get("tokens") or []}, request.caller)
        return answer({"content": found["content"]})


def _rerank_usage(found: Mapping[str, int]) -> dict[str, int]:
    return {"total_tokens": found.get("total_tokens", 0), "prompt_tokens": found.get("prompt_tokens", 0)}
