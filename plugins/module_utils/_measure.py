# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Asks models the prompts of a gate and notes what they answered, how fast, and whether they ended by themselves."""
from __future__ import annotations

import http.client
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional, Sequence

from ._gate import Prompt
from ._probe import Client, Unanswered, _dig, _listen, _said, _Stream, _text


@dataclass
class _Heard(_Stream):
    """A stream with its text and why it ended."""

    text: str = ""
    finish: str = ""

    def take(self, data: str, now: float) -> None:
        """Count one event, and keep what it says."""
        super().take(data, now)
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return
        choice = _dig(event, "choices", 0)
        self.text += _text(choice, "delta")
        self.finish = _dig(choice, "finish_reason") or self.finish


def measure(client: Client, models: Sequence[str], prompts: Sequence[Prompt]) -> dict[str, dict[str, dict[str, Any]]]:
    """What each of the models answers to each prompt: model → prompt name → what `_gate.held` and `_gate.speed` look at.

    Prompt by prompt all models are asked at the same moment: each then competes with the others, and with whatever else the host does, for the
    same CPUs. Asked in turn, a new model beside a busy old one would look half as fast. What cannot be asked has an `error` in words, without the key.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {model: {} for model in models}
    with ThreadPoolExecutor(max_workers=max(len(models), 1)) as pool:
        for prompt in prompts:
            for model, seen in zip(models, pool.map(partial(_seen, client, prompt), models)):
                found[model][prompt.name] = seen
    return found


def _seen(client: Client, prompt: Prompt, model: str) -> dict[str, Any]:
    try:
        seen = _one(client, model, prompt)
    except Unanswered as error:
        seen = {"error": error.got}
    said = str(seen.get("error", ""))
    return {**seen, "error": said.replace(client.target.key, "***") if client.target.key else said}


def _one(client: Client, model: str, prompt: Prompt) -> dict[str, Any]:
    if prompt.kind == "embedding":
        return _embedding(client, model, prompt)
    if prompt.kind == "rerank":
        return _rerank(client, model, prompt)
    return _talk(client, model, prompt)


def _talk(client: Client, model: str, prompt: Prompt) -> dict[str, Any]:
    """One streamed answer."""
    body: dict[str, Any] = {"model": model, "max_tokens": prompt.max_tokens, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
    if prompt.kind == "completion":
        path, body["prompt"] = "/v1/completions", prompt.prompt
    else:
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        path, body["messages"] = "/v1/chat/completions", [*system, {"role": "user", "content": prompt.prompt}]
    start, heard = time.monotonic(), _Heard()
    link, response = client.open("POST", path, body, extra={"Accept": "text/event-stream"})
    try:
        if response.status != 200:
            return {"error": f"status {response.status}: {response.read(2000).decode('utf-8', 'replace')[:300]}"}
        _listen(client, response, start, heard)
    except (OSError, http.client.HTTPException) as error:
        raise client.unanswered(error) from error
    finally:
        link.close()
    return {
        "error": heard.error or ("" if heard.done else "the stream ended without [DONE]"), "text": heard.text, "tokens": heard.tokens,
        "stopped": heard.finish == "stop" and heard.tokens < prompt.max_tokens,  # LocalAI says stop of what max_tokens cut, too
        "first_token_seconds": round(heard.times[0], 4) if heard.times else None, "tokens_per_second": heard.speed(),
    }


def _embedding(client: Client, model: str, prompt: Prompt) -> dict[str, Any]:
    answer = client.ask_patiently("/v1/embeddings", {"model": model, "input": [prompt.prompt, prompt.near, prompt.far]})
    listed = _dig(answer.json(), "data")
    vectors = [_dig(entry, "embedding") for entry in listed] if answer.status == 200 and isinstance(listed, list) else []
    first, *others = vectors if len(vectors) == 3 else [None]
    found = [_cosine(first, other) for other in others]
    return {"error": "" if found and None not in found else _said(answer), "similarities": found, "seconds": round(answer.seconds, 4)}


def _rerank(client: Client, model: str, prompt: Prompt) -> dict[str, Any]:
    documents = list(prompt.documents)
    answer = client.ask_patiently("/v1/rerank", {"model": model, "query": prompt.prompt, "documents": documents, "top_n": len(documents)})
    results = _dig(answer.json(), "results")
    scores = {_dig(entry, "index"): _dig(entry, "relevance_score") for entry in results} if answer.status == 200 and isinstance(results, list) else {}
    known = {index: score for index, score in scores.items() if isinstance(index, int) and isinstance(score, (int, float))}
    first = max(known, key=lambda index: known[index]) if known else None
    return {"error": "" if known else _said(answer), "first": first, "seconds": round(answer.seconds, 4)}


def _cosine(one: Any, other: Any) -> Optional[float]:
    """The cosine of two vectors; None for what is none."""
    if not (isinstance(one, list) and isinstance(other, list) and len(one) == len(other) and one):
        return None
    length = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(x * x for x in other))
    return sum(x * y for x, y in zip(one, other)) / length if length else None
