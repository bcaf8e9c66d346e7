"""Images of the LocalAI stand-in: the server, and the llama.cpp backend that it loads from a mounted directory.

Both have the layout of the images they stand in for, so that nothing outside the lab can tell them apart by it.
"""
from __future__ import annotations

from pathlib import Path

from ..recipe import Recipe

HERE = Path(__file__).parent
VERSION = "v4.9.0"

_PACKAGE = "/usr/lib/local-ai/standin"

SERVER = Recipe(
    name="localai",
    suite="trixie",
    packages=("python3", "python3-yaml", "curl", "ca-certificates"),
    hooks=('install -d -m 0755 "$1/models" "$1/backends" "$1/data" "$1/run/localai"; echo default > "$1/run/localai/capability"',),
    files={
        "/entrypoint.sh": (HERE / "entrypoint.sh", 0o755),
        "/healthcheck.sh": (HERE / "healthcheck.sh", 0o755),
        "/local-ai": (HERE / "local-ai", 0o755),
        **{f"{_PACKAGE}/{path.name}": (path, 0o644) for path in sorted((HERE / "standin").glob("*.py"))},
    },
    entrypoint=("/entrypoint.sh",),
    env={"HEALTHCHECK_ENDPOINT": "", "BUILD_TYPE": "", "PYTHONDONTWRITEBYTECODE": "1"},
    volumes=("/models", "/backends", "/configuration", "/data"),
    ports=("8080/tcp",),
)

_ENGINE = "/usr/bin/llama-server"
_RPC_SERVER = "/usr/libexec/x86_64-linux-gnu/llama/bin/ggml-rpc-server"
_GGML = "/usr/lib/x86_64-linux-gnu/ggml/backends0"

BACKEND = Recipe(
    name="llama-cpp",
    suite="forky",
    packages=("llama.cpp", "llama.cpp-tools", "llama.cpp-tools-extra", "libggml0-backend-rpc"),
    hooks=(
        'install -d -m 0755 "$1/backend/lib"',
        f'chroot "$1" sh -ec \'cp {_ENGINE} /backend/llama-cpp-cpu-all; cp {_ENGINE} /backend/llama-cpp-grpc; '
        f"cp {_RPC_SERVER} /backend/llama-cpp-rpc-server; cp {_GGML}/libggml-*.so /backend/lib/'",
        f'chroot "$1" sh -ec \'ldd {_ENGINE} {_RPC_SERVER} {_GGML}/*.so | grep -o "/[^ ]*[.]so[^ ]*" | grep -v : | sort -u | '
        "while read -r file; do cp -L \"$file\" /backend/lib/; done; mv /backend/lib/ld-linux-x86-64.so.2 /backend/lib/ld.so'",
    ),
    subtree="/backend",
    files={"/run.sh": (HERE / "backend" / "run.sh", 0o755)},
    command=("/run.sh",),
)

RECIPES = (SERVER, BACKEND)
