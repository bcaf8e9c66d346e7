"""The models that the server knows: what it read at start and at each reload, and how a request's name is resolved."""
from __future__ import annotations

import random
import re
import threading
from pathlib import Path
from typing import Optional

from . import log
from .configs import BrokenFile, ConfigError, ModelConfig, read_file
from .errors import RequestError
from .settings import Settings

_SKIPPED = (
    ".tmpl", ".keep", ".yaml", ".yml", ".json", ".txt", ".pt", ".onnx", ".md", ".ds_store", ".", ".safetensors", ".bin", ".gguf", ".ggml",
    ".ckpt", ".zip", ".tag", ".bak", ".partial", ".tar.gz",
)


class Catalog:
    """Model configurations by name. Reading is additive: a file that is gone stays known until the next start."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._configs: dict[str, ModelConfig] = {}
        self._lock = threading.Lock()

    def read_all(self) -> None:
        """Read every model file of the directory, in the order of their names. Raises `ConfigError`."""
        for path in sorted(self._settings.models.iterdir(), key=lambda item: item.name):
            if path.suffix in (".yaml", ".yml") and not path.name.startswith("."):
                self._read(path)

    def _read(self, path: Path) -> None:
        try:
            found = read_file(path)
        except BrokenFile as problem:
            log.error(str(problem))
            return
        with self._lock:
            self._configs.update({config.name: config for config in found})

    def forget(self, name: str) -> None:
        """Drop one entry from memory."""
        with self._lock:
            self._configs.pop(name, None)

    def configs(self) -> dict[str, ModelConfig]:
        """A copy of what is known."""
        with self._lock:
            return dict(self._configs)

    def names(self) -> list[str]:
        """What /v1/models lists: configured names and loose files, in no order."""
        found = list(self.configs())
        found += [name for name in self._loose_files() if name not in found]
        random.shuffle(found)
        return found

    def _loose_files(self) -> list[str]:
        weights = {config.model for config in self.configs().values()}
        return [
            path.name for path in self._settings.models.iterdir()
            if path.is_file() and not path.name.lower().endswith(_SKIPPED) and ".bak" not in path.name
            and path.name not in weights | {"README", "MODEL_CARD"}
        ]

    def aliases(self) -> list[dict[str, str]]:
        """Every alias with its target."""
        return [{"name": config.name, "target": config.alias} for config in self.configs().values() if config.alias]

    def resolve(self, name: str) -> ModelConfig:
        """The configuration that serves `name`; "" is any model. Raises `RequestError`."""
        config = self._find(name or self._any())
        if config.alias:
            config = self._target(config)
        if config.get("disabled"):
            raise RequestError(403, f'model "{config.name}" is disabled', "invalid_request_error")
        return config

    def own(self, name: str) -> ModelConfig:
        """The configuration of this very name: an alias is followed nowhere here, and has nothing to load. Raises `RequestError`."""
        config = self._find(name)
        if config.alias:
            raise RequestError(500, f"failed to load model: backend not found for {name}")
        return config

    def _any(self) -> str:
        names = self.names()
        if not names:
            raise RequestError(404, "no model is available", "invalid_request_error")
        return names[0]

    def _find(self, name: str) -> ModelConfig:
        found = self.configs().get(name) or self._lazy(name)
        if found:
            return found
        if not self._exists(name):
            raise RequestError(404, f'model "{name}" not found. To see available models, call GET /v1/models', "invalid_request_error")
        return ModelConfig(name)

    def _lazy(self, name: str) -> Optional[ModelConfig]:
        """A file NAME.yaml that came after the last reading serves its model at once."""
        path = self._settings.models / f"{name}.yaml"
        if "/" in name or not path.is_file():
            return None
        try:
            self._read(path)
        except ConfigError as problem:
            log.error(str(problem))
            raise RequestError(500, str(problem)) from problem
        return self.configs().get(name)

    def _exists(self, name: str) -> bool:
        """LocalAI takes the name as an unanchored pattern over what it lists, then as a file; a name with a slash is not checked."""
        if "/" in name:
            return True
        try:
            pattern = re.compile(name)
        except re.error:
            pattern = None
        if pattern and any(pattern.search(known) for known in self.names()):
            return True
        return (self._settings.models / name).is_file()

    def _target(self, config: ModelConfig) -> ModelConfig:
        target = self.configs().get(config.alias)
        if target is None:
            raise RequestError(400, f'alias "{config.name}" points to unknown model "{config.alias}"', "invalid_request_error")
        if target.alias:
            raise RequestError(400, f'alias "{config.name}" points to alias "{config.alias}": chains are not allowed', "invalid_request_error")
        return target
