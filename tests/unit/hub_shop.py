"""A hub with many repositories, as a search finds them: good ones, re-uploads, traps."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import hub_repository

CHAT = "{% if tools %}tools{% endif %}{{ messages }}"


def add(root: Path, name: str, *, file: str = "", body: dict[str, Any] | None = None, **about: Any) -> str:
    """One repository with one sound model file (a llama by default); `about` adds to what the hub says of it. Returns its name."""
    stem = name.partition("/")[2].removesuffix("-GGUF")
    path = file or f"{stem}-Q4_K_M.gguf"
    hub_repository.add_gguf(root, path, name, **(body or {}))
    size = (root / name / path).stat().st_size
    facts = {
        "license": "apache-2.0", "tags": ["gguf", "conversational", "en", "license:apache-2.0"], "likes": 10, "downloads": 100, "trendingScore": 5,
        "createdAt": "2026-10-01T00:00:00.000Z", "pipeline_tag": "text-generation",
        "gguf": {"total": size, "architecture": "llama", "context_length": 4096, "chat_template": CHAT, "totalFileSize": size}, **about}
    hub_repository.about(root, name, **{key: value for key, value in facts.items() if value is not None})
    return name


def based_on(base: str, **about: Any) -> dict[str, Any]:
    """What a repository says that was quantized from `base`."""
    tags = ["gguf", "conversational", "en", f"base_model:{base}", f"base_model:quantized:{base}"]
    return {"base_model": base, "tags": tags, **about}
