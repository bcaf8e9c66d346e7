# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option C(wanted), which every module that takes wanted models has."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  wanted:
    description:
      - The wanted models, as in the variable C(models_wanted).
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The name the model is served under. Up to 63 lower case letters, digits, dots, underscores and hyphens, a letter or digit first.
        type: str
        required: true
      source:
        description:
          - Where the model comes from, C(hf://OWNER/REPOSITORY), with C(@REVISION) behind it to pin a branch, tag or commit.
          - Or C(preset:NAME), a model that the collection knows by name, with the quant, context, kind, templates and stop words that it needs where the
            item gives none. The playbook choose_models shows all.
          - Or V(search), for a model that is searched for by O(wanted[].search). What was found is locked, and searched for again only when that is asked
            for, or when the policy changes.
          - Or C(https://HOST/PATH/FILE.gguf) together with O(wanted[].sha256). The URL becomes part of the lock, so it must hold no secret.
        type: str
        required: true
      quant:
        description:
          - The quant to choose among the files of a repository. A plain file is preferred over C(UD-) and C(i1-) ones unless the quant
            asks for these, as V(UD-Q4_K_M) does.
          - By default that of the preset, else V(Q4_K_M).
        type: str
      file:
        description:
          - Path of the file in the repository, instead of a choice by quant.
        type: str
      sha256:
        description:
          - What the model's first file must be. Required for an C(https://) source.
        type: str
      context:
        description:
          - Context in tokens, over all slots together. By default that of the preset, else V(4096).
        type: int
      slots:
        description:
          - How many requests the model answers at the same time.
        type: int
        default: 1
      kv_type:
        description:
          - Type of the key and value cache. The quantized ones need less memory.
        type: str
        choices: [f16, q8_0, q4_0]
        default: f16
      prompt_cache_mib:
        description:
          - Memory for prompts seen before, in MiB.
        type: int
        default: 256
      aliases:
        description:
          - Further names the model is served under, such as V(gpt-4).
        type: list
        elements: str
        default: []
      kind:
        description:
          - What the model is for. Read from the file's header by default.
        type: str
        choices: [chat, completion, embedding, rerank]
      replicas:
        description:
          - On how many servers the model runs. Every server by default.
        type: int
      hosts:
        description:
          - The only servers the model may run on. Any by default.
        type: list
        elements: str
        default: []
      labels:
        description:
          - Labels that a server must carry, all of them, to run the model.
        type: list
        elements: str
        default: []
      apart_from:
        description:
          - Names of wanted models that must not share a server with this one. It holds both ways.
          - A model that goes to every server goes to those that are left.
        type: list
        elements: str
        default: []
      residency:
        description:
          - V(resident) keeps the model loaded, with memory and threads of its own.
          - V(on_demand) loads it when it is asked for, in an instance that holds one model at a time. The memory of its two largest models is planned, since
            LocalAI may hold a second one for a moment, and the first answer takes the time of loading.
        type: str
        choices: [resident, on_demand]
        default: resident
      weight:
        description:
          - Expected share of the load against other models. Threads are given out by it, at least one each.
        type: float
        default: 1.0
      shards:
        description:
          - Over how many workers the model is split, for one that fits no server. Its server keeps what the workers do not hold.
        type: int
      template:
        description:
          - Prompt templates of LocalAI (Go templates). The file's own template by default.
        type: dict
        suboptions:
          chat:
            description: Template of a whole chat.
            type: str
          chat_message:
            description: Template of one message of a chat.
            type: str
          completion:
            description: Template of a completion.
            type: str
      stopwords:
        description:
          - Texts that end an answer.
        type: list
        elements: str
        default: []
      max_tokens:
        description:
          - Most tokens of an answer for a request that does not say.
        type: int
      vision:
        description:
          - Whether the model reads images. It then gets the projector of its own repository (C(mmproj-*.gguf)), which is locked, downloaded and planned
            with it.
        type: bool
        default: false
      projector:
        description:
          - Path of the projector in the repository, instead of a choice. It implies O(wanted[].vision).
          - V(none) keeps a model that could read images without its projector.
        type: str
      search:
        description:
          - With V(search) as O(wanted[].source), what is searched for, in the options of C(search) of M(localai.fleet.hf_gguf_info). The first
            that is found is taken.
        type: dict
"""
