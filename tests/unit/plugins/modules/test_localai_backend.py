"""A LocalAI backend, taken out of its image."""
from __future__ import annotations

import pytest

DIGEST = "b" * 64
IMAGE = f"mirror:5000/go-skynet/local-ai-backends@sha256:{DIGEST}"
ENGINE = """case "$1" in
  image) exit 0;;
  cp) mkdir -p $3/lib $3/dev $3/proc $3/etc; touch $3/.dockerenv $3/etc/hosts $3/lib/ld.so; {run_sh}; chmod 0600 $3/lib/ld.so;;
esac"""


@pytest.fixture
def args(tmp_path):
    return {"image": IMAGE, "path": str(tmp_path / "backends")}


def test_quartet(run_module, fake_docker, args, tmp_path) -> None:
    log = fake_docker(ENGINE.format(run_sh="echo true > $3/run.sh; chmod 0644 $3/run.sh"))
    assert run_module("localai_backend", args, check=True)["changed"] and not (tmp_path / "backends").exists()
    real = run_module("localai_backend", args)
    assert real["changed"] and real["directory"] == str(tmp_path / "backends" / DIGEST)
    calls = log.read_text()
    for check in (True, False):
        assert not run_module("localai_backend", args, check=check)["changed"]
    assert log.read_text() == calls


def test_the_files_are_fit_for_a_read_only_mount(run_module, fake_docker, args, tmp_path) -> None:
    fake_docker(ENGINE.format(run_sh="echo true > $3/run.sh; chmod 0644 $3/run.sh"))
    folder = tmp_path / "backends" / DIGEST
    run_module("localai_backend", args)
    assert sorted(p.name for p in folder.iterdir()) == ["lib", "run.sh"]
    assert (folder / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (folder / "lib" / "ld.so").stat().st_mode & 0o777 == 0o644


def test_what_a_killed_run_left_is_no_backend(run_module, fake_docker, args, tmp_path) -> None:
    fake_docker(ENGINE.format(run_sh="echo true > $3/run.sh"))
    partial = tmp_path / "backends" / f"{DIGEST}.partial"
    partial.mkdir(parents=True)
    (partial / "half").touch()
    assert run_module("localai_backend", args)["changed"]
    assert [p.name for p in (tmp_path / "backends").iterdir()] == [DIGEST]
    assert not (tmp_path / "backends" / DIGEST / "half").exists()


def test_another_image_is_refused_and_leaves_nothing(run_module, fake_docker, args, tmp_path) -> None:
    fake_docker(ENGINE.format(run_sh=":"))
    assert "no LocalAI backend" in run_module("localai_backend", args)["msg"]
    assert list((tmp_path / "backends").iterdir()) == []
