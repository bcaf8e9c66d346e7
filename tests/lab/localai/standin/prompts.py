"""From a request and a model file to what the engine is asked."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

from . import requests
from .configs import ModelConfig
from .errors import RequestError

_SAMPLING = (
    "temperature", "top_k", "top_p", "min_p", "seed", "repeat_penalty", "repeat_last_n", "frequency_penalty", "presence_penalty", "typical_p",
    "ignore_eos", "n_keep",
)
_DEFAULTS = {"temperature": 0.9, "top_k": 40, "top_p": 0.95, "min_p": 0.0, "seed": -1}


def sampling(config: ModelConfig, request: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling fields: the request, else the model file, else LocalAI's defaults; and the limit, stop words and grammar."""
    found: dict[str, Any] = dict(_DEFAULTS)
    for source in (config.parameters, request):
        found.update({name: source[name] for name in _SAMPLING if source.get(name) is not None})
    limit = request.get("max_completion_tokens") or request.get("max_tokens") or config.parameters.get("max_tokens") or -1
    _check_limit(limit)
    found["n_predict"] = limit
    found["stop"] = [*requests.stop_words(request.get("stop")), *(config.get("stopwords") or [])]
    for key, name in (("mirostat", "mirostat"), ("mirostat_eta", "mirostat_eta"), ("mirostat_tau", "mirostat_tau")):
        if config.get(key) is not None:
            found[name] = config.get(key)
    grammar = request.get("grammar") or config.get("grammar")
    if grammar:
        found["grammar"] = grammar
    return {**found, "cache_prompt": True}


def _check_limit(limit: int) -> None:
    if limit < -1:
        text = f"Field 'n_predict': Value must be between -1 <= value <= 2147483647, but got {limit}"
        raise RequestError(500, f"rpc error: code = InvalidArgument desc = {text}")


def completion_prompt(config: ModelConfig, prompt: str) -> str:
    """The prompt of /v1/completions through the `completion` template."""
    template = config.templates.get("completion")
    return template.render({"Input": prompt, "SystemPrompt": config.get("system_prompt", "")}) if template else prompt


MEDIA = "<__media__>"
"""What stands for an image in a prompt that the model file's template makes."""


def chat_images(config: ModelConfig, messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The images of a chat in order, in Base64. Raises `RequestError` for a model without a projector."""
    found = [image for message in messages for image in requests.images(message.get("content"))]
    if found and not config.get("mmproj"):
        raise RequestError(500, "rpc error: code = InvalidArgument desc = image input is not supported by this model")
    return found


def chat_prompt(config: ModelConfig, messages: list[Mapping[str, Any]]) -> str:
    """The prompt of a chat through `chat_message` and `chat`; messages are joined by a newline or what the file says."""
    block = config.raw.get("template") or {}
    joiner = block.get("join_chat_messages_by_character")
    system = config.get("system_prompt", "")
    lines = [_message(config, message, position, len(messages)) for position, message in enumerate(messages)]
    text = ("\n" if joiner is None else joiner).join(lines)
    template = config.templates.get("chat")
    return template.render({"Input": text, "SystemPrompt": system}) if template else text


def _message(config: ModelConfig, message: Mapping[str, Any], position: int, count: int) -> str:
    role = str(message.get("role", ""))
    content = MEDIA * len(requests.images(message.get("content"))) + requests.plain_text(message.get("content"))
    name = (config.get("roles") or {}).get(role, role)
    template = config.templates.get("chat_message")
    if template is None:
        return f"{name} {content}".strip() if role in (config.get("roles") or {}) else content
    values = {
        "Role": role, "RoleName": name, "Content": content, "MessageIndex": position, "LastMessage": position == count - 1,
        "SystemPrompt": config.get("system_prompt", ""),
    }
    return template.render(values)


def tokenizer_chat(config: ModelConfig, request: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a chat that the GGUF's own template formats: messages, tools and the format of the answer."""
    chat_images(config, request.get("messages") or [])
    messages = [{**message, "content": _content(message)} for message in request.get("messages") or []]
    if config.get("system_prompt") and not any(message.get("role") == "system" for message in messages):
        messages.insert(0, {"role": "system", "content": config.get("system_prompt")})
    found: dict[str, Any] = {"messages": messages}
    for name in ("tools", "tool_choice", "response_format"):
        if request.get(name) is not None:
            found[name] = request[name]
    kwargs = {**(config.get("chat_template_kwargs") or {}), **(request.get("chat_template_kwargs") or {})}
    if kwargs:
        found["chat_template_kwargs"] = kwargs
    effort = request.get("reasoning_effort") or config.get("reasoning_effort")
    return {**found, "reasoning_effort": effort} if effort else found


def _content(message: Mapping[str, Any]) -> object:
    content = message.get("content")
    found = requests.images(content)
    if not found:
        return None if content is None else requests.plain_text(content)
    shown = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}} for image in found]
    return [*shown, {"type": "text", "text": requests.plain_text(content)}]


def json_format(request: Mapping[str, Any]) -> dict[str, Any]:
    """`response_format` of a request as the engine's field for a plain prompt."""
    wanted = request.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_object", "json_schema"):
        return {}
    return {"json_schema": (wanted.get("json_schema") or {}).get("schema") or {}}
