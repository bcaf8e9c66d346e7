"""Which model a request reaches when it names more than one: why the edge reads bodies and drops the query."""
from __future__ import annotations

import json

import pytest

from tests.contract.localai.client import Client

CHAT = "/v1/chat/completions"
REST = '"messages":[{"role":"user","content":"Hello"}],"max_tokens":1'


def _model(admin: Client, path: str, body: str) -> tuple[int, str]:
    answer = admin.post(path, body, {"Content-Type": "application/json"})
    return answer.status, answer.json.get("model", "")


def test_the_body_wins_over_the_query(admin: Client, model: str, alias: str) -> None:
    assert _model(admin, f"{CHAT}?model={alias}", f'{{"model":{json.dumps(model)},{REST}}}') == (200, model)


@pytest.mark.parametrize("second", ["model", "Model", "MODEL"])
def test_the_last_of_equal_keys_wins_in_any_case(admin: Client, model: str, alias: str, second: str) -> None:
    body = f'{{"model":{json.dumps(model)},"{second}":{json.dumps(alias)},{REST}}}'
    assert _model(admin, CHAT, body) == (200, alias)


def test_a_backend_in_the_body_of_a_loaded_model_is_ignored(admin: Client, model: str) -> None:
    assert admin.chat(model).status == 200
    assert admin.chat(model, backend="nosuch").status == 200
