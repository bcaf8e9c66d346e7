# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Whether a new model may take the place of an old one: what both answered to the same prompts, how fast, in how much memory. Pure Python.

A prompt says which properties its answer must hold. The new model is not asked to be right where the old one is not: what counts is what is
lost. Only an answer at all, and one that ends and shows no tokens of the template, is asked of every model that held it before.
"""
from __future__ import annotations

import json
import re
import statistics
import unicodedata
from dataclasses import dataclass, field, fields
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from ._errors import FleetError

KINDS = ("chat", "completion", "embedding", "rerank")
SCRIPTS = ("latin", "cyrillic", "greek", "cjk", "hangul", "arabic", "hebrew", "devanagari", "thai")
_CJK = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO")
STRICT = ("answers", "clean", "stops")
"""Properties of which none may be lost: without them a client gets nothing, or the template's own words, or no end."""
ONE_SCRIPT_SHARE = 0.7
LETTERS = 20  # fewer tell nothing about a script
WORDS = 12  # fewer tell nothing about repetition
DISTINCT_SHARE = 0.35  # of three words in a row; a text that says one thing again and again has fewer
FIRST_TOKEN_SLACK = 0.3  # seconds by which a first token may be later whatever the share says: less is noise
_TEMPLATE = re.compile(
    r"<\|[A-Za-z0-9_ ]{1,40}\|?>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_(?:turn|text|image)>|<(?:bos|eos|pad|unk)>|<\uff5c[^>]{1,40}\uff5c>")
_FENCE = re.compile(r"```[A-Za-z]*\s*(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Prompt:
    """A question and what its answer must hold.

    `contains`: any of these texts, in any case. `matches`: a regular expression that is found. `json`: an object or list. `script`: one of
    SCRIPTS. `stops`: ends by itself before `max_tokens`. `choices` and `answer`: of the choices, the answer is named first.
    Of an embedding `prompt` is nearer to `near` than to `far`; of a rerank `documents[best]` comes first. `models`: served names that it is
    for, empty for all of its kind.
    """

    name: str
    prompt: str
    kind: str = "chat"
    system: str = ""
    max_tokens: int = 48
    contains: tuple[str, ...] = ()
    matches: str = ""
    json: bool = False
    script: str = ""
    stops: bool = False
    choices: tuple[str, ...] = ()
    answer: str = ""
    near: str = ""
    far: str = ""
    documents: tuple[str, ...] = ()
    best: int = 0
    models: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {item.name: list(value) if isinstance(value, tuple) else value for item in fields(self) for value in [getattr(self, item.name)]}


DEFAULTS = (
    Prompt("capital", "What is the capital of France?", contains=("Paris",), script="latin"),
    Prompt("sum", "What is 2 + 2? Answer with the number only.", contains=("4", "four"), max_tokens=16),
    Prompt("choice", "Which of these is an animal: table, horse, cloud? Answer with one word.", max_tokens=16,
           choices=("table", "horse", "cloud"), answer="horse"),
    Prompt("word", "Say only the word: yes", contains=("yes",), max_tokens=32, stops=True),
    Prompt("data", 'Answer with JSON only: {"name": "Ada", "age": 36}', json=True),
    Prompt("translation", "Translate to German: Good morning", contains=("Guten Morgen",), script="latin"),
    Prompt("story", "Tell a short story about a lighthouse.", script="latin", max_tokens=96),
    Prompt("code", "Write a Python function that returns the larger of two numbers.", matches=r"def \w+\(", max_tokens=96),
    Prompt("capital", "The capital of France is", kind="completion", contains=("Paris",), script="latin"),
    Prompt("code", "def larger(a, b):\n    return", kind="completion", matches=r"a|b|max"),
    Prompt("story", "Once upon a time there was a lighthouse", kind="completion", script="latin", max_tokens=96),
    Prompt("animals", "The cat sleeps on the sofa.", kind="embedding", near="A kitten is napping on the couch.", far="The stock market fell sharply today."),
    Prompt("code", "How do I read a file in Python?", kind="embedding", near="Opening and reading files with Python's open()", far="A recipe for tomato soup"),
    Prompt("capital", "What is the capital of France?", kind="rerank", best=1,
           documents=("Bananas are rich in potassium.", "Paris is the capital and largest city of France.", "The Alps are mountains.")),
    Prompt("password", "How do I reset my password?", kind="rerank", best=0,
           documents=("To reset your password, open settings and choose a new one.", "Our office is open on weekdays.", "Shipping takes three days.")),
)


@dataclass(frozen=True)
class Floors:
    """What the new model must hold. `lost_share`: of the properties that the old one holds, how many may be lost; `pass_share`: of all, how many must hold.

    `tokens_per_second` and `first_token_seconds` are absolute (0: not asked), `speed_share` is of the old model's speed, `memory_share` of the plan.
    `strict`: whether tokens of a template and answers without an end are a reason, too.
    """

    lost_share: float = 0.1
    pass_share: float = 0.0
    tokens_per_second: float = 0.0
    first_token_seconds: float = 0.0
    speed_share: float = 0.6
    memory_share: float = 1.0
    strict: bool = True


ANSWERS_ONLY = Floors(lost_share=1.0, speed_share=0.0, memory_share=0.0, strict=False)
"""For a model that served before: it must load and answer, whatever the one that it replaces does better."""


@dataclass(frozen=True)
class Judged:
    """The verdict on one model: `reasons` are why it may not take the old one's place, `lines` is what was seen."""

    model: str
    reasons: tuple[str, ...]
    lines: tuple[str, ...]
    held: Mapping[str, bool] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {"model": self.model, "ok": self.ok, "reasons": list(self.reasons), "lines": list(self.lines), "held": dict(self.held)}


def prompts_for(model: str, kind: str, given: Sequence[Mapping[str, Any]], defaults: bool = True) -> list[Prompt]:
    """The prompts for a served model: those of its kind by default, then the user's own; one of the same name takes the default's place.

    FleetError for a prompt of the user that cannot be judged.
    """
    if kind not in KINDS:
        raise FleetError("There are no prompts for this kind of model", f"model {model}", kind, f"Known are {', '.join(KINDS)}.")
    found = {prompt.name: prompt for prompt in (DEFAULTS if defaults else ()) if prompt.kind == kind}
    for index, item in enumerate(given):
        prompt = parse(item, f"refresh_prompts[{index}]")
        if prompt.kind == kind and model in (prompt.models or (model,)):
            found[prompt.name] = prompt
    return list(found.values())


def parse(item: Mapping[str, Any], where: str) -> Prompt:
    """A prompt that the user gave. FleetError with what is wrong in it."""
    known = {each.name for each in fields(Prompt)}
    unknown = sorted(set(item) - known)
    if unknown:
        raise FleetError("A prompt has an unknown option", where, ", ".join(unknown), f"Known are {', '.join(sorted(known))}.")
    prompt = Prompt(**{name: tuple(value) if isinstance(value, (list, tuple)) else value for name, value in item.items() if value is not None})
    wrong = next(_wrong(prompt), "")
    if wrong:
        raise FleetError("A prompt cannot be judged", f"{where}, {prompt.name}", wrong, "Correct it; docs/refresh.md has examples.")
    return prompt


def _wrong(prompt: Prompt) -> Iterator[str]:
    if not prompt.name or not prompt.prompt:
        yield "no name or no prompt"
    if prompt.kind not in KINDS:
        yield f"kind {prompt.kind}"
    if prompt.script and prompt.script not in SCRIPTS:
        yield f"script {prompt.script}, known are {', '.join(SCRIPTS)}"
    if prompt.choices and prompt.answer not in prompt.choices:
        yield f"answer {prompt.answer or 'none'}, which is none of the choices"
    if prompt.kind == "embedding" and not (prompt.near and prompt.far):
        yield "an embedding without near and far"
    if prompt.kind == "rerank" and not 0 <= prompt.best < len(prompt.documents):
        yield f"best {prompt.best} of {len(prompt.documents)} documents"
    if isinstance(prompt.max_tokens, bool) or not isinstance(prompt.max_tokens, int) or prompt.max_tokens < 1:
        yield f"max_tokens {prompt.max_tokens}"
    try:
        re.compile(prompt.matches)
    except re.error as error:
        yield f"matches {prompt.matches!r}, {error}"


# --- properties of an answer


def held(prompt: Prompt, seen: Mapping[str, Any]) -> dict[str, bool]:
    """Whether each property that a prompt asks for holds in what was seen: `{property: held}`.

    `seen` has `error` (empty when the model answered), `text`, `stopped`, of an embedding `similarities` (near, far), of a rerank `first`.
    """
    if prompt.kind == "embedding":
        near, far = (list(seen.get("similarities") or ()) + [None, None])[:2]
        known = near is not None and far is not None
        return {"answers": known and not seen.get("error"), "order": bool(known and near > far)}  # type: ignore[operator]
    if prompt.kind == "rerank":
        return {"answers": seen.get("first") is not None and not seen.get("error"), "order": seen.get("first") == prompt.best}
    text = str(seen.get("text") or "")
    found = {"answers": bool(text.strip()) and not seen.get("error"), "clean": is_clean(text), "fluent": is_fluent(text)}
    asked: dict[str, tuple[Any, Callable[[], bool]]] = {
        "contains": (prompt.contains, lambda: any(word.casefold() in text.casefold() for word in prompt.contains)),
        "matches": (prompt.matches, lambda: re.search(prompt.matches, text) is not None),
        "json": (prompt.json, lambda: is_json(text)),
        "script": (prompt.script, lambda: script_of(text) in (prompt.script, "")),
        "stops": (prompt.stops, lambda: bool(seen.get("stopped"))),
        "choice": (prompt.choices, lambda: first_of(text, prompt.choices) == prompt.answer),
    }
    return {**found, **{name: bool(text.strip()) and test() for name, (wanted, test) in asked.items() if wanted}}


def is_clean(text: str) -> bool:
    """Whether no token of a chat template is in the text: with the wrong template they leak."""
    return _TEMPLATE.search(text) is None


def is_fluent(text: str) -> bool:
    """Whether the text is no salad of scripts and does not say the same again and again; short texts are not judged."""
    counts = _scripts(text)
    letters = sum(counts.values())
    if letters >= LETTERS and max(counts.values()) < ONE_SCRIPT_SHARE * letters:
        return False
    words = text.split()
    if len(words) < WORDS:
        return len(text) < 4 * LETTERS or len(set(text)) > 4
    runs = list(zip(words, words[1:], words[2:]))
    return len(set(runs)) >= DISTINCT_SHARE * len(runs)


def is_json(text: str) -> bool:
    """Whether the text is, or holds in a fence or by itself, one JSON object or list."""
    fenced = _FENCE.search(text)
    body = (fenced.group(1) if fenced else text).strip()
    start = min((place for place in (body.find("{"), body.find("[")) if place >= 0), default=-1)
    if start < 0:
        return False
    try:
        return isinstance(json.JSONDecoder().raw_decode(body[start:])[0], (dict, list))
    except (ValueError, RecursionError):
        return False


def script_of(text: str) -> str:
    """The script of most letters; empty for too few letters to tell, or for one that is not known."""
    counts = _scripts(text)
    if sum(counts.values()) < LETTERS // 2:
        return ""
    return max(sorted(counts), key=lambda name: counts[name])


def _scripts(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for letter in text:
        if letter.isalpha():
            word = unicodedata.name(letter, "OTHER").split(" ", 1)[0].split("-", 1)[0]
            name = "cjk" if word in _CJK else word.lower()
            counts[name] = counts.get(name, 0) + 1
    return counts


def first_of(text: str, choices: Sequence[str]) -> str:
    """The choice that the text names first, as a word of its own; empty when it names none."""
    places = {choice: match.start() for choice in choices for match in [re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text, re.IGNORECASE)] if match}
    return min(places, key=lambda choice: places[choice]) if places else ""


# --- the verdict


def judge(
    model: str, prompts: Sequence[Prompt], old: Optional[Mapping[str, Mapping[str, Any]]], new: Mapping[str, Mapping[str, Any]],
    floors: Floors = Floors(), memory: Optional[tuple[int, int]] = None,
) -> Judged:
    """Compare what the `old` and the `new` model answered, by prompt name (see `held` and `speed`); without an old one all must hold.

    `memory` is bytes that cannot be dropped of the new model's process, measured and planned.
    """
    now = {f"{prompt.name} {name}": ok for prompt in prompts for name, ok in held(prompt, new.get(prompt.name) or {"error": "not asked"}).items()}
    before = {name: True for name in now} if old is None else {
        f"{prompt.name} {name}": ok for prompt in prompts for name, ok in held(prompt, old.get(prompt.name) or {"error": "not asked"}).items()}
    reasons = [*_of_answers(prompts, before, now, new, floors), *_of_speed(old, new, floors), *_of_memory(memory, floors)]
    kept = sum(now[name] for name in now if before[name])
    lines = [f"{model}: {sum(now.values())} of {len(now)} properties hold, {kept} of the {sum(before.values())} that held before"]
    lines += [f"{model}: {told}" for told in (_told_speed(old, new), _told_memory(memory)) if told]
    lines += [f"{model}: {name} {'holds now' if now[name] else 'is lost'}" for name in now if now[name] != before[name]]
    return Judged(model, tuple(f"{model}: {reason}" for reason in reasons), tuple(lines), now)


def _of_answers(prompts: Sequence[Prompt], before: Mapping[str, bool], now: Mapping[str, bool], new: Mapping[str, Mapping[str, Any]],
                floors: Floors) -> Iterator[str]:
    silent = [prompt.name for prompt in prompts if not now[f"{prompt.name} answers"]]
    if silent:
        said = [str((new.get(name) or {"error": "not asked"}).get("error") or "") for name in silent]
        why = next(filter(None, said), "an empty answer")
        yield f"no answer to {', '.join(silent)} ({why[:200]})"
    lost = [name for name in now if before[name] and not now[name] and name.rpartition(" ")[0] not in silent]
    for kind, words in (("clean", "tokens of a chat template are in the answers to {}: its template is wrong"),
                        ("stops", "the answers to {} do not end by themselves, as the old model's do")):
        found = [name.rpartition(" ")[0] for name in lost if name.rpartition(" ")[2] == kind]
        if found and floors.strict:
            yield words.format(", ".join(found))
    rest = [name for name in lost if name.rpartition(" ")[2] not in STRICT]
    counted = sum(ok for name, ok in before.items() if name.rpartition(" ")[2] not in STRICT)
    if len(rest) > floors.lost_share * counted:
        yield f"{len(rest)} of {counted} properties that the old model's answers hold are lost ({', '.join(rest)}); {floors.lost_share:.0%} may be"
    if now and sum(now.values()) < floors.pass_share * len(now):
        yield f"{sum(now.values())} of {len(now)} properties hold, and {floors.pass_share:.0%} must"


def speed(seen: Optional[Mapping[str, Mapping[str, Any]]]) -> tuple[Optional[float], Optional[float]]:
    """The most tokens a second and the least seconds to the first token of all prompts; None where nothing was measured.

    The best of several, because what else runs on a host only ever makes an answer slower.
    """
    def found(name: str) -> list[float]:
        return [float(item[name]) for item in (seen or {}).values() if item.get(name)]

    return max(found("tokens_per_second"), default=None), min(found("first_token_seconds"), default=None)


def _ratio(old: Optional[Mapping[str, Any]], new: Mapping[str, Any], name: str) -> Optional[float]:
    """New over old, the median of the prompts that both were measured with: each pair was asked at one moment, under one load."""
    pairs = [(item.get(name), ((old or {}).get(prompt) or {}).get(name)) for prompt, item in new.items()]
    found = [now / before for now, before in pairs if now and before]
    return statistics.median(found) if found else None


def _of_speed(old: Optional[Mapping[str, Any]], new: Mapping[str, Any], floors: Floors) -> Iterator[str]:
    (rate, first), (old_rate, old_first) = speed(new), speed(old)
    share, delay = _ratio(old, new, "tokens_per_second"), _ratio(old, new, "first_token_seconds")
    if rate is not None and rate < floors.tokens_per_second:
        yield f"too slow: {rate:.1f} tokens a second, and {floors.tokens_per_second:g} are the least"
    if share is not None and share < floors.speed_share:
        yield f"too slow: {rate:.1f} tokens a second, {share:.0%} of what the old model has beside it, and {floors.speed_share:.0%} are the least"
    if first is not None and floors.first_token_seconds and first > floors.first_token_seconds:
        yield f"too slow: the first token takes {first:.2f} s, and {floors.first_token_seconds:g} s are the most"
    if delay is not None and floors.speed_share and delay > 1 / floors.speed_share and first > old_first + FIRST_TOKEN_SLACK:
        yield f"too slow: the first token takes {first:.2f} s, the old model's {old_first:.2f} s"


def _of_memory(memory: Optional[tuple[int, int]], floors: Floors) -> Iterator[str]:
    if memory and floors.memory_share and memory[0] > floors.memory_share * memory[1]:
        yield (f"too big: its process holds {memory[0]} bytes that cannot be dropped, and the plan has {memory[1]}"
               f"{f', of which {floors.memory_share:.0%} are the most' if floors.memory_share != 1 else ''}")


def _told_speed(old: Optional[Mapping[str, Any]], new: Mapping[str, Any]) -> str:
    (rate, first), (old_rate, old_first) = speed(new), speed(old)
    if rate is None or first is None:
        return ""
    before = f" (before {old_rate:.1f} and {old_first:.2f} s)" if old_rate is not None and old_first is not None else ""
    return f"{rate:.1f} tokens a second, first token after {first:.2f} s{before}"


def _told_memory(memory: Optional[tuple[int, int]]) -> str:
    return f"{memory[0]} bytes of memory that cannot be dropped, {memory[1]} planned" if memory else ""


def grown(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Optional[int]:
    """Bytes that cannot be dropped of the largest process that came between two looks at a container's `processes`; None when none came."""
    known = {process["pid"] for process in before}
    sizes = [process.get("rss_anonymous_bytes") or 0 for process in after if process["pid"] not in known]
    return max(sizes) if sizes else None
