"""Headers of known models, made from their numbers."""
from __future__ import annotations

from typing import Any

from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header, TensorGroup


def model(architecture: str, layers: int, embedding: int, feed_forward: Any = None, heads: Any = None, kv: Any = None, size: int | None = None,
          vocabulary: int = 0, tensors: Any = None, tokenizer: str = "gpt2", file_size: int | None = None, **more: Any) -> Header:
    """A header from its numbers; `more` are further keys, `__` stands for a dot."""
    keys = {"block_count": layers, "embedding_length": embedding, "feed_forward_length": feed_forward, "attention.head_count": heads,
            "attention.head_count_kv": kv, "attention.key_length": size, "attention.value_length": size}
    keys.update({name.replace("__", "."): item for name, item in more.items()})
    return Header(version=3, architecture=architecture, parameters={name: item for name, item in keys.items() if item is not None},
                  vocab_size=vocabulary, tokenizer_model=tokenizer, tensors=tensors, file_size=file_size)


GEMMA_270M = model("gemma3", 18, 640, 2048, 4, 1, 256, 262_144, attention__sliding_window=512, tokenizer="llama")
GEMMA_1B = model("gemma3", 26, 1152, 6912, 4, 1, 256, 262_144, attention__sliding_window=512, tokenizer="llama")
GEMMA_4B = model("gemma3", 34, 2560, 10_240, 8, 4, 256, 262_144, attention__sliding_window=1024, tokenizer="llama")
LLAMA_1B = model("llama", 16, 2048, 8192, 32, 8, 64, 128_256)
LLAMA_8B = model("llama", 32, 4096, 14_336, 32, 8, 128, 128_256)
PHI_2 = model("phi2", 32, 2560, 10_240, 32, 32, 80, 51_200, tensors=(TensorGroup("F16", "matrix", 32, 4 * 32, 2 * 2_516_582_400),))
QWEN_06B = model("qwen3", 28, 1024, 3072, 16, 8, 128, 151_936)
QWEN_4B = model("qwen3", 36, 2560, 9728, 32, 8, 128, 151_936)
QWEN_8B = model("qwen3", 36, 4096, 12_288, 32, 8, 128, 151_936)
QWEN_30B = model("qwen3moe", 48, 2048, 6144, 32, 4, 128, 151_936, expert_count=128, expert_used_count=8, expert_feed_forward_length=768)
GPT_OSS = model("gpt-oss", 24, 2880, 2880, 64, 8, 64, 201_088, expert_count=32, expert_used_count=4, expert_feed_forward_length=2880,
                attention__sliding_window=128)
DEEPSEEK_LITE = model("deepseek2", 27, 2048, 10_944, 16, 1, 576, 102_400, expert_count=64, expert_used_count=6, expert_feed_forward_length=1408,
                      leading_dense_block_count=1, attention__kv_lora_rank=512, attention__key_length_mla=192, attention__value_length_mla=128,
                      rope__dimension_count=64)
OLMOE = model("olmoe", 16, 2048, 1024, 16, 16, 128, 50_304, expert_count=64, expert_used_count=8)
MAMBA = model("mamba", 24, 1024, 0, 0, 0, None, 50_280, ssm__conv_kernel=4, ssm__inner_size=2048, ssm__state_size=16, ssm__time_step_rank=64)
QWEN35 = model("qwen35", 24, 1024, 3584, 8, 2, 256, 248_320, ssm__conv_kernel=4, ssm__inner_size=2048, ssm__state_size=128, ssm__group_count=16,
               ssm__time_step_rank=16, full_attention_interval=4)
BERT = model("bert", 12, 384, 1536, 12, None, None, 30_522, tokenizer="bert", attention__causal=False)

KNOWN = {name: value for name, value in list(globals().items()) if isinstance(value, Header)}
"""All of them by name."""
