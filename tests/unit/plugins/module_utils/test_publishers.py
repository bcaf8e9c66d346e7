"""Known publishers, and owners that only look like them."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._publishers import KNOWN, PUBLISHERS, looks_like, rank


@pytest.mark.parametrize("owner", [*KNOWN, *map(str.upper, KNOWN)])
def test_nobody_known_looks_like_another(owner):
    assert looks_like(owner) is None


@pytest.mark.parametrize("owner, original", [
    ("unsl0th", "unsloth"), ("bartowskl", "bartowski"), ("bartowsk", "bartowski"), ("bartowksi", "bartowski"), ("unslooth", "unsloth"),
    ("mistral-ai", "mistralai"),
    ("qwen-ai", "Qwen"), ("google-official", "google"), ("googIe", "google"), ("googel", "google"),
    ("opena1", "openai"), ("open_ai", "openai"), ("rnicrosoft", "microsoft"),
    ("meta-lama", "meta-llama"), ("metallama", "meta-llama"), ("nvidla", "nvidia"), ("TheBlokeAI", "TheBloke"), ("deepseek", "deepseek-ai"),
])
def test_look_alikes(owner, original):
    assert looks_like(owner) == original


@pytest.mark.parametrize("owner", [
    "mistral-community", "openai-community", "second-state", "mudler", "Jackrong", "DavidAU", "prithivMLmods", "gpustack", "Aryanne", "hugging-quants",
    "acme", "a", "appel",
    "huihui-ai", "second", "Lewdiculous", "cstr", "AngelSlim", "NexaAI", "tensorblock", "sentence-transformers",
])
def test_others_are_themselves(owner):
    assert looks_like(owner) is None


def test_ranks():
    assert [rank(name.lower()) for name in PUBLISHERS] == list(range(len(PUBLISHERS))) and rank("robot") == len(PUBLISHERS)
