"""The site predicted and deployed on servers that have nothing of ours yet. Collected only by its path: the other checks want a deployed instance."""
from __future__ import annotations

from typing import Callable

from deployed import INVENTORY, Run, groups, on

# Both hosts, then what the gateway has besides.
EVERYWHERE = (
    "/etc/docker/daemon.json", "/opt/localai/models/gguf/", "/opt/localai/config/localai/localai/gemma-3-270m.yaml", "/opt/localai/backends/",
    "/opt/localai/compose/localai/compose.yaml",
)
GATEWAY = ("/opt/localai/compose/proxy/compose.yaml",)
MARK = "/run/before-prediction"
# What a look at a server may leave: Ansible's own folder, logs, the package manager's lists, what the kernel and the init system keep.
OURS = "-path /proc -o -path /sys -o -path /root/.ansible -o -path /var/log -o -path /var/lib/apt/lists -o -path /var/cache/apt -o -path /var/lib/systemd"


def test_the_prediction_names_the_changes_and_makes_none(playbook: Callable[..., Run]) -> None:
    hosts = {name: on(name) for name in groups()["localai_server"]}
    for host in hosts.values():
        host.check_output("touch %s", MARK)
    lock = INVENTORY.with_name("fleet.lock.yml").exists()
    run = playbook("site", "--check", "--diff")
    assert run.code == 0, run.output[-4000:]
    assert all(run.recap[name]["changed"] > 10 for name in hosts), run.recap
    for path in EVERYWHERE:
        assert run.output.count(f"+++ after: {path}") == len(hosts), path
    for path in GATEWAY:
        assert run.output.count(f"+++ after: {path}") == 1, path
    for name in hosts:
        assert task_of(run, "install | Install the engine from the distribution").count(f"changed: [{name}]") == 1
    for name, host in hosts.items():
        touched = host.check_output(f"find / -xdev \\( {OURS} \\) -prune -o -type f -cnewer {MARK} -print").split()
        assert not touched, f"{name}: {touched}"
        assert host.run("getent passwd localai || ls /opt/localai || command -v dockerd").rc != 0
    assert INVENTORY.with_name("fleet.lock.yml").exists() == lock


def test_one_run_deploys_it(playbook: Callable[..., Run]) -> None:
    run = playbook("site")
    assert run.code == 0 and all(run.recap[name]["changed"] > 10 for name in groups()["localai_server"]), run.output[-4000:]


def task_of(run: Run, name: str) -> str:
    """What one task printed."""
    return run.output.partition(f"{name}]")[2].partition("\nTASK [")[0]
