"""kill -9 in the middle: the next run resumes and converges, and nothing half-written was ever visible."""
from __future__ import annotations

from deployed import groups, hub, kill, on, started, until

STORE = "/opt/localai/models"
RATE = 8 << 20  # bytes per second of the slowed hub: the 253 MB of the model take half a minute


def test_a_killed_download_resumes(playbook) -> None:
    name = groups()["localai_server"][-1]
    host = on(name)
    blob = host.check_output("ls %s/gguf", STORE).split()[0]
    size = host.file(f"{STORE}/gguf/{blob}").size
    host.check_output("rm %s/gguf/%s", STORE, blob)
    hub("/__switch__", {"drip": {"times": -1, "bytes_per_second": RATE}})
    hub("/__requests__", method="DELETE")
    try:
        with started("site", "--tags", "models") as run:
            until(lambda: partial(host) > size // 8)
            kill(run)
            host.run("pkill -9 -f gguf_file")
        assert host.check_output("ls %s/gguf", STORE) == ""
        kept = partial(host)
        assert kept > size // 8
    except BaseException:
        hub("/__switch__", {"drip": False})
        playbook("site", "--tags", "models")  # what comes after must not suffer
        raise
    hub("/__switch__", {"drip": False})
    hub("/__requests__", method="DELETE")
    again = playbook("site", "--tags", "models")
    assert again.code == 0, again.output
    sent = sum(request["bytes"] for request in hub("/__requests__"))
    assert size - kept - (4 << 20) <= sent <= size - kept + (4 << 20), (size, kept, sent)
    assert host.check_output("sha256sum %s/gguf/%s", STORE, blob).split()[0] == blob.split(".")[0]
    assert playbook("site", "--tags", "models").changed == 0


def partial(host) -> int:
    """Bytes of the download under way."""
    sizes = host.check_output("find %s -name '*.part' -printf '%%s\\n'", STORE).split()
    return max((int(size) for size in sizes), default=0)


def test_a_killed_compose_up_converges(playbook) -> None:
    name = groups()["localai_server"][-1]
    host = on(name)
    host.check_output("docker rm -f localai")
    with started("site", "--tags", "localai") as run:
        # In one go: Compose may be ready, or end with the run's connection, before a second command comes.
        until(lambda: host.run("docker inspect localai && pkill -9 -x docker-compose").rc == 0)
        kill(run)
    again = playbook("site", "--tags", "localai")
    assert again.code == 0, again.output
    assert host.check_output("docker inspect -f '{{.State.Health.Status}}' localai") == "healthy"
    assert playbook("site", "--tags", "localai").changed == 0
