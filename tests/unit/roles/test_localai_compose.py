"""The Compose project of LocalAI for hosts with several instances, rendered by Ansible itself."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fleets
import pytest
import yaml
from ansible_collections.localai.fleet.plugins.module_utils._handover import routes
from ansible_collections.localai.fleet.plugins.module_utils._needs import settings_of

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "localai"
DIGEST = "registry.example.com/local-ai@sha256:" + "1" * 64


def instance(name: str, models: list[str], **more: Any) -> dict[str, Any]:
    planned = [{"name": model, "aliases": [], "kind": "chat"} for model in models]
    return {"name": name, "node": None, "residency": "resident", "cpuset": None, "cpus": 2.5, "threads": 2, "max_active": None,
            "memory_limit": 2 << 30, "memory_planned": 1 << 30, "tmp_size": 64 << 20, "models": planned, **more}


NODES = [instance("localai-node0", ["m"], node=0, cpuset="0-1"), instance("localai-node1", ["m"], node=1, cpuset="2-3", threads=1),
         instance("localai-ondemand", ["n"], residency="on_demand", max_active=1)]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The project of NODES, published for another host's gateway."""
    folder = tmp_path_factory.mktemp("compose")
    values = {"localai_instances": NODES, "localai_image": DIGEST, "localai_listen_address": "192.0.2.1", "localai_port": 9000,
              "localai_environment": {"LOCALAI_MACHINE_TAG": "a$b"}, "__localai_account": {"uid": 990, "group": 991},
              "__localai_backend": {"directory": "/opt/localai/backends/x"}}
    (folder / "values.json").write_text(json.dumps(values))
    template = f"src={ROLE / 'templates' / 'localai_compose.yaml.j2'} dest={folder / 'compose.yaml'}"
    command = [Path(sys.executable).with_name("ansible"), "localhost", "--connection=local", "--inventory=localhost,", "--module-name=template",
               f"--args={template}", f"--extra-vars=ansible_python_interpreter={sys.executable}"]
    for path in (ROLE / "defaults" / "main.yml", ROLE / "vars" / "main.yml", folder / "values.json"):
        command.append(f"--extra-vars=@{path}")
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return yaml.safe_load((folder / "compose.yaml").read_text())


def test_each_instance_has_its_cpus_and_threads(rendered: dict[str, Any]) -> None:
    services = rendered["services"]
    assert list(services) == [planned["name"] for planned in NODES]
    assert [(service.get("cpuset"), service["environment"]["LOCALAI_THREADS"]) for service in services.values()] == [
        ("0-1", "2"), ("2-3", "1"), (None, "2")]


def test_each_instance_has_its_settings_and_all_share_the_blobs(rendered: dict[str, Any]) -> None:
    for name, service in rendered["services"].items():
        mounts = {mount["target"]: mount for mount in service["volumes"]}
        assert mounts["/models"]["source"] == f"/opt/localai/config/localai/{name}"
        assert mounts["/models/gguf"]["source"] == "/opt/localai/models/gguf"
        assert mounts["/data"]["source"] == f"/opt/localai/data/{name}"
        assert [target for target, mount in mounts.items() if not mount.get("read_only")] == ["/data"]
        assert {"/models", "/backends", "/configuration", "/data"} <= set(mounts), "an unmounted volume of the image becomes an anonymous one"


def test_only_on_demand_models_leave_the_memory(rendered: dict[str, Any]) -> None:
    limits = {name: {key: value for key, value in service["environment"].items() if "WATCHDOG" in key or "ACTIVE" in key or "LRU" in key}
              for name, service in rendered["services"].items()}
    assert limits == {"localai-node0": {}, "localai-node1": {}, "localai-ondemand": {
        "LOCALAI_LRU_EVICTION_MAX_RETRIES": "600", "LOCALAI_MAX_ACTIVE_BACKENDS": "1",
        "LOCALAI_WATCHDOG_IDLE": "true", "LOCALAI_WATCHDOG_IDLE_TIMEOUT": "900s", "LOCALAI_WATCHDOG_INTERVAL": "5s"}}


def test_the_edge_asks_where_the_instances_listen(rendered: dict[str, Any]) -> None:
    plan = {"hosts": {"a": {"instances": NODES}}}
    published = {name: service["ports"][0].removesuffix(":8080") for name, service in rendered["services"].items()}
    assert {route["name"]: route["upstreams"] for route in routes(plan, "gateway", {"a": "192.0.2.1"}, 9000)} == {
        "m": [published["localai-node0"], published["localai-node1"]], "n": [published["localai-ondemand"]]}
    beside = {route["name"]: route["upstreams"] for route in routes(plan, "a", {"a": "192.0.2.1"}, 9000)}
    assert beside == {"m": ["localai-node0:8080", "localai-node1:8080"], "n": ["localai-ondemand:8080"]}
    assert {service["container_name"] for service in rendered["services"].values()} == set(rendered["services"])


def test_a_user_s_variable_is_taken_as_it_is(rendered: dict[str, Any]) -> None:
    assert {service["environment"]["LOCALAI_MACHINE_TAG"] for service in rendered["services"].values()} == {"a$$b"}


def test_freed_memory_is_given_back_as_the_plan_counts_on(rendered: dict[str, Any]) -> None:
    assert {service["environment"]["MALLOC_TRIM_THRESHOLD_"] for service in rendered["services"].values()} == {"131072"}
    assert settings_of(fleets.want(), fleets.header()).trimmed
