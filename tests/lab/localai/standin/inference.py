"""Chat and completions: plain answers and streams, shaped as LocalAI shapes them."""
from __future__ import annotations

import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional

from . import engine, prompts
from .configs import ModelConfig, uses_tokenizer_template
from .engine import End, Piece
from .errors import RequestError, engine_error
from .messages import DONE, Request, Response, answer, event
from .process import EngineProcess
from .service import Service


@dataclass(frozen=True)
class Job:
    """One generation, ready to run. `name` is what the client called the model; `templated`: by the model file, not by the GGUF."""

    name: str
    config: ModelConfig
    process: EngineProcess
    request: Request
    fields: Mapping[str, Any]
    templated: bool
    body: Mapping[str, Any]
    path: str

    def run(self) -> Iterator[object]:
        """`Piece`s and one `End`."""
        if self.templated:
            self.process.note_request(self.body)
        generate = engine.completion if self.path == "/completion" else engine.chat
        return generate(self.process, self.body, self.request.caller)

    def extra_usage(self) -> bool:
        """Whether the client asked for timings."""
        return bool(self.request.headers.get("Extra-Usage"))


class Inference:
    """Handlers of the OpenAI routes that generate text."""

    def __init__(self, service: Service) -> None:
        self._service = service

    # -- chat --------------------------------------------------------------------------------------------------------

    def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        fields = self._service.fields(request)
        name, config = self._model(request, fields)
        stack = ExitStack()
        stack.enter_context(self._service.admitted(config, chat=True))
        try:
            job = self.chat_job(name, config, request, fields)
            if fields.get("stream"):
                return Response(events=self._guarded(stack, self._chat_events(job)))
            text, reasoning, calls, end = self.collect(job)
        except BaseException:
            stack.close()
            self._service.metrics.failed(request.pattern)
            raise
        stack.close()
        return answer(self._chat_answer(job, text, reasoning, calls, end))

    def chat_job(self, name: str, config: ModelConfig, request: Request, fields: Mapping[str, Any]) -> Job:
        """The generation for messages: by the GGUF's template, or a prompt made by the model file's."""
        if config.get("embeddings"):
            raise engine_error("Unimplemented", "Embedding is not supported in Predict mode")
        messages = fields.get("messages") or []
        sampling = prompts.sampling(config, fields)
        templated = not uses_tokenizer_template(config, self._service.settings) or not messages
        if templated and fields.get("tools"):
            raise RequestError(500, "tools need use_tokenizer_template: this stand-in has no function templates")
        if templated:
            images = prompts.chat_images(config, messages)
            body = {**sampling, **prompts.json_format(fields), "prompt": prompts.chat_prompt(config, messages)}
        else:
            body = {**sampling, **prompts.tokenizer_chat(config, fields), "max_tokens": sampling["n_predict"]}
        path = "/completion" if templated else "/v1/chat/completions"
        process = self._service.process(config)
        if templated and images:
            text = body["prompt"].replace(prompts.MEDIA, engine.media_marker(process))
            body["prompt"] = {"prompt_string": text, "multimodal_data": images}
        return Job(name, config, process, request, fields, templated, body, path)

    def _chat_answer(self, job: Job, text: str, reasoning: str, calls: list[Mapping[str, Any]], end: End) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if reasoning:
            message["reasoning"] = reasoning
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "finish_reason": end.finish, "message": message}
        self._count(job, end)
        return {**_head("chat.completion", job.name), "choices": [choice], "usage": usage(end, job.extra_usage())}

    def _chat_events(self, job: Job) -> Iterator[bytes]:
        head = _head("chat.completion.chunk", job.name)

        def chunk(delta: Mapping[str, Any], finish: Optional[str] = None) -> bytes:
            return event({**head, "choices": [{"index": 0, "finish_reason": finish, "delta": delta}]})

        yield chunk({"role": "assistant", "content": None})
        yield chunk({"content": None})
        end = End()
        try:
            for piece in job.run():
                if isinstance(piece, End):
                    end = piece
                elif isinstance(piece, Piece):
                    yield chunk(_delta(piece))
        except RequestError as problem:
            yield chunk({"content": problem.message})
            yield event({"error": {"code": "server_error", "message": problem.message, "type": "server_error"}})
            yield DONE
            self._service.metrics.failed(job.request.pattern)
            return
        yield chunk({"content": None})
        yield chunk({"content": None}, "stop" if job.templated and end.finish == "length" else end.finish)
        self._count(job, end)
        if (job.fields.get("stream_options") or {}).get("include_usage"):
            yield event({**head, "choices": [], "usage": usage(end, job.extra_usage())})
        yield DONE

    # -- completions -------------------------------------------------------------------------------------------------

    def completions(self, request: Request) -> Response:
        """POST /v1/completions. As seen on a real server: usage is 0/0/0, and it ends with "stop" even when the limit cut it."""
        fields = self._service.fields(request)
        name, config = self._model(request, fields)
        wanted = fields.get("prompt", "")
        texts = wanted if isinstance(wanted, list) else [wanted]
        stack = ExitStack()
        stack.enter_context(self._service.admitted(config))
        try:
            jobs = [self.completion_job(name, config, request, fields, prompts.completion_prompt(config, str(text))) for text in texts]
            if fields.get("stream"):
                return Response(events=self._guarded(stack, self._completion_events(jobs[0])))
            results = [self.collect(job)[0] for job in jobs]
        except BaseException:
            stack.close()
            self._service.metrics.failed(request.pattern)
            raise
        stack.close()
        choices = [{"index": index, "finish_reason": "stop", "text": text} for index, text in enumerate(results)]
        self._count(jobs[0], End())
        return answer({**_head("text_completion", name), "choices": choices, "usage": usage(End())})

    def edits(self, request: Request) -> Response:
        """POST /v1/edits: the input after the instruction, with real counts."""
        fields = self._service.fields(request)
        name, config = self._model(request, fields)
        prompt = "\n".join(str(fields.get(key, "")) for key in ("instruction", "input") if fields.get(key))
        with self._service.admitted(config):
            job = self.completion_job(name, config, request, fields, prompt)
            text, *dummy, end = self.collect(job)
        self._count(job, end)
        return answer({**_head("edit", name), "choices": [{"index": 0, "finish_reason": "", "text": text}], "usage": usage(end)})

    def completion_job(self, name: str, config: ModelConfig, request: Request, fields: Mapping[str, Any], prompt: str) -> Job:
        """The generation for a prompt."""
        if config.get("embeddings"):
            raise engine_error("Unimplemented", "Embedding is not supported in Predict mode")
        body = {**prompts.sampling(config, fields), **prompts.json_format(fields), "prompt": prompt}
        return Job(name, config, self._service.process(config), request, fields, True, body, "/completion")

    def _completion_events(self, job: Job) -> Iterator[bytes]:
        head = _head("text_completion", job.name)
        yield event({**head, "choices": [{"index": 0, "finish_reason": None}]})
        try:
            for piece in job.run():
                if isinstance(piece, Piece):
                    yield event({**head, "choices": [{"index": 0, "finish_reason": None, "text": piece.text}]})
        except RequestError as problem:
            yield event({"error": {"code": "server_error", "message": problem.message, "type": "server_error"}})
            yield DONE
            return
        yield event({**head, "choices": [{"index": 0, "finish_reason": "stop"}]})
        self._count(job, End())
        if (job.fields.get("stream_options") or {}).get("include_usage"):
            yield event({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage(End())})
        yield DONE

    # -- shared ------------------------------------------------------------------------------------------------------

    def _model(self, request: Request, fields: Mapping[str, Any]) -> tuple[str, ModelConfig]:
        asked = self._service.model_name(request, fields)
        config = self._service.catalog.resolve(asked)
        return asked or config.name, config

    def collect(self, job: Job) -> tuple[str, str, list[Mapping[str, Any]], End]:
        """Run to the end: text, thoughts, tool calls, counts."""
        texts, thoughts, calls, end = [], [], [], End()
        for piece in job.run():
            if isinstance(piece, End):
                end = piece
            elif isinstance(piece, Piece):
                texts.append(piece.text)
                thoughts.append(piece.reasoning)
                calls += piece.tool_calls
        return "".join(texts), "".join(thoughts), joined_calls(calls), end

    def _count(self, job: Job, end: End) -> None:
        self._service.metrics.usage(job.request.pattern, job.config.name, end.prompt_tokens, end.completion_tokens)

    @staticmethod
    def _guarded(stack: ExitStack, events: Iterator[bytes]) -> Iterator[bytes]:
        """`events`, with `stack` closed at their end, however it comes."""
        with stack:
            yield from events


def _head(kind: str, name: str) -> dict[str, Any]:
    return {"created": int(time.time()), "object": kind, "id": str(uuid.uuid4()), "model": name}


def _delta(piece: Piece) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if piece.text:
        found["content"] = piece.text
    if piece.reasoning:
        found["reasoning"] = piece.reasoning
    if piece.tool_calls:
        found["tool_calls"] = list(piece.tool_calls)
    return found


def usage(end: End, timings: bool = False) -> dict[str, Any]:
    """The usage object; with `timings` the milliseconds of the two phases."""
    found: dict[str, Any] = {
        "prompt_tokens": end.prompt_tokens, "completion_tokens": end.completion_tokens, "total_tokens": end.prompt_tokens + end.completion_tokens,
    }
    return {**found, "timing_prompt_processing": end.prompt_ms, "timing_token_generation": end.completion_ms} if timings else found


def joined_calls(parts: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Tool calls from the deltas of a stream."""
    calls: dict[int, dict[str, Any]] = {}
    for part in parts:
        call = calls.setdefault(part.get("index", 0), {"index": part.get("index", 0), "id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call["id"] = part.get("id") or call["id"]
        for key in ("name", "arguments"):
            call["function"][key] += (part.get("function") or {}).get(key) or ""
    return list(calls.values())
