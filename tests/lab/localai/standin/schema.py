"""Keys of a model file by name, with the type each takes and what this stand-in does with it (see environment.py for the words)."""
from __future__ import annotations

from .environment import ABSENT, INERT, USED

TEXT, NUMBER, INTEGER, SWITCH, TEXTS, MAPPING, ANY = "text", "number", "integer", "boolean", "list of texts", "mapping", "anything"

TYPES: dict[str, tuple[type, ...]] = {TEXT: (str,), NUMBER: (int, float), INTEGER: (int,), SWITCH: (bool,), TEXTS: (list,), MAPPING: (dict,), ANY: (object,)}

Keys = dict[str, tuple[str, str]]


def _keys(support: str, kind: str, *names: str) -> Keys:
    return {name: (support, kind) for name in names}


TOP: Keys = {
    **_keys(USED, TEXT, "name", "alias", "backend", "flash_attention", "cache_type_k", "cache_type_v", "system_prompt", "grammar", "reasoning_effort"),
    **_keys(USED, TEXT, "rope_scaling", "lora_adapter", "lora_base", "tensor_split", "main_gpu", "mmproj"),
    **_keys(USED, INTEGER, "threads", "context_size", "gpu_layers", "mirostat"),
    **_keys(USED, NUMBER, "lora_scale", "mirostat_eta", "mirostat_tau", "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"),
    **_keys(USED, SWITCH, "f16", "embeddings", "reranking", "mmap", "mmlock", "numa", "no_kv_offloading", "disabled"),
    **_keys(USED, TEXTS, "options", "stopwords"),
    **_keys(USED, MAPPING, "parameters", "template", "limits", "roles", "chat_template_kwargs"),
    **_keys(INERT, TEXT, "description", "usage"),
    **_keys(INERT, SWITCH, "debug", "low_vram", "prompt_cache_all", "prompt_cache_ro", "pinned"),
    **_keys(INERT, TEXTS, "known_usecases", "known_input_modalities", "known_output_modalities"),
    **_keys(INERT, MAPPING, "grpc", "feature_flags"),
    **_keys(ABSENT, TEXT, "prompt_cache_path", "draft_model", "quantization", "type"),
    **_keys(ABSENT, INTEGER, "n_draft", "ngqa", "step"),
    **_keys(ABSENT, NUMBER, "rms_norm_eps", "cfg_scale"),
    **_keys(ABSENT, SWITCH, "no_mulmatq", "cuda"),
    **_keys(
        ABSENT, ANY, "lora_adapters", "lora_scales", "overrides", "cutstrings", "extract_regex", "trimspace", "trimsuffix", "function", "reasoning",
        "download_files", "artifacts", "concurrency_groups", "compression", "mcp", "agent", "pii", "pii_detection", "router", "proxy", "mitm",
        "pipeline", "engine_args", "diffusers", "tts", "gpu_memory_utilization", "trust_remote_code", "enforce_eager", "swap_space",
        "max_model_len", "tensor_parallel_size", "disable_log_stats", "dtype", "limit_mm_per_prompt", "load_format",
    ),
}

PARAMETERS: Keys = {
    **_keys(USED, TEXT, "model", "pooling"),
    **_keys(USED, INTEGER, "top_k", "max_tokens", "batch", "repeat_last_n", "n_keep", "seed"),
    **_keys(USED, NUMBER, "top_p", "min_p", "temperature", "repeat_penalty", "frequency_penalty", "presence_penalty", "typical_p"),
    **_keys(USED, NUMBER, "rope_freq_base", "rope_freq_scale"),
    **_keys(USED, SWITCH, "ignore_eos"),
    **_keys(INERT, INTEGER, "n", "pooling_half_life_tokens"),
    **_keys(INERT, SWITCH, "echo"),
    **_keys(ABSENT, TEXT, "language", "negative_prompt", "tokenizer", "encoding_format"),
    **_keys(ABSENT, ANY, "translate", "tfz", "logprobs", "top_logprobs", "logit_bias", "negative_prompt_scale", "clip_skip"),
}

TEMPLATE: Keys = {
    **_keys(USED, TEXT, "chat", "chat_message", "completion", "join_chat_messages_by_character"),
    **_keys(USED, SWITCH, "use_tokenizer_template"),
    **_keys(ABSENT, TEXT, "edit", "function", "multimodal", "reply_prefix"),
}

LIMITS: Keys = _keys(USED, INTEGER, "max_concurrent", "retry_after_seconds")

CACHE_TYPES = {"", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"}
FLASH_ATTENTION = {"": "auto", "auto": "auto", "on": "on", "enabled": "on", "off": "off", "disabled": "off"}
USECASES = set(
    "chat completion edit embeddings rerank image transcript tts sound_generation tokenize vad llm video detection vision face_recognition "
    "speaker_recognition audio_transform diarization sound_classification realtime_audio score depth token_classify 3d".split()
)
