"""Model files: read strictly, one `ModelConfig` for each entry."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional

import yaml

from . import gguf, gotemplate, options, schema
from .environment import ABSENT
from .options import EngineOptions, EngineSetup
from .settings import Settings

BACKEND = "llama-cpp"
_LEGACY = {"": BACKEND, "llama": BACKEND, "go-llama": BACKEND}
_BACKEND_NAME = re.compile(r"[A-Za-z0-9_-]+")
_DEFAULT_CONTEXT = 8192
_FALLBACK_CONTEXT = 4096
_DEFAULT_BATCH = 512


class _Loader(yaml.SafeLoader):
    """YAML as Go's library reads it: on, off, yes and no are texts, until a switch takes them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF"))
_SWITCH_TEXTS = {"on": True, "yes": True, "y": True, "off": False, "no": False, "n": False}


class ConfigError(Exception):
    """A model file says something that LocalAI or this stand-in does not know; the text names the file and the key."""


class BrokenFile(Exception):
    """A model file that LocalAI logs and skips: not readable, or not YAML."""


@dataclass(frozen=True)
class ModelConfig:
    """One model. `raw` is the entry as written; `name` its name or, for a file without configuration, the file name."""

    name: str
    raw: Mapping[str, Any] = field(default_factory=dict)
    engine: EngineOptions = field(default_factory=lambda: EngineOptions({}))
    templates: Mapping[str, gotemplate.Template] = field(default_factory=dict)

    @property
    def alias(self) -> str:
        return self.raw.get("alias", "")

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.raw.get("parameters") or {}

    @property
    def model(self) -> str:
        """The weights, relative to the models directory."""
        return self.parameters.get("model", "")

    @property
    def backend(self) -> str:
        name = self.raw.get("backend", "")
        return _LEGACY.get(name, name)

    @property
    def limits(self) -> Mapping[str, int]:
        return self.raw.get("limits") or {}

    def get(self, key: str, default: Any = None) -> Any:
        """A top-level key; a null counts as not set."""
        value = self.raw.get(key)
        return default if value is None else value


def read_file(path: Path) -> list[ModelConfig]:
    """The entries of one file. Raises `BrokenFile` for what LocalAI skips, `ConfigError` for what this stand-in refuses."""
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except OSError as problem:
        raise BrokenFile(f'readModelConfigsFromFile cannot read config file "{path}": {problem}') from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise BrokenFile(f'readModelConfigsFromFile cannot unmarshal config file "{path}": {problem}') from problem
    entries = found if isinstance(found, list) else [found]
    if not all(isinstance(entry, dict) for entry in entries):
        raise BrokenFile(f'readModelConfigsFromFile cannot unmarshal config file "{path}": a mapping is wanted')
    return [read_entry(entry, str(path)) for entry in entries]


def read_entry(entry: Mapping[str, Any], where: str) -> ModelConfig:
    """One entry, checked. Raises `ConfigError`."""
    entry = _checked(entry, schema.TOP, where, "")
    for block, keys in (("parameters", schema.PARAMETERS), ("template", schema.TEMPLATE), ("limits", schema.LIMITS)):
        if block in entry:
            entry[block] = _checked(entry[block], keys, where, block + ".")
    _check_texts(entry, where)
    _check_rules(entry, where)
    try:
        engine = options.parse(entry.get("options", []))
        templates = {name: gotemplate.parse(text) for name, text in _template_texts(entry).items()}
    except (options.OptionError, gotemplate.TemplateError) as problem:
        raise ConfigError(f"{where}: {problem}") from None
    return ModelConfig(entry.get("name", ""), entry, engine, templates)


def _template_texts(entry: Mapping[str, Any]) -> dict[str, str]:
    block = entry.get("template", {})
    return {name: block[name] for name in ("chat", "chat_message", "completion") if block.get(name)}


def _checked(block: Mapping[str, Any], known: schema.Keys, where: str, prefix: str) -> dict[str, Any]:
    """The block with every value of the type its key takes; nulls are left out. Raises `ConfigError`."""
    found = {}
    for key, value in block.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {prefix}{key} (LocalAI v4.9 would ignore it without a word)")
        support, kind = known[key]
        if support == ABSENT and value not in (None, "", False, 0, [], {}):
            raise ConfigError(f"{where}: {prefix}{key} is known to LocalAI v4.9, but this stand-in has no such feature")
        if value is not None:
            found[key] = _converted(value, kind, f"{where}: {prefix}{key}")
    return found


def _converted(value: Any, kind: str, where: str) -> Any:
    if kind == schema.TEXT and isinstance(value, (int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind == schema.SWITCH and isinstance(value, str) and value.lower() in _SWITCH_TEXTS:
        return _SWITCH_TEXTS[value.lower()]
    kinds = schema.TYPES[kind]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
        raise ConfigError(f"{where} takes {kind}, got {value!r}")
    return value


def _check_texts(entry: Mapping[str, Any], where: str) -> None:
    for key in ("options", "stopwords", "known_usecases"):
        for item in entry.get(key) or []:
            if not isinstance(item, str):
                raise ConfigError(f"{where}: {key} takes texts, got {item!r}")
    for usecase in entry.get("known_usecases") or []:
        if usecase.removeprefix("FLAG_").lower() not in schema.USECASES:
            raise ConfigError(f"{where}: known_usecases: {usecase!r} is not one of LocalAI's use cases")


def _check_rules(entry: Mapping[str, Any], where: str) -> None:
    model = (entry.get("parameters") or {}).get("model") or ""
    if entry.get("alias"):
        if set(entry) - {"name", "alias", "description"}:
            raise ConfigError(f"{where}: an alias takes a name and nothing else, got {', '.join(sorted(set(entry) - {'name', 'alias'}))}")
        if entry["alias"] == entry.get("name"):
            raise ConfigError(f"{where}: alias {entry['alias']!r} points to itself")
    for key, path in (("parameters.model", model), ("mmproj", entry.get("mmproj") or "")):
        if path.startswith("/") or ".." in path:
            raise ConfigError(f"{where}: {key} {path!r} must lie inside the models directory")
    if entry.get("backend") and not _BACKEND_NAME.fullmatch(entry["backend"]):
        raise ConfigError(f"{where}: backend {entry['backend']!r} is not a backend name")
    for key in ("cache_type_k", "cache_type_v"):
        if (entry.get(key) or "") not in schema.CACHE_TYPES:
            raise ConfigError(f"{where}: {key} {entry[key]!r} is not a cache type")
    if (entry.get("flash_attention") or "") not in schema.FLASH_ATTENTION:
        raise ConfigError(f"{where}: flash_attention {entry['flash_attention']!r} is not on, off or auto")


def uses_tokenizer_template(config: ModelConfig, settings: Settings) -> bool:
    """Whether the GGUF's own chat template is used: asked for, or no template in the YAML and the file brings one."""
    block = config.raw.get("template") or {}
    if "use_tokenizer_template" in block:
        return bool(block["use_tokenizer_template"])
    if config.templates or settings["DISABLE_GUESSING"] or config.backend != BACKEND:
        return False
    return gguf.guess(settings.models / (config.model or config.name)).chat_template


def engine_setup(config: ModelConfig, settings: Settings) -> EngineSetup:
    """The engine's settings for one model, LocalAI's defaults filled in."""
    weights = settings.models / (config.model or config.name)
    context = _context(config, settings, weights)
    embeddings, reranking = bool(config.get("embeddings")), bool(config.get("reranking"))
    batch = config.parameters.get("batch") or (context if embeddings or reranking else _DEFAULT_BATCH)
    return EngineSetup(
        model=str(weights),
        threads=config.get("threads", 0) or settings.threads,
        context=context,
        batch=batch,
        options=config.engine,
        cache_type_k=config.get("cache_type_k", ""),
        cache_type_v=config.get("cache_type_v", ""),
        flash_attention=schema.FLASH_ATTENTION[config.get("flash_attention", "")],
        load_mode="mlock" if config.get("mmlock") else "mmap" if config.get("mmap", True) else "none",
        parallel_default=settings.engine_environment.get("LLAMACPP_PARALLEL", ""),
        jinja=uses_tokenizer_template(config, settings),
        embeddings=embeddings,
        reranking=reranking,
        projector=str(settings.models / config.get("mmproj")) if config.get("mmproj") else "",
        extra=tuple(_extra(config, weights)),
    )


def _context(config: ModelConfig, settings: Settings, weights: Path) -> int:
    """Tokens: the model file, else the environment, else min(trained, 8192), else 4096; -1 is the trained length (llama-server's 0)."""
    wanted: Optional[int] = config.get("context_size", 0) or settings["CONTEXT_SIZE"] or None
    if wanted is not None:
        return 0 if wanted < 0 else wanted
    if settings["DISABLE_GUESSING"] or config.backend != BACKEND:
        return _FALLBACK_CONTEXT
    return min(gguf.guess(weights).context, _DEFAULT_CONTEXT) or _FALLBACK_CONTEXT


_EXTRA = {
    "rope_scaling": "--rope-scaling", "yarn_ext_factor": "--yarn-ext-factor", "yarn_attn_factor": "--yarn-attn-factor",
    "yarn_beta_fast": "--yarn-beta-fast", "yarn_beta_slow": "--yarn-beta-slow", "gpu_layers": "--gpu-layers", "tensor_split": "--tensor-split",
    "main_gpu": "--main-gpu",
}


def _extra(config: ModelConfig, weights: Path) -> list[str]:
    found = [part for key, flag in _EXTRA.items() if config.get(key) is not None for part in (flag, str(config.get(key)))]
    for key, flag in (("rope_freq_base", "--rope-freq-base"), ("rope_freq_scale", "--rope-freq-scale")):
        if config.parameters.get(key):
            found += [flag, str(config.parameters[key])]
    if config.get("numa"):
        found += ["--numa", "distribute"]
    if config.get("no_kv_offloading"):
        found.append("--no-kv-offload")
    if config.get("lora_adapter") and config.get("lora_base"):
        found += ["--lora-scaled", f"{weights.parent / config.get('lora_adapter')}:{config.get('lora_scale', 1)}"]
    pooling = config.parameters.get("pooling", "backend")
    if pooling != "backend" and "pooling_type" not in config.engine.named:
        found += ["--pooling", pooling]
    return found
