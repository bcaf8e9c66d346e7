"""Entries of `options:` in a model file, and what a model file becomes as arguments of llama-server.

Defaults are those of LocalAI's llama.cpp engine, not llama-server's own: one slot, one unified cache, batch and micro-batch 512, prompt
cache without a limit, 32 checkpoints at least 256 tokens apart, batch threads equal to threads.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

SWITCHES_ON = {"true", "1", "on", "yes", "enabled"}
SWITCHES_OFF = {"false", "0", "off", "no", "disabled"}

_ALIASES = {
    "n_parallel": "parallel", "unified_kv": "kv_unified", "n_cache_reuse": "cache_reuse", "ubatch": "n_ubatch", "jinja": "use_jinja",
    "pooling": "pooling_type", "enable_reasoning": "reasoning_budget", "rpc_servers": "grpc_servers",
}
# name → flag of llama-server that takes the value as it is
_VALUES = {
    "parallel": "--parallel", "cache_ram": "--cache-ram", "cache_reuse": "--cache-reuse", "n_ctx_checkpoints": "--ctx-checkpoints",
    "checkpoint_min_step": "--checkpoint-min-step", "n_ubatch": "--ubatch-size", "threads_batch": "--threads-batch", "pooling_type": "--pooling",
    "embd_normalize": "--embd-normalize", "reasoning_format": "--reasoning-format", "reasoning_budget": "--reasoning-budget",
    "fit_params_target": "--fit-target", "fit_params_min_ctx": "--fit-ctx", "slot_prompt_similarity": "--slot-prompt-similarity",
    "verbosity": "--verbosity", "n_cpu_moe": "--n-cpu-moe", "override_tensor": "--override-tensor", "device": "--device", "split_mode": "--split-mode",
    "spec_type": "--spec-type", "spec_p_split": "--spec-draft-p-split", "spec_p_min": "--spec-draft-p-min",
    "image_min_tokens": "--image-min-tokens", "image_max_tokens": "--image-max-tokens", "spec_n_max": "--spec-draft-n-max", "spec_n_min": "--spec-draft-n-min",
}
# name → (flag when true, flag when false)
_SWITCHES: dict[str, tuple[Optional[str], Optional[str]]] = {
    "kv_unified": ("--kv-unified", "--no-kv-unified"), "cache_idle_slots": ("--cache-idle-slots", "--no-cache-idle-slots"),
    "context_shift": ("--context-shift", "--no-context-shift"), "cont_batching": ("--cont-batching", "--no-cont-batching"),
    "use_jinja": ("--jinja", "--no-jinja"), "prefill_assistant": ("--prefill-assistant", "--no-prefill-assistant"), "swa_full": ("--swa-full", None),
    "warmup": ("--warmup", "--no-warmup"), "check_tensors": ("--check-tensors", None), "no_op_offload": ("--no-op-offload", None),
    "cpu_moe": ("--cpu-moe", None),
}
_OWN = {"direct_io", "fit_params"}
# Known to LocalAI; they need a GPU, a draft model, or are said to be broken there.
ABSENT = {"mmproj_use_gpu", "n_rs_seq", "grpc_servers"}
_ABSENT_PREFIXES = ("draft_", "spec_ngram_", "spec_lookup_cache_")

DEFAULTS = {
    "parallel": "1", "kv_unified": "true", "cache_ram": "-1", "cache_idle_slots": "true", "cache_reuse": "256",
    "n_ctx_checkpoints": "32", "checkpoint_min_step": "256", "context_shift": "false", "cont_batching": "true", "warmup": "true",
}


class OptionError(ValueError):
    """An entry of `options:` that LocalAI or this stand-in does not know."""


@dataclass(frozen=True)
class EngineOptions:
    """`named`: entries by their first name, as text; `raw`: flags for llama-server, given last so that they win."""

    named: Mapping[str, str]
    raw: tuple[str, ...] = ()

    def text(self, name: str) -> str:
        """The entry's value, else LocalAI's default, else ""."""
        return self.named.get(name, DEFAULTS.get(name, ""))

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.text(name).lower() in SWITCHES_ON


def parse(entries: Sequence[str]) -> EngineOptions:
    """Read `options:`. Raises `OptionError` naming the entry."""
    named: dict[str, str] = {}
    raw: list[str] = []
    for entry in entries:
        if entry.startswith("-"):
            flag, value = entry.partition(":")[::2]
            raw += [flag, value] if value else [flag]
            continue
        name, given, value = entry.partition(":")
        name = _ALIASES.get(name.strip(), name.strip())
        _check(entry, name, value if given else "true")
        named[name] = value if given else "true"
    return EngineOptions(named, tuple(raw))


def _check(entry: str, name: str, value: str) -> None:
    if name in ABSENT or name.startswith(_ABSENT_PREFIXES):
        raise OptionError(f"option {entry!r} is known to LocalAI v4.9, but this stand-in has no such feature")
    if name in _SWITCHES or name in _OWN:
        if value.lower() not in SWITCHES_ON | SWITCHES_OFF:
            raise OptionError(f"option {entry!r} takes true or false")
    elif name not in _VALUES:
        raise OptionError(f"option {entry!r} is unknown to LocalAI v4.9")


@dataclass(frozen=True)
class EngineSetup:
    """What the options are joined with: the rest of the model file, defaults filled in."""

    model: str
    threads: int
    context: int
    batch: int
    options: EngineOptions
    cache_type_k: str = ""
    cache_type_v: str = ""
    flash_attention: str = "auto"
    load_mode: str = "mmap"
    parallel_default: str = ""
    jinja: bool = False
    embeddings: bool = False
    reranking: bool = False
    projector: str = ""
    extra: tuple[str, ...] = ()


def arguments(setup: EngineSetup) -> list[str]:
    """Arguments of llama-server for `setup`, raw flags last."""
    options = setup.options
    named = {**DEFAULTS, "n_ubatch": str(setup.batch), "threads_batch": str(setup.threads), "use_jinja": str(setup.jinja).lower()}
    if setup.parallel_default:
        named["parallel"] = setup.parallel_default
    named.update(options.named)
    if named["cache_ram"] == "0" or named["kv_unified"].lower() in SWITCHES_OFF:
        named["cache_idle_slots"] = "false"
    result = [
        "--model", setup.model, "--threads", str(setup.threads), "--ctx-size", str(setup.context), "--batch-size", str(setup.batch),
        "--flash-attn", setup.flash_attention, "--load-mode", "dio" if options.on("direct_io") else setup.load_mode,
    ]
    result += [part for flag, value in (("-ctk", setup.cache_type_k), ("-ctv", setup.cache_type_v)) if value for part in (flag, value)]
    result += [flag for flag, wanted in (("--embeddings", setup.embeddings), ("--reranking", setup.reranking)) if wanted]
    result += ["--mmproj", setup.projector] if setup.projector else []
    result += [part for name in sorted(named) for part in _flags(name, named[name])]
    return [*result, *setup.extra, "--no-ui", "--offline", *options.raw]


def _flags(name: str, value: str) -> list[str]:
    if name in _SWITCHES:
        flag = _SWITCHES[name][0 if value.lower() in SWITCHES_ON else 1]
        return [flag] if flag else []
    if name == "fit_params":
        return ["--fit", "on" if value.lower() in SWITCHES_ON else "off"]
    return [_VALUES[name], value] if name in _VALUES else []
