"""The gate: properties of answers, and who may take whose place."""
from __future__ import annotations

import pytest

from ansible_collections.localai.fleet.plugins.module_utils import _gate
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._gate import DEFAULTS, Floors, Prompt, held, judge, prompts_for

GOOD = "The capital of France is Paris, a city on the river Seine in the north of the country."
SALAD = "оваGermán ツールसंग stairs 다음으로 mẹ τηνlung ด้านbrengen 城市 нияpatch உள்ள verdict कालीन"
LOOP = "the light and the sea and the light and the sea and " * 4


@pytest.mark.parametrize("text, clean", [
    (GOOD, True),
    ("Paris.<|im_end|>\n<|im_start|>user", False),
    ("Paris<|eot_id|>", False),
    ("Paris</s>", False),
    ("[INST] What? [/INST]", False),
    ("Paris<end_of_turn>", False),
    ("<｜end▁of▁sentence｜>", False),
    ("def larger(a, b): return a if a > b else b  # a <= b", True),
    ("<p>Paris</p> costs <b>5</b>", True),
    ("if (a < s && b > |c|) {}", True),
])
def test_tokens_of_a_template(text: str, clean: bool) -> None:
    assert _gate.is_clean(text) is clean


@pytest.mark.parametrize("text, fluent", [
    (GOOD, True),
    (SALAD, False),
    (LOOP, False),
    ("yes", True),
    ("", True),
    ("你好，巴黎是法国的首都，位于塞纳河畔。ようこそ。", True),
    ("a" * 200, False),
    ("Guten Morgen, liebe Sorgen, seid ihr auch schon alle da? Habt ihr auch so gut geschlafen, na dann ist ja alles klar!", True),
])
def test_fluent(text: str, fluent: bool) -> None:
    assert _gate.is_fluent(text) is fluent


@pytest.mark.parametrize("text, is_json", [
    ('{"a": 1}', True), ('```json\n[1, 2]\n```', True), ('Here it is: {"a": {"b": [1]}} as asked.', True),
    ("{a: 1}", False), ("no", False), ("12", False), ('{"a": 1', False), ("", False),
])
def test_json(text: str, is_json: bool) -> None:
    assert _gate.is_json(text) is is_json


@pytest.mark.parametrize("text, script", [
    (GOOD, "latin"), ("Привет, как твои дела сегодня?", "cyrillic"), ("巴黎是法国的首都和最大城市", "cjk"), ("파리는 프랑스의 수도이다 정말", "hangul"),
    ("42", ""), ("", ""),
])
def test_scripts(text: str, script: str) -> None:
    assert _gate.script_of(text) == script


@pytest.mark.parametrize("text, first", [
    ("It is a horse, not a table.", "horse"), ("TABLE", "table"), ("tablecloth", ""), ("none", ""), ("", ""),
])
def test_the_first_choice_that_is_named(text: str, first: str) -> None:
    assert _gate.first_of(text, ("table", "horse")) == first


@pytest.mark.parametrize("prompt, seen, lost", [
    (Prompt("p", "?", contains=("paris",)), {"text": GOOD}, set()),
    (Prompt("p", "?", contains=("Rome", "Berlin")), {"text": GOOD}, {"contains"}),
    (Prompt("p", "?", matches=r"cap\w+ of"), {"text": GOOD}, set()),
    (Prompt("p", "?", matches=r"^Paris"), {"text": GOOD}, {"matches"}),
    (Prompt("p", "?", json=True), {"text": GOOD}, {"json"}),
    (Prompt("p", "?", script="cyrillic"), {"text": GOOD}, {"script"}),
    (Prompt("p", "?", stops=True), {"text": GOOD, "stopped": False}, {"stops"}),
    (Prompt("p", "?", stops=True), {"text": GOOD, "stopped": True}, set()),
    (Prompt("p", "?", choices=("Paris", "Rome"), answer="Rome"), {"text": GOOD}, {"choice"}),
    (Prompt("p", "?"), {"text": SALAD}, {"fluent"}),
    (Prompt("p", "?"), {"text": "hi<|im_end|>"}, {"clean"}),
    (Prompt("p", "?", script="latin", matches=".*"), {"text": " "}, {"answers", "script", "matches"}),
    (Prompt("p", "?"), {"text": GOOD, "error": "cut"}, {"answers"}),
    (Prompt("p", "?", kind="embedding", near="a", far="b"), {"similarities": [0.9, 0.1]}, set()),
    (Prompt("p", "?", kind="embedding", near="a", far="b"), {"similarities": [0.1, 0.9]}, {"order"}),
    (Prompt("p", "?", kind="embedding", near="a", far="b"), {"error": "500"}, {"answers", "order"}),
    (Prompt("p", "?", kind="rerank", documents=("a", "b"), best=1), {"first": 1}, set()),
    (Prompt("p", "?", kind="rerank", documents=("a", "b"), best=1), {"first": 0}, {"order"}),
    (Prompt("p", "?", kind="rerank", documents=("a", "b"), best=1), {"first": None}, {"answers", "order"}),
])
def test_properties(prompt: Prompt, seen: dict, lost: set) -> None:
    assert {name for name, ok in held(prompt, seen).items() if not ok} == lost


PROMPTS = [
    Prompt("capital", "?", contains=("Paris",), script="latin"), Prompt("word", "?", contains=("yes",), stops=True),
    Prompt("sum", "?", contains=("4",)), Prompt("story", "?", script="latin"),
]


def seen(speed: float = 40.0, first: float = 0.1, **texts: str) -> dict:
    said = {"capital": GOOD, "word": "yes", "sum": "It is 4.", "story": "Once there was a lighthouse on a cliff.", **texts}
    return {name: {"error": "", "text": text, "stopped": True, "tokens_per_second": speed, "first_token_seconds": first} for name, text in said.items()}


def test_the_same_answers_pass() -> None:
    found = judge("chat", PROMPTS, seen(), seen())
    assert found.ok, found.reasons
    assert found.lines == (
        "chat: 18 of 18 properties hold, 18 of the 18 that held before", "chat: 40.0 tokens a second, first token after 0.10 s (before 40.0 and 0.10 s)")


def test_what_the_old_model_never_held_is_not_asked_of_the_new_one() -> None:
    weak = {"capital": "I do not know.", "sum": "five"}
    assert judge("chat", PROMPTS, seen(**weak), seen(**weak)).ok
    assert "chat: capital contains holds now" in judge("chat", PROMPTS, seen(**weak), seen()).lines


def test_without_an_old_model_all_must_hold() -> None:
    assert judge("chat", PROMPTS, None, seen()).ok
    assert not judge("chat", PROMPTS, None, seen(capital="I do not know.", sum="five")).ok


@pytest.mark.parametrize("new, reason", [
    (seen(capital=SALAD, word=SALAD, sum=SALAD, story=SALAD), "properties that the old model's answers hold are lost (capital fluent"),
    (seen(capital=LOOP, word=LOOP, sum=LOOP, story=LOOP), "are lost (capital fluent"),
    (seen(capital="Rome, of course.", sum="It is 5."),
     "2 of 9 properties that the old model's answers hold are lost (capital contains, sum contains); 10% may be"),
    (seen(word="yes<|im_end|>\n<|im_start|>"), "tokens of a chat template are in the answers to word: its template is wrong"),
    ({**seen(), "word": {**seen()["word"], "stopped": False}}, "the answers to word do not end by themselves"),
    (seen(story=""), "no answer to story (an empty answer)"),
    ({**seen(), "story": {"error": "status 500: no"}}, "no answer to story (status 500: no)"),
    ({name: item for name, item in seen().items() if name != "sum"}, "no answer to sum (not asked)"),
    (seen(speed=20.0), "too slow: 20.0 tokens a second, 50% of what the old model has beside it, and 60% are the least"),
    (seen(first=0.9), "too slow: the first token takes 0.90 s, the old model's 0.10 s"),
], ids=["gibberish", "loop", "wrong", "template", "no end", "empty", "error", "unasked", "slow", "late"])
def test_a_bad_model_is_refused_with_its_reason(new: dict, reason: str) -> None:
    found = judge("chat", PROMPTS, seen(), new)
    assert not found.ok
    assert any(reason in told for told in found.reasons), found.reasons
    assert all(told.startswith("chat: ") for told in found.reasons)


def test_one_reason_each_fault() -> None:
    assert len(judge("chat", PROMPTS, seen(), seen(story="")).reasons) == 1
    assert len(judge("chat", PROMPTS, seen(), seen(speed=10.0)).reasons) == 1


def test_how_much_may_be_lost() -> None:
    new = seen(sum="It is 5.")
    assert judge("chat", PROMPTS, seen(), new, Floors(lost_share=0.12)).ok
    assert not judge("chat", PROMPTS, seen(), new, Floors(lost_share=0.0)).ok


def test_a_share_of_all_can_be_asked() -> None:
    weak = {"capital": "I do not know.", "sum": "five"}
    found = judge("chat", PROMPTS, seen(**weak), seen(**weak), Floors(pass_share=0.95))
    assert found.reasons == ("chat: 16 of 18 properties hold, and 95% must",)


@pytest.mark.parametrize("floors, reason", [
    (Floors(tokens_per_second=41), "too slow: 40.0 tokens a second, and 41 are the least"),
    (Floors(first_token_seconds=0.05), "too slow: the first token takes 0.10 s, and 0.05 s are the most"),
])
def test_absolute_floors(floors: Floors, reason: str) -> None:
    assert judge("chat", PROMPTS, seen(), seen(), floors).reasons == (f"chat: {reason}",)


@pytest.mark.parametrize("measured, share, ok", [(100, 1.0, True), (101, 1.0, False), (51, 0.5, False), (101, 1.5, True)])
def test_the_ceiling_of_memory(measured: int, share: float, ok: bool) -> None:
    found = judge("chat", PROMPTS, seen(), seen(), Floors(memory_share=share), (measured, 100))
    assert found.ok is ok
    assert ok or f"too big: its process holds {measured} bytes" in found.reasons[0]


def test_what_served_before_needs_only_to_answer() -> None:
    worse = seen(speed=1.0, first=9.0, capital=SALAD, word="no<|im_end|>", sum="five")
    assert judge("chat", PROMPTS, seen(), worse, _gate.ANSWERS_ONLY, (9, 1)).ok
    assert not judge("chat", PROMPTS, seen(), seen(word=""), _gate.ANSWERS_ONLY).ok


def test_speeds_are_compared_prompt_by_prompt() -> None:
    """Another load in one moment slows both; that one of them was once alone says nothing."""
    old = {name: {**item, "tokens_per_second": rate} for (name, item), rate in zip(seen().items(), (40.0, 4.0, 4.0, 4.0))}
    assert judge("chat", PROMPTS, old, seen(speed=4.0)).reasons == ()
    fast = {name: {**item, "tokens_per_second": rate} for (name, item), rate in zip(seen().items(), (40.0, 10.0, 10.0, 10.0))}
    assert "25% of what the old model has" in judge("chat", PROMPTS, seen(), fast).reasons[0]


def test_speed_is_the_best_that_was_measured() -> None:
    measured = {"a": {"tokens_per_second": 1, "first_token_seconds": 0.3}, "b": {"tokens_per_second": 30, "first_token_seconds": 0.2}, "c": {}}
    assert _gate.speed(measured) == (30, 0.2)
    assert _gate.speed(None) == (None, None)


@pytest.mark.parametrize("kind", _gate.KINDS)
def test_every_kind_has_prompts_with_names_of_their_own(kind: str) -> None:
    names = [prompt.name for prompt in DEFAULTS if prompt.kind == kind]
    assert names and len(names) == len(set(names))
    assert [prompt.name for prompt in prompts_for("m", kind, [])] == names


def test_the_defaults_can_be_judged() -> None:
    for prompt in DEFAULTS:
        assert _gate.parse(prompt.as_dict(), "defaults") == prompt


def test_the_users_prompts_join_and_replace() -> None:
    given = [{"name": "capital", "prompt": "Capital of Italy?", "contains": ["Rome"]}, {"name": "mine", "prompt": "?", "models": ["other"]},
             {"name": "own", "prompt": "?", "kind": "embedding", "near": "a", "far": "b"}]
    found = {prompt.name: prompt for prompt in prompts_for("chat", "chat", given)}
    assert found["capital"].contains == ("Rome",)
    assert "mine" not in found and "own" not in found
    assert "mine" in {prompt.name for prompt in prompts_for("other", "chat", given)}
    assert [prompt.name for prompt in prompts_for("other", "chat", given, defaults=False)] == ["capital", "mine"]


@pytest.mark.parametrize("item, told", [
    ({"name": "a", "prompt": "?", "contians": ["x"]}, "contians"),
    ({"name": "", "prompt": "?"}, "no name"),
    ({"name": "a", "prompt": ""}, "no prompt"),
    ({"name": "a", "prompt": "?", "kind": "voice"}, "kind voice"),
    ({"name": "a", "prompt": "?", "script": "klingon"}, "script klingon"),
    ({"name": "a", "prompt": "?", "matches": "("}, "matches"),
    ({"name": "a", "prompt": "?", "choices": ["x"], "answer": "y"}, "answer y"),
    ({"name": "a", "prompt": "?", "kind": "embedding"}, "near and far"),
    ({"name": "a", "prompt": "?", "kind": "rerank", "documents": ["x"], "best": 1}, "best 1 of 1"),
    ({"name": "a", "prompt": "?", "max_tokens": 0}, "max_tokens 0"),
])
def test_a_prompt_that_cannot_be_judged_is_refused(item: dict, told: str) -> None:
    with pytest.raises(FleetError, match=told) as caught:
        prompts_for("chat", "chat", [item])
    assert "refresh_prompts[0]" in str(caught.value)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(FleetError, match="voice"):
        prompts_for("chat", "voice", [])


def test_the_process_that_came() -> None:
    before = [{"pid": 1, "rss_anonymous_bytes": 900}]
    after = [*before, {"pid": 2, "rss_anonymous_bytes": 10}, {"pid": 3, "rss_anonymous_bytes": 500}, {"pid": 4, "rss_anonymous_bytes": None}]
    assert _gate.grown(before, after) == 500
    assert _gate.grown(before, before) is None
