# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""LocalAI's settings of a model, printed from the plan. Pure Python; keys as LocalAI v4.9 reads them."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

from ._errors import FleetError

MIB = 1 << 20
USECASES = {"chat": ["chat", "completion"], "completion": ["completion"], "embedding": ["embeddings"], "rerank": ["rerank"]}


def render(model: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one model: numbers from its plan entry `model`, words from its item of models_wanted."""
    kind = model["kind"]
    if kind not in USECASES:
        raise FleetError("The plan names a kind of model that LocalAI's settings have no words for", model["name"], str(kind),
                         f"Known are {', '.join(USECASES)}.")
    result: dict[str, Any] = {
        "name": model["name"], "backend": "llama-cpp", "known_usecases": USECASES[kind],
        "context_size": model["context"], "threads": model["threads"], "mmap": True,
        "parameters": _parameters(model, wanted), "options": _options(model),
    }
    result.update(_cache(model))
    result.update(_words(wanted))
    if kind == "embedding":
        result["embeddings"] = True
    if kind == "rerank":
        result["reranking"] = True
    return result


def alias(name: str, target: str) -> dict[str, Any]:
    """The settings of one alias: LocalAI allows nothing else beside these two keys."""
    return {"name": name, "alias": target}


def render_all(instance: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings by served name of the models and aliases of one instance: what it lists is what it loads, so it gets no other's.

    FleetError for a planned model that is not wanted: plan and inventory were made apart.
    """
    by_name = {item["name"]: item for item in wanted}
    result: dict[str, dict[str, Any]] = {}
    for model in instance["models"]:
        if model["name"] not in by_name:
            raise FleetError("The plan names a model that models_wanted lacks", got=model["name"], do="Plan again.")
        result[model["name"]] = render(model, by_name[model["name"]])
        result.update({name: alias(name, model["name"]) for name in model.get("aliases", ())})
    return result


def _parameters(model: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    found = {"model": f"gguf/{model['sha256']}.gguf", "batch": model["batch"]}
    return {**found, "max_tokens": wanted["max_tokens"]} if wanted.get("max_tokens") else found


def _options(model: Mapping[str, Any]) -> list[str]:
    """Entries that LocalAI hands to llama.cpp. cache_ram is always there: without it the prompt cache grows without end."""
    return [
        f"parallel:{model['slots']}",
        f"kv_unified:{str(bool(model['unified'])).lower()}",
        f"threads_batch:{model['threads_batch']}",
        f"cache_ram:{model['prompt_cache'] // MIB}",
        f"n_ctx_checkpoints:{model['checkpoints']}",
    ]


def _cache(model: Mapping[str, Any]) -> dict[str, Any]:
    kind = model["kv_type"]
    if kind == "f16":
        return {}
    return {"cache_type_k": kind, "cache_type_v": kind, "flash_attention": "on"}


def _words(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Template and stop words. Without a template LocalAI takes the one in the model's file, and only then prepares jinja for it."""
    given = {key: text for key, text in (wanted.get("template") or {}).items() if text}
    result: dict[str, Any] = {}
    if given:
        result["template"] = given
    if wanted.get("stopwords"):
        result["stopwords"] = list(wanted["stopwords"])
    return result
