"""Who copies an example inventory gets a plan: the real playbook against the real files, with this machine's capacity for every server.

The Hub is the lab's, with headers of the models' true shapes (the weights are holes in the files); the registry answers for the images.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import gguf_writer
import hub_repository
import pytest
import registry_server
import yaml

from tests.lab import hub

ROOT = Path(__file__).resolve().parents[3]
GIB = 1 << 30
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
NEEDED = 12 * GIB  # the larger example model and its contexts
# Repository → file, architecture, and layers, embedding, feed forward, heads, key-value heads, vocabulary, tied embeddings of the model.
MODELS = {
    "bartowski/Llama-3.2-1B-Instruct-GGUF": ("Llama-3.2-1B-Instruct-Q4_K_M.gguf", "llama", (16, 2048, 8192, 32, 8, 128_256, True)),
    "Qwen/Qwen3-8B-GGUF": ("Qwen3-8B-Q4_K_M.gguf", "qwen3", (36, 4096, 12_288, 32, 8, 151_936, False)),
}


def add(root: Path, repository: str) -> None:
    """The repository of one model; its digest is told, so that nobody reads gigabytes of holes."""
    name, architecture, (layers, embedding, feed_forward, heads, kv_heads, vocabulary, tied) = MODELS[repository]
    folder = root / repository
    folder.mkdir(parents=True)
    tensors = gguf_writer.dense_tensors(layers, embedding, feed_forward, vocabulary, tied=tied)
    narrow = embedding // heads * kv_heads
    for layer in range(layers):
        shapes = {"ffn_gate": (embedding, feed_forward), "ffn_down": (feed_forward, embedding), "attn_k": (embedding, narrow),
                  "attn_v": (embedding, narrow), "attn_output": (embedding, embedding)}
        tensors += [gguf_writer.Tensor(f"blk.{layer}.{part}.weight", shape, "Q4_K") for part, shape in shapes.items()]
    keys = gguf_writer.dense(architecture, layers, embedding, feed_forward, heads, kv_heads, vocabulary, context_length=131_072)
    stat = gguf_writer.write(folder / name, keys, tensors).stat()
    digests = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": f"{len(name):064x}", "oid": f"{len(name):040x}"}
    (folder / f".{name}.digests").write_text(json.dumps(digests))
    hub_repository.about(root, repository, license="other")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables that lead to a Hub with the examples' models and to a registry with the product's images."""
    for repository in MODELS:
        add(tmp_path / "hub", repository)
    images = yaml.safe_load((ROOT / "roles/common/vars/main.yml").read_text())["__common_images"]
    with hub.running(tmp_path / "hub") as models, registry_server.running() as registry:
        for image in images.values():
            registry.put_image(image["name"].partition("/")[2], str(image["version"]))
        yield {"models_hub_endpoint": models.url, "common_image_registry": registry.address}


@pytest.mark.skipif(MEMORY < NEEDED, reason=f"this machine stands for the example's servers and has less than {NEEDED // GIB} GiB of memory")
@pytest.mark.parametrize(("name", "servers"), [("single", 1), ("fleet", 3)])
def test_a_copied_inventory_gets_a_plan(tmp_path: Path, outside: dict[str, str], name: str, servers: int) -> None:
    here = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable,
            "common_lock_path": str(tmp_path / "fleet.lock.yml"), "common_plan_path": str(tmp_path / "fleet.plan"), **outside}
    (tmp_path / "here.yml").write_text(yaml.safe_dump({"all": {"vars": here}}))
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", ROOT / "inventories" / name / "hosts.yml", "-i", tmp_path / "here.yml",
               ROOT / "playbooks" / "plan.yml"]
    done = subprocess.run(
        command, cwd=ROOT, check=False, timeout=240, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true", "ANSIBLE_FORCE_COLOR": "false"})
    assert done.returncode == 0, done.stdout[-4000:]
    wanted = yaml.safe_load((ROOT / "inventories" / name / "group_vars" / "localai" / "main.yml").read_text())["models_wanted"]
    assert set(yaml.safe_load((tmp_path / "fleet.lock.yml").read_text())["models"]) == {model["name"] for model in wanted}
    placed = set(re.findall(r"(ai\d\.example\.com) +(\S+) +\d", done.stdout))
    assert {model for _host, model in placed} == {model["name"] for model in wanted}
    assert len(placed) == sum(model.get("replicas", servers) for model in wanted)
