# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Publishers that are known by name, and owners that only look like one of them. Pure."""
from __future__ import annotations

import re

PUBLISHERS = ("ggml-org", "bartowski", "unsloth", "lmstudio-community", "mradermacher", "MaziyarPanahi", "QuantFactory", "DevQuasar", "TheBloke")
"""Who quantizes models of others with care, in order of preference where a policy names nobody."""
MAKERS = (
    "01-ai", "ai21labs", "allenai", "apple", "arcee-ai", "BAAI", "baidu", "bigcode", "bigscience", "ByteDance-Seed", "codellama", "CohereLabs", "databricks",
    "deepseek-ai", "EleutherAI", "facebook", "google", "HuggingFaceTB", "ibm-granite", "inclusionAI", "internlm", "intfloat", "jinaai", "LGAI-EXAONE",
    "LiquidAI", "meta-llama", "microsoft", "MiniMaxAI", "mistralai", "mixedbread-ai", "moonshotai", "nomic-ai", "NousResearch", "nvidia", "openai", "openbmb",
    "Qwen", "Snowflake", "stabilityai", "swiss-ai", "tencent", "tiiuae", "upstage", "zai-org",
)
"""Who makes models. A list for look-alikes, not of whom to trust."""
KNOWN = (*PUBLISHERS, *MAKERS)

_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "3": "e", "5": "s", "8": "b", "-": "", "_": "", ".": ""})
_SUFFIX = re.compile(r"[-_.]?(?:official|original|real|org|team|hf|gguf|ai)$")
_LONG_ENOUGH = 6


def rank(owner: str) -> int:
    """Place of an owner among PUBLISHERS, the first is 0; all others share the last place."""
    names = [name.lower() for name in PUBLISHERS]
    return names.index(owner.lower()) if owner.lower() in names else len(names)


def looks_like(owner: str) -> str | None:
    """The known name that an owner's name imitates (unsl0th, bartowskl, mistral-ai, qwen-official); None for a known name and for all others."""
    low = owner.lower()
    if low in (name.lower() for name in KNOWN):
        return None
    for name in KNOWN:
        mine, theirs = _folded(low), _folded(name.lower())
        if mine == theirs or _folded(_SUFFIX.sub("", low)) in (theirs, _folded(_SUFFIX.sub("", name.lower()))):
            return name
        if len(theirs) >= _LONG_ENOUGH and _one_apart(mine, theirs):
            return name
    return None


def _folded(name: str) -> str:
    """One spelling for names that look the same."""
    return name.replace("rn", "m").replace("vv", "w").translate(_ALIKE)


def _one_apart(one: str, other: str) -> bool:
    """Whether one letter is changed, missing, too many, or two neighbours have changed places."""
    if abs(len(one) - len(other)) > 1 or one == other:
        return False
    short, long = sorted((one, other), key=len)
    at = next((index for index, letter in enumerate(short) if letter != long[index]), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1:]
    rest = one[at + 1:] == other[at + 1:]
    return rest or (one[at:at + 2] == other[at:at + 2][::-1] and one[at + 2:] == other[at + 2:])
