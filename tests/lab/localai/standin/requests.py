"""Bodies of requests, read as LocalAI reads them: keys in any case, the last of equal keys wins, wrong types are 400."""
from __future__ import annotations

import json
from typing import Any, Mapping

from .errors import RequestError, echo_error

_FIELDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "model": ("string", (str,)),
    "messages": ("[]schema.Message", (list,)),
    "stream": ("bool", (bool,)),
    "stream_options": ("schema.StreamOptions", (dict,)),
    "temperature": ("float64", (int, float)),
    "top_p": ("float64", (int, float)),
    "top_k": ("int", (int,)),
    "max_tokens": ("int", (int,)),
    "max_completion_tokens": ("int", (int,)),
    "seed": ("int", (int,)),
    "grammar": ("string", (str,)),
    "tools": ("[]functions.Tool", (list,)),
    "backend": ("string", (str,)),
}


def read(content_type: str, body: bytes) -> dict[str, Any]:
    """The fields by lower-case name. A form, or no body, is an empty request (no model, no prompt). Raises `RequestError`."""
    media_type = content_type.partition(";")[0].strip()
    if not body or media_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return {}
    if media_type != "application/json":
        raise _unreadable("code=415, message=Unsupported Media Type")
    try:
        found = json.loads(body, object_pairs_hook=_Object)
    except ValueError as problem:
        raise _unreadable(_syntax(body, problem)) from problem
    if not isinstance(found, _Object):
        raise _unreadable(_type_error("schema.OpenAIRequest", found, "", body))
    fields = found.folded()
    _check(fields, body)
    if fields.get("messages"):
        fields["messages"] = [message.folded() for message in fields["messages"]]
    return fields


class _Object(dict):  # type: ignore[type-arg]
    """A JSON object that remembers its pairs in order, equal keys too."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def folded(self) -> dict[str, Any]:
        """Field names in lower case: Go matches them in any case and lets the last one win."""
        return {name.lower(): value for name, value in self.pairs}


def _check(found: Mapping[str, Any], body: bytes) -> None:
    for name, (kind, kinds) in _FIELDS.items():
        value = found.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise _unreadable(_type_error(kind, value, name, body))
    for message in found.get("messages") or []:
        if not isinstance(message, dict):
            raise _unreadable(_type_error("schema.Message", message, "messages", body))


def _unreadable(inner: str) -> RequestError:
    return echo_error(400, f"failed parsing request body: {inner}")


def _syntax(body: bytes, problem: ValueError) -> str:
    offset = getattr(problem, "pos", len(body))
    offset = min(offset, len(body))
    found = f"invalid character {chr(body[offset])!r} looking for beginning of value" if offset < len(body) else "unexpected end of JSON input"
    return f"code=400, message=Syntax error: offset={offset + 1}, error={found}, internal={found}"


def _type_error(expected: str, value: Any, name: str, body: bytes) -> str:
    kinds = {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array", type(None): "null"}
    got = kinds[type(value)]
    offset = body.find(json.dumps(value, ensure_ascii=False).encode()) + 1
    inner = f"json: cannot unmarshal {got} into Go value of type {expected}"
    return f"code=400, message=Unmarshal type error: expected={expected}, got={got}, field={name}, offset={offset}, internal={inner}"


def stop_words(value: object) -> list[str]:
    """`stop` of a request: a text or a list of texts."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def plain_text(content: object) -> str:
    """The text of a message: a text, or the text parts of a list."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict) and part.get("type") == "text")


def images(content: object) -> list[str]:
    """The images of a message that are sent as data, in Base64. One that is sent by address is left out, as LocalAI does where it cannot fetch it."""
    parts = content if isinstance(content, list) else []
    urls = [part["image_url"].get("url") or "" for part in parts if isinstance(part, dict) and isinstance(part.get("image_url"), dict)]
    return [url.partition(";base64,")[2] for url in urls if url.startswith("data:")]
