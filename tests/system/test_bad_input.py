"""Bad input gets a sentence and changes nothing."""
from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from deployed import INVENTORY, Run, groups, on

LOCK = INVENTORY.with_name("fleet.lock.yml")


def wanted(**changes: Any) -> dict[str, Any]:
    """The instance's wanted model with some options changed."""
    return {**groups()["variables"][groups()["localai_server"][0]]["models_wanted"][0], **changes}


def extra(**variables: Any) -> tuple[str, str]:
    """Extra variables for a run."""
    return "-e", json.dumps(variables)


def refused(run: Run, *sentences: str) -> None:
    """The run failed, said so in these words, and changed nothing."""
    assert run.code != 0, run.output
    for sentence in sentences:
        assert sentence in run.told, run.output[-4000:]
    assert run.changed == 0, run.output


def test_an_unknown_variable_is_named_with_the_nearest_known(playbook) -> None:
    refused(playbook("site", *extra(localai_treads=4)), "The variable localai_treads is unknown: the nearest known one is localai_")


def test_a_model_too_large_for_the_host_is_told_by_how_much_and_what_fits(playbook) -> None:
    lock = LOCK.read_bytes()
    run = playbook("site", *extra(models_wanted=[wanted(context=1_048_576, slots=64)]))
    refused(run, "gemma-3-270m", "bytes", "context")
    assert LOCK.read_bytes() == lock


def test_a_repository_without_the_quant_names_what_it_has(playbook) -> None:
    refused(playbook("site", *extra(models_wanted=[wanted(quant="Q8_0")])), "Q8_0", "Q4_K_M")


def test_a_repository_that_is_not_there(playbook) -> None:
    refused(playbook("site", *extra(models_wanted=[wanted(source="hf://nobody/nothing-GGUF")])), "nobody/nothing-GGUF")


def test_an_unreachable_registry(playbook, tmp_path) -> None:
    address = groups()["variables"][groups()["localai_server"][0]]["common_image_registry"].rsplit(".", 1)[0] + ".250:5000"
    run = playbook("site", *extra(common_image_registry=address, common_lock_path=str(tmp_path / "new.lock.yml")))
    refused(run, address)
    assert not (tmp_path / "new.lock.yml").exists()


def test_a_digest_that_does_not_match_names_both(playbook, tmp_path) -> None:
    lock = yaml.safe_load(LOCK.read_text(encoding="utf-8"))
    right = lock["models"]["gemma-3-270m"]["files"][0]["sha256"]
    lock["models"]["gemma-3-270m"]["files"][0]["sha256"] = "0" * 64
    changed = tmp_path / "fleet.lock.yml"
    changed.write_text(yaml.safe_dump(lock), encoding="utf-8")
    name = groups()["localai_server"][-1]
    run = playbook("site", "--tags", "models", *extra(common_lock_path=str(changed)))
    assert run.code != 0
    assert "0" * 64 in run.output and right in run.output
    assert right in on(name).check_output("ls /opt/localai/models/gguf")
    assert "0" * 64 not in on(name).check_output("ls -A /opt/localai/models/gguf")


def test_no_space_is_told_before_a_byte_is_fetched(playbook) -> None:
    host = on(groups()["localai_server"][-1])
    host.check_output("mkdir -p /run/small && mount -t tmpfs -o size=64m tmpfs /run/small")
    try:
        run = playbook("site", "--tags", "models", *extra(models_store="/run/small"))
        assert run.code != 0
        assert "bytes" in run.output and "free" in run.output
        assert host.check_output("find /run/small -type f -size +1k") == ""
    finally:
        host.check_output("umount /run/small")
        for name in groups()["localai_server"]:
            on(name).run("rm -rf /run/small")


@pytest.mark.parametrize("change, told", [
    ({"name": "apply"}, "apply"),
    ({"source": "s3://bucket/x.gguf"}, "s3://bucket/x.gguf"),
    ({"kv_type": "q3"}, "q3"),
    ({"contxt": 4096}, "contxt"),
])
def test_a_wanted_model_is_checked_option_by_option(playbook, change: dict[str, Any], told: str) -> None:
    refused(playbook("plan", *extra(models_wanted=[wanted(**change)])), told)
