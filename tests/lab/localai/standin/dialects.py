"""The same generation in other vendors' words: /v1/responses and /v1/messages."""
from __future__ import annotations

import time
import uuid
from typing import Any, Iterator, Mapping

from .engine import End, Piece
from .errors import RequestError
from .inference import Inference, Job
from .messages import Request, Response, answer, encode
from .service import Service


class Dialects:
    """Handlers of the two routes. Both run a chat."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._inference = Inference(service)

    def _job(self, request: Request, fields: Mapping[str, Any], chat: Mapping[str, Any]) -> Job:
        asked = self._service.model_name(request, fields)
        config = self._service.catalog.resolve(asked)
        return self._inference.chat_job(asked or config.name, config, request, {**fields, **chat})

    def messages(self, request: Request) -> Response:
        """POST /v1/messages (Anthropic)."""
        fields = self._service.fields(request)
        system = [{"role": "system", "content": fields["system"]}] if fields.get("system") else []
        job = self._job(request, fields, {"messages": system + list(fields.get("messages") or [])})
        if fields.get("stream"):
            return Response(events=_message_events(job))
        text, *dummy, end = self._inference.collect(job)
        return answer(_message(job, [{"type": "text", "text": text}], _stop(end), end))

    def responses(self, request: Request) -> Response:
        """POST /v1/responses (OpenAI)."""
        fields = self._service.fields(request)
        given = fields.get("input") or ""
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else [dict(item) for item in given]
        if fields.get("instructions"):
            messages.insert(0, {"role": "system", "content": fields["instructions"]})
        job = self._job(request, fields, {"messages": messages, "max_tokens": fields.get("max_output_tokens")})
        if fields.get("stream"):
            return Response(events=_response_events(job))
        text, *dummy, end = self._inference.collect(job)
        return answer(_response(job, text, end, "completed"))


def _stop(end: End) -> str:
    return "max_tokens" if end.finish == "length" else "end_turn"


def _tokens(end: End) -> dict[str, int]:
    return {"input_tokens": end.prompt_tokens, "output_tokens": end.completion_tokens}


def _message(job: Job, content: list[Mapping[str, Any]], stop: object, end: End) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4()}", "type": "message", "role": "assistant", "content": content, "model": job.name, "stop_reason": stop,
        "stop_sequence": None, "usage": _tokens(end),
    }


def _response(job: Job, text: str, end: End, status: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": f"msg_{uuid.uuid4()}", "status": status, "role": "assistant", "content": [part]}
    return {
        "id": f"resp_{uuid.uuid4()}", "object": "response", "created_at": int(time.time()), "status": status, "model": job.name,
        "output": [item] if text else [], "usage": {**_tokens(end), "total_tokens": end.prompt_tokens + end.completion_tokens},
    }


def _event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {encode({'type': kind, **fields})}\n\n".encode()


def _message_events(job: Job) -> Iterator[bytes]:
    yield _event("message_start", message=_message(job, [], None, End()))
    yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    end = End()
    try:
        for piece in job.run():
            if isinstance(piece, Piece):
                yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece.text})
            elif isinstance(piece, End):
                end = piece
    except RequestError as problem:
        yield _event("error", error={"type": "api_error", "message": problem.message})
        return
    yield _event("content_block_stop", index=0)
    yield _event("message_delta", delta={"stop_reason": _stop(end), "stop_sequence": None}, usage=_tokens(end))
    yield _event("message_stop")


def _response_events(job: Job) -> Iterator[bytes]:
    yield _event("response.created", response=_response(job, "", End(), "in_progress"))
    texts, end = [], End()
    try:
        for piece in job.run():
            if isinstance(piece, Piece):
                texts.append(piece.text)
                yield _event("response.output_text.delta", output_index=0, content_index=0, delta=piece.text)
            elif isinstance(piece, End):
                end = piece
    except RequestError as problem:
        yield _event("error", message=problem.message)
        return
    yield _event("response.completed", response=_response(job, "".join(texts), end, "completed"))
