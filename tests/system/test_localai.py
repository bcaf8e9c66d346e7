"""LocalAI on a host: hardened, fed from the plan, reachable by nobody but the edge."""
from __future__ import annotations

import json
import re
from typing import Any

from deployed import groups
from testinfra.host import Host

ROOT = "/opt/localai"


def container(host: Host) -> dict[str, Any]:
    return json.loads(host.check_output("docker inspect localai"))[0]


def plan(host: Host) -> dict[str, Any]:
    return json.loads(host.check_output("cat %s/state/plan.json", ROOT))["instances"][0]


def test_the_container_has_what_the_plan_says(server: Host) -> None:
    found, planned = container(server), plan(server)
    limits = found["HostConfig"]
    assert limits["Memory"] == limits["MemorySwap"] == planned["memory_limit"]
    assert limits["NanoCpus"] == int(planned["cpus"] * 10**9)
    assert f"LOCALAI_THREADS={planned['threads']}" in found["Config"]["Env"]


def test_the_limits_are_real(server: Host) -> None:
    groups_of = f"/proc/{container(server)['State']['Pid']}/root/sys/fs/cgroup"
    limit = server.check_output("cat %s/memory/memory.limit_in_bytes 2>/dev/null || cat %s/memory.max", groups_of, groups_of)
    assert int(limit) == plan(server)["memory_limit"]


def test_the_container_is_hardened(server: Host) -> None:
    found = container(server)
    limits = found["HostConfig"]
    assert limits["ReadonlyRootfs"] and not limits["Privileged"]
    assert limits["CapDrop"] == ["ALL"] and not limits["CapAdd"]
    assert "no-new-privileges:true" in limits["SecurityOpt"]
    assert limits["PidsLimit"] > 0
    assert found["Config"]["User"].split(":")[0] not in {"", "0", "root"}
    assert limits["LogConfig"]["Config"]["max-size"]


def test_the_container_writes_to_its_data_only(server: Host) -> None:
    mounts = container(server)["Mounts"]
    assert {mount["Destination"] for mount in mounts if mount["RW"]} == {"/data"}
    assert {"/models", "/models/gguf", "/configuration", "/var/lib/local-ai/backends/llama-cpp"} <= {mount["Destination"] for mount in mounts}
    assert not [mount for mount in mounts if mount["Type"] == "volume"]


def test_images_run_by_digest(server: Host) -> None:
    assert "@sha256:" in container(server)["Config"]["Image"]


def test_the_backend_is_complete_and_named_by_its_digest(server: Host) -> None:
    mount = next(m for m in container(server)["Mounts"] if m["Destination"] == "/var/lib/local-ai/backends/llama-cpp")
    assert len(mount["Source"].rsplit("/", 1)[1].removeprefix("sha256:")) == 64
    assert server.file(f"{mount['Source']}/run.sh").mode == 0o755


def test_the_settings_of_a_model_are_closed_to_others(server: Host) -> None:
    folder = f"{ROOT}/config/localai"
    files = server.check_output("find %s -type f", folder).splitlines()
    names = {path.removeprefix(f"{folder}/localai/").removesuffix(".yaml") for path in files}
    revision = next(name for name in names if re.fullmatch(r"gemma-3-270m\.[0-9a-f]{8}", name))
    assert names == {"gemma-3-270m", "gpt-3.5-turbo", "gpt-4", revision}
    assert {server.file(path).mode for path in files} == {0o640}
    assert server.file(f"{folder}/localai").mode == 0o750


def test_localai_is_published_for_other_hosts_gateways_only(server: Host, variables: dict[str, Any]) -> None:
    name = server.check_output("hostname")
    address = groups()["variables"][name]["ansible_host"]
    ports = container(server)["HostConfig"]["PortBindings"]
    if name in groups()["localai_gateway"]:
        assert not ports
    else:
        assert ports == {"8080/tcp": [{"HostIp": address, "HostPort": "8080"}]}


def test_localai_cannot_reach_out(server: Host) -> None:
    registry = groups()["variables"][groups()["localai_server"][0]]["common_image_registry"]
    host, port = registry.split(":")
    ask = "docker exec localai timeout 3 bash -c %s"
    assert server.run(ask, "exec 3<>/dev/tcp/127.0.0.1/8080").rc == 0, "the question itself must work, or no answer proves anything"
    assert server.run(ask, f"exec 3<>/dev/tcp/{host}/{port}").rc != 0
