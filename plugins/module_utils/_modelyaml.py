# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""LocalAI's settings of a model, printed from the plan and the lock. Pure Python; keys as LocalAI v4.9 reads them.

A model's settings are named after it and after themselves, `NAME.DIGEST`: a revision. What clients ask for, the model's own
name and its aliases, are aliases of LocalAI that point to a revision. So a change is a second revision beside the first, and
a switch of the names (LocalAI resolves an alias at each request, in one hop).
"""
from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Mapping, Sequence

from ._errors import FleetError

MIB = 1 << 20
USECASES = {"chat": ["chat", "completion"], "completion": ["completion"], "embedding": ["embeddings"], "rerank": ["rerank"]}
SPLIT = "split"
"""Folder, beside the settings, of the links by which llama.cpp finds the parts of a model in several files."""

_REVISION = re.compile(r".+\.[0-9a-f]{8}")


def is_revision(name: str) -> bool:
    """Whether a name is that of a revision; no served name may look like one."""
    return _REVISION.fullmatch(name) is not None


def revision(settings: Mapping[str, Any]) -> str:
    """The name of a revision: the model's and the first 8 hex digits of the SHA-256 of its settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return f"{settings['name']}.{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def render(model: Mapping[str, Any], wanted: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings of one model: numbers and files from its plan entry, words from its item of models_wanted, `header` from its entry of the lock."""
    kind = model["kind"]
    if kind not in USECASES:
        raise FleetError("The plan names a kind of model that LocalAI's settings have no words for", model["name"], str(kind),
                         f"Known are {', '.join(USECASES)}.")
    result: dict[str, Any] = {
        "name": model["name"], "backend": "llama-cpp", "known_usecases": list(USECASES[kind]),
        "context_size": model["context"], "threads": model["threads"], "mmap": True,
        "parameters": _parameters(model, wanted), "options": _options(model),
    }
    result.update(_cache(model))
    result.update(_words(wanted))
    if kind == "embedding":
        result["embeddings"] = True
        result["options"] += _pooling(header or {})
    if kind == "rerank":
        result["reranking"] = True
    if model.get("projector"):
        result["known_usecases"].append("vision")
        result["mmproj"] = f"gguf/{model['projector']}.gguf"
        result["options"] += [f"image_max_tokens:{model['image_tokens']}"] if model.get("image_tokens") else []
    return result


def alias(name: str, target: str) -> dict[str, Any]:
    """The settings of one alias: LocalAI allows nothing else beside these two keys."""
    return {"name": name, "alias": target}


def render_all(instance: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]], lock: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Settings by LocalAI's name, revisions first, then what points to them: what an instance lists is what it loads, so it gets no other's.

    FleetError for a planned model that is not wanted (plan and inventory were made apart), and for a name that looks like a revision's.
    """
    by_name = {item["name"]: item for item in wanted}
    locked = (lock or {}).get("models") or {}
    revisions: dict[str, dict[str, Any]] = {}
    names: dict[str, dict[str, Any]] = {}
    for model in instance["models"]:
        if model["name"] not in by_name:
            raise FleetError("The plan names a model that models_wanted lacks", got=model["name"], do="Plan again.")
        settings = render(model, by_name[model["name"]], (locked.get(model["name"]) or {}).get("header"))
        target = revision(settings)
        revisions[target] = {**settings, "name": target}
        names.update({name: alias(name, target) for name in (model["name"], *model.get("aliases", ()))})
    for name in filter(is_revision, names):
        raise FleetError("A served name ends like the name of a model's settings", "models_wanted", name, "Leave out the dot and the eight digits.")
    return {**revisions, **names}


def targets(rendered: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Revision by served name, of what `render_all` returned."""
    return {name: settings["alias"] for name, settings in rendered.items() if "alias" in settings}


def links(model: Mapping[str, Any]) -> dict[str, str]:
    """Links by path beside the settings, for a planned model in several files; none for one in one. llama.cpp finds part N by the name of the first."""
    parts = list(model.get("files") or ())
    if len(parts) < 2:
        return {}
    return {f"{SPLIT}/{parts[0]}/model-{number:05d}-of-{len(parts):05d}.gguf": f"../../gguf/{part}.gguf" for number, part in enumerate(parts, 1)}


def _parameters(model: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    found = {"model": next(iter(links(model)), f"gguf/{model['sha256']}.gguf"), "batch": model["batch"]}
    return {**found, "max_tokens": wanted["max_tokens"]} if wanted.get("max_tokens") else found


def _pooling(header: Mapping[str, Any]) -> list[str]:
    """How one vector is made of many, where the model's file does not say it: without this LocalAI's engine refuses to."""
    return [] if header.get("pooling_type") else ["pooling_type:mean"]


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
