"""Images by digest on a host."""
from __future__ import annotations

IMAGE = "mirror:5000/library/nginx@sha256:" + "a" * 64


def test_quartet(run_module, fake_docker, tmp_path) -> None:
    log = fake_docker(f'case "$1" in image) test -e {tmp_path}/have;; pull) touch {tmp_path}/have;; esac')
    args = {"name": IMAGE}
    assert run_module("container_image", args, check=True)["changed"]
    assert "pull" not in log.read_text()
    assert run_module("container_image", args)["changed"]
    assert f"pull --quiet {IMAGE}" in log.read_text()
    assert not run_module("container_image", args, check=True)["changed"]
    assert not run_module("container_image", args)["changed"]


def test_check_mode_before_there_is_an_engine(run_module, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.get_bin_path", lambda *args, **kwargs: None)
    assert run_module("container_image", {"name": IMAGE}, check=True)["changed"]


def test_an_unreachable_registry_is_a_sentence(run_module, fake_docker) -> None:
    fake_docker('case "$1" in image) exit 1;; pull) echo "dial tcp 10.0.0.1:5000: connect: connection refused" >&2; exit 1;; esac')
    result = run_module("container_image", {"name": IMAGE})
    assert result["failed"] and "cannot be reached from the host" in result["msg"]


def test_a_tag_is_refused(run_module, fake_docker) -> None:
    log = fake_docker("exit 0")
    assert "not named by its digest" in run_module("container_image", {"name": "nginx:latest"})["msg"]
    assert log.read_text() == ""
