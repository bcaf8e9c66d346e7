"""Variables that no role knows."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _variables

SPECS = [
    {"argument_specs": {"main": {"options": {"localai_port": {}, "localai_environment": {}}}, "remove": {"options": {"localai_remove_data": {}}}}},
    {"argument_specs": {"main": {"options": {"docker_engine_daemon": {}}}}},
    {"argument_specs": {"main": {}}},
]
STARTS = _variables.prefixes(["localai", "docker"])


def test_prefixes() -> None:
    assert _variables.prefixes(["models", "docker", "common"]) == ("common_", "fleet_lock_", "docker_engine_", "models_")


def test_known_names_of_every_entry_point() -> None:
    assert _variables.known_names(SPECS) == {"localai_port", "localai_environment", "localai_remove_data", "docker_engine_daemon"}


@pytest.mark.parametrize(("names", "sentences"), [
    (["localai_port", "docker_engine_daemon", "localai_capacity", "localai_deployed"], []),
    (["docker_users", "docker_daemon_options", "ansible_host", "port", "__localai_x"], []),
    (["localai_prot"], ["The variable localai_prot is unknown: did you mean localai_port?"]),
    (["docker_engine_deamon"], ["The variable docker_engine_deamon is unknown: did you mean docker_engine_daemon?"]),
    (["localai_treads"], [
        "The variable localai_treads is unknown: the nearest known one is localai_remove_data, "
        "of localai_environment, localai_port, localai_remove_data."]),
])
def test_unknown_names(names, sentences) -> None:
    assert _variables.unknown_names(names, _variables.known_names(SPECS), STARTS) == sentences


def test_a_role_without_options_has_no_nearest() -> None:
    assert _variables.unknown_names(["models_x"], set(), ["models_"]) == ["The variable models_x is unknown: no role has an option that starts so."]


def test_what_awx_gives_every_job_is_not_taken_for_ours() -> None:
    starts = _variables.prefixes(["awx"])
    assert not _variables.unknown_names(["awx_job_id", "awx_inventory_name", "awx_project_revision", "awx_user_name"], {"awx_fleet_host"}, starts)
    assert _variables.unknown_names(["awx_fleet_hots"], {"awx_fleet_host"}, starts) == ["The variable awx_fleet_hots is unknown: did you mean awx_fleet_host?"]
