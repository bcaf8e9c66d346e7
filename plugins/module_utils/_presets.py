# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Models that are known to work on CPU servers, by name: the data of `source: preset:NAME` and of choosing models. Pure."""
from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Mapping

from ._errors import FleetError


PREFIX = "preset:"


@dataclass(frozen=True)
class Preset:
    """A model by name: its repository and quant, what it is for, and what its license asks for.

    `parameters` are those of the model, `license` as the base model states it, `note` a sentence for who chooses. `options` are further
    options of a wanted model that it needs, such as templates where its file has none.
    """

    name: str
    repository: str
    categories: tuple[str, ...]
    parameters: int
    license: str
    note: str
    quant: str = "Q4_K_M"
    context: int = 4096
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return f"hf://{self.repository}"

    def wanted(self) -> dict[str, Any]:
        """An item of `models_wanted`, with everything that differs from the defaults."""
        context = {} if self.context == 4096 else {"context": self.context}
        return {"name": self.name, "source": self.source, "quant": self.quant, **context, **self.options}


_FREE = "free for any use"
_LLAMA = "free also for business below 700 million users a month; the name Llama must be shown"
_GEMMA = "free also for business within Google's list of prohibited uses"
_PHI_2 = {
    "template": {"chat": "{{.Input}}\nOutput:", "chat_message": '{{if eq .RoleName "assistant"}}Output: {{else}}Instruct: {{end}}{{.Content}}',
                 "completion": "{{.Input}}"},
    "stopwords": ["Instruct:", "<|endoftext|>"]}
_ORCA = {
    "template": {"chat": "{{.Input}}\n### Response:\n",
                 "chat_message": '### {{if eq .RoleName "system"}}System{{else if eq .RoleName "assistant"}}Response{{else}}User{{end}}:\n{{.Content}}\n',
                 "completion": "{{.Input}}"},
    "stopwords": ["### User:", "### System:"]}

PRESETS = (
    Preset("llama-3.2-1b-instruct", "bartowski/Llama-3.2-1B-Instruct-GGUF", ("chat", "tools"), 1_235_814_432, "llama3.2", f"small and fast; {_LLAMA}"),
    Preset("llama-3.2-3b-instruct", "bartowski/Llama-3.2-3B-Instruct-GGUF", ("chat", "tools"), 3_212_749_888, "llama3.2", f"the next larger one; {_LLAMA}"),
    Preset("qwen3-0.6b", "MaziyarPanahi/Qwen3-0.6B-GGUF", ("chat", "reasoning", "tools"), 596_049_920, "apache-2.0", f"the smallest that follows; {_FREE}"),
    Preset("qwen3-1.7b", "MaziyarPanahi/Qwen3-1.7B-GGUF", ("chat", "reasoning", "tools"), 1_720_574_976, "apache-2.0", f"thinks before it answers; {_FREE}"),
    Preset("qwen3-4b-instruct-2507", "bartowski/Qwen_Qwen3-4B-Instruct-2507-GGUF", ("chat", "tools"), 4_022_468_096, "apache-2.0",
           f"the best of its size for daily work; {_FREE}"),
    Preset("qwen3-8b", "Qwen/Qwen3-8B-GGUF", ("chat", "reasoning", "tools"), 8_190_735_360, "apache-2.0", f"for 16 GB hosts; {_FREE}"),
    Preset("gemma-3-1b-it", "ggml-org/gemma-3-1b-it-GGUF", ("chat",), 999_885_952, "gemma", f"many languages, little cache; {_GEMMA}"),
    Preset("gemma-3-4b-it", "ggml-org/gemma-3-4b-it-GGUF", ("chat", "vision"), 3_880_099_328, "gemma", f"many languages, sees images; {_GEMMA}"),
    Preset("smollm3-3b", "bartowski/HuggingFaceTB_SmolLM3-3B-GGUF", ("chat", "reasoning", "tools"), 3_075_098_624, "apache-2.0", f"open data too; {_FREE}"),
    Preset("granite-4.0-h-tiny", "bartowski/ibm-granite_granite-4.0-h-tiny-GGUF", ("chat", "tools"), 6_939_037_248, "apache-2.0",
           f"a mixture of experts, fast for its size; {_FREE}"),
    Preset("gpt-oss-20b", "ggml-org/gpt-oss-20b-GGUF", ("chat", "reasoning", "tools"), 20_914_757_184, "apache-2.0",
           f"the largest here, for 24 GB hosts; {_FREE}", quant="MXFP4", context=8192),
    Preset("phi-2", "TheBloke/phi-2-GGUF", ("chat", "code"), 2_779_683_840, "mit", f"of 2023, at most 2,048 tokens; {_FREE}", context=2048, options=_PHI_2),
    Preset("orca-mini-3b", "Aryanne/Orca-Mini-3B-gguf", ("chat",), 3_426_473_600, "cc-by-nc-sa-4.0", "of 2023; NOT for business (non-commercial)", quant="Q4_0",
           context=2048, options=_ORCA),
    Preset("qwen2.5-coder-1.5b-instruct", "bartowski/Qwen2.5-Coder-1.5B-Instruct-GGUF", ("chat", "code"), 1_543_714_304, "apache-2.0",
           f"completes and explains code; {_FREE}", context=8192),
    Preset("qwen2.5-coder-7b-instruct", "bartowski/Qwen2.5-Coder-7B-Instruct-GGUF", ("chat", "code", "tools"), 7_615_616_512, "apache-2.0",
           f"writes code; {_FREE}", context=8192),
    Preset("nomic-embed-text-v1.5", "nomic-ai/nomic-embed-text-v1.5-GGUF", ("embedding",), 136_731_648, "apache-2.0",
           f"English; search_query: and search_document: before texts; {_FREE}", context=2048, options={"kind": "embedding"}),
    Preset("qwen3-embedding-0.6b", "Qwen/Qwen3-Embedding-0.6B-GGUF", ("embedding",), 595_776_512, "apache-2.0", f"many languages; {_FREE}", quant="Q8_0",
           context=2048, options={"kind": "embedding"}),
    Preset("bge-reranker-v2-m3", "gpustack/bge-reranker-v2-m3-GGUF", ("rerank",), 567_755_777, "apache-2.0", f"many languages; {_FREE}", context=1024,
           options={"kind": "rerank"}),
)
"""In the order in which they are shown."""


def preset(name: str, where: str = "preset") -> Preset:
    """The preset of a name. FleetError that names the nearest ones."""
    known = {item.name: item for item in PRESETS}
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4) or list(known)
        raise FleetError("There is no such preset", where, name, f"Near are {', '.join(near)}; the playbook choose_models shows all.")
    return known[name]


def expanded(item: Mapping[str, Any], where: str = "source") -> dict[str, Any]:
    """An item of `models_wanted` whose source is `preset:NAME`, with what the preset says where the item says nothing; others as they are.

    The source stays: the lock pins where the preset's model was found, and does not move when a later release knows a better place.
    """
    source = str(item.get("source") or "")
    if not source.startswith(PREFIX):
        return dict(item)
    found = preset(source[len(PREFIX):], where).wanted()
    return {**item, **found, **{key: value for key, value in item.items() if _says(value)}}


def _says(value: Any) -> bool:
    """Whether an option is given: modules fill what is not with nothing, empty lists and empty templates."""
    return any(map(_says, value.values())) if isinstance(value, Mapping) else value not in (None, "", [], ())
