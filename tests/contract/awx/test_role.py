"""The role awx with the real modules of awx.awx: against a strict stub of AWX's API, or against a real AWX that FLEET_AWX names (host and token)."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.parse import urlencode

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._awx import arrows

from tests.contract.awx import server as awx_server

ROOT = Path(__file__).resolve().parents[3]
SECRETS = {"token": "awx-token-secret", "vault": "vault-secret-1", "hub": "hf-secret-2", "git": "git-secret-3", "registry": "registry-secret-4",
           "slack": "slack-secret-5", "mail": "mail-secret-6", "hook": "hook-secret-7", "become": "become-secret-8"}
ARROWS = ["approve failure verify", "approve success apply", "propose success review", "review failure verify", "review success approve"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def variables(host: str, key: str) -> dict[str, Any]:
    """All of it, with every secret."""
    return {
        "awx_fleet_host": host, "awx_fleet_token": SECRETS["token"], "awx_fleet_name": "unit", "awx_fleet_organization": "unit",
        "awx_fleet_project_url": "https://git.example.com/ops/fleet.git", "awx_fleet_image": "registry.example.com/fleet-ee:0.1.0",
        "awx_fleet_ssh": {"username": "ops", "key": key, "become_password": SECRETS["become"]}, "awx_fleet_vault_password": SECRETS["vault"],
        "awx_fleet_hub_token": SECRETS["hub"], "awx_fleet_git": {"username": "robot", "password": SECRETS["git"]},
        "awx_fleet_registry": {"host": "registry.example.com", "username": "robot", "password": SECRETS["registry"]},
        "awx_fleet_schedule": {"at": "02:30", "days": ["MO", "TH"], "timezone": "Europe/Berlin"},
        "awx_fleet_notifications": [
            {"name": "chat", "type": "slack", "token": SECRETS["slack"], "channels": ["#ai"]},
            {"name": "mail", "type": "email", "host": "smtp.example.com", "username": "robot", "password": SECRETS["mail"], "sender": "a@example.com",
             "recipients": ["b@example.com"], "security": "starttls", "events": ["success"]},
            {"name": "hook", "type": "webhook", "url": "https://hooks.example.com/x", "headers": {"X-Key": SECRETS["hook"]}, "events": ["started"]}],
        "awx_fleet_teams": [{"name": "ops", "role": "execute"}, {"name": "leads", "role": "approval"}],
    }


@pytest.fixture(scope="module")
def awx() -> Iterator[tuple[str, Any, list[Any]]]:
    with awx_server.serve() as server:
        yield server


@pytest.fixture(scope="module")
def given(awx, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    key = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=60)
    host, _sep, token = os.environ.get("FLEET_AWX", "").partition(" ")
    made = variables(host or awx[0], key.read_text(encoding="utf-8"))
    return {**made, "awx_fleet_token": token} if token else made


@pytest.fixture(scope="module")
def run(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`run(playbook, *arguments, **variables)`; the output has the recap."""
    folder = tmp_path_factory.mktemp("vars")

    def call(name: str, *more: str, **changed: Any) -> "subprocess.CompletedProcess[str]":
        path = folder / "vars.json"
        path.write_text(json.dumps({**given, **changed}), encoding="utf-8")
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "False"}
        return subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", f"playbooks/{name}.yml", "-e", f"@{path}", *more],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)

    return call


def changed(done: "subprocess.CompletedProcess[str]") -> int:
    """Tasks that changed something; AssertionError with the output when the run failed."""
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return int(done.stdout.rpartition("changed=")[2].split()[0])


def asked(given: dict[str, Any], path: str, data: Any = None, method: str | None = None) -> Any:
    """What AWX answers to a reading, to `data`, or to another method; None when it says nothing."""
    request = urllib.request.Request(
        f"{given['awx_fleet_host']}/api/v2/{path}", data=json.dumps(data).encode() if data else None, method=method,
        headers={"Authorization": f"Bearer {given['awx_fleet_token']}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def steps(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The steps of the workflow, by identifier."""
    found = asked(given, f"workflow_job_template_nodes/?{urlencode({'workflow_job_template__name': 'unit refresh with approval'})}")
    return {step["identifier"]: step for step in found["results"]}


def told(done: "subprocess.CompletedProcess[str]") -> str:
    return " ".join(done.stdout.split())


@pytest.fixture(scope="module")
def runs(run: Run) -> dict[str, "subprocess.CompletedProcess[str]"]:
    """A prediction on an empty AWX, the real run, the prediction after it, and the second run."""
    wanted = {"predicted": ["--check"], "first": ["-vvv", "--diff"], "after": ["--check"], "second": []}
    return {name: run("awx", *arguments) for name, arguments in wanted.items()}


def test_the_quartet(runs) -> None:
    numbers = {name: changed(done) for name, done in runs.items()}
    assert numbers["predicted"] == numbers["first"] > 10
    assert (numbers["after"], numbers["second"]) == (0, 0), runs["second"].stdout[-3000:]


def test_an_organisation_that_is_there_already_is_used(run: Run) -> None:
    with awx_server.serve() as (host, store, refused):
        store.create("organizations", {"name": "unit", "description": "of somebody else"})
        predicted, first = (changed(run("awx", *mode, awx_fleet_host=host)) for mode in (["--check"], []))
        assert predicted == first > 10 and not refused
        assert [item["description"] for item in store.kinds["organizations"].values()] == ["of somebody else"]


def test_no_secret_is_told(runs, given) -> None:
    text = "".join(done.stdout + done.stderr for done in runs.values())
    secrets = [*SECRETS.values(), given["awx_fleet_token"], given["awx_fleet_ssh"]["key"].splitlines()[2]]
    assert not [number for number, secret in enumerate(secrets) if secret in text]


def test_the_next_proposal_is_told(runs) -> None:
    assert "The next proposal is made at 20" in told(runs["first"])


@pytest.mark.skipif("FLEET_AWX" in os.environ, reason="looks at what the stub holds")
def test_awx_has_what_jobs_need(runs, awx, given) -> None:
    _host, store, refused = awx
    assert not refused
    by = {kind: {item.get("name", item.get("identifier")): (number, item) for number, item in items.items()} for kind, items in store.kinds.items()}
    assert set(by["job_templates"]) == {f"unit {verb}" for verb in (
        "site", "plan", "verify", "tune", "choose", "refresh", "refresh review", "refresh apply", "rollback")}
    number, apply = by["job_templates"]["unit refresh apply"]
    assert json.loads(apply["extra_vars"]) == {"fleet_lock_store": "primary", "common_plan_path": "", "refresh_apply": True}
    assert apply["playbook"] == "playbooks/refresh_models.yml"
    names = [store.kinds["credentials"][one]["name"] for one in store.links["job_templates", number, "credentials"]]
    assert sorted(names) == ["unit Hugging Face", "unit SSH", "unit vault"]
    kind = store.kinds["credential_types"][by["credentials"]["unit Hugging Face"][1]["credential_type"]]
    assert kind["injectors"] == {"env": {"HF_TOKEN": "{{ token }}"}} and kind["inputs"]["fields"][0]["secret"] is True
    jobs = {name: store.kinds["job_templates"].get(step["unified_job_template"], {}).get("name") for name, step in steps(given).items()}
    assert jobs == {"propose": "unit refresh", "review": "unit refresh review", "approve": None, "apply": "unit refresh apply", "verify": "unit verify"}
    assert [approval["timeout"] for approval in store.kinds["workflow_approval_templates"].values()] == [72000]
    assert by["schedules"]["unit refresh with approval"][1]["rrule"] == "DTSTART;TZID=Europe/Berlin:20260101T023000 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TH"


@pytest.mark.skipif("FLEET_AWX" in os.environ, reason="looks at what the stub holds")
def test_nobody_is_told_of_a_review_of_nothing(runs, awx) -> None:
    store = awx[1]
    told_of = {item["name"]: store.links.get(("job_templates", number, "notification_templates_error"), []) for number, item in
               store.kinds["job_templates"].items()}
    assert [name for name, notifications in told_of.items() if not notifications] == ["unit refresh review"]
    tags = {item["name"]: item["job_tags"] for item in store.kinds["job_templates"].values() if item["job_tags"]}
    assert tags == {"unit refresh review": "review", "unit refresh apply": "all,review"}


def test_an_arrow_that_somebody_changed_is_put_back(runs, run: Run, given) -> None:
    there = steps(given)
    assert arrows(list(there.values())) == ARROWS
    asked(given, f"workflow_job_template_nodes/{there['review']['id']}/failure_nodes/", {"id": there["verify"]["id"], "disassociate": True})
    asked(given, f"workflow_job_template_nodes/{there['review']['id']}/always_nodes/", {"id": there["verify"]["id"]})
    asked(given, f"workflow_job_template_nodes/{there['propose']['id']}/success_nodes/", {"id": there["apply"]["id"]})
    assert arrows(list(steps(given).values())) != ARROWS
    assert changed(run("awx")) == 1
    assert arrows(list(steps(given).values())) == ARROWS


def test_a_step_that_somebody_removed_is_predicted_and_put_back(runs, run: Run, given) -> None:
    there = steps(given)["review"]
    asked(given, f"workflow_job_template_nodes/{there['id']}/", method="DELETE")
    asked(given, f"job_templates/{there['unified_job_template']}/", method="DELETE")
    predicted = changed(run("awx", "--check"))
    assert predicted == changed(run("awx")) == 4, "the job template, the step, the arrows, the team's right"
    assert arrows(list(steps(given).values())) == ARROWS


def test_a_change_is_one_change(runs, run: Run) -> None:
    assert changed(run("awx", awx_fleet_schedule={"at": "04:00", "enabled": False})) == 1
    done = run("awx", awx_fleet_schedule={"at": "04:00", "enabled": False})
    assert changed(done) == 0 and "The next proposal is made when somebody starts it" in told(done)


@pytest.mark.parametrize(("wrong", "said"), [
    ({"awx_fleet_token": ""}, "Nobody can log in to"),
    ({"awx_fleet_schedule": {"at": "noon"}}, "A schedule needs a time of day"),
    ({"awx_fleet_notifications": [{"name": "chat", "type": "slack", "token": "t"}]}, "lacks a field (notification chat)"),
    ({"awx_fleet_host": "http://127.0.0.1:9"}, "AWX did not answer at http://127.0.0.1:9/api/v2"),
    ({"awx_fleet_lock_store": "controller"}, "must be one of: primary, git"),
    ({"awx_fleet_imgae": "x"}, "did you mean awx_fleet_image?"),
])
def test_bad_input_is_a_sentence_and_changes_nothing(run: Run, wrong: dict[str, Any], said: str) -> None:
    done = run("awx", **wrong)
    assert done.returncode != 0 and said in told(done), done.stdout[-3000:]
    assert "changed=0" in done.stdout.rpartition("PLAY RECAP")[2]


def test_all_of_it_can_be_taken_away(runs, run: Run, awx) -> None:
    assert changed(run("remove", "--tags", "awx", "--check")) > 5
    assert changed(run("remove", "--tags", "awx")) > 5
    assert changed(run("remove", "--tags", "awx")) == 0
    if "FLEET_AWX" not in os.environ:
        left = {kind: [item["name"] for item in items.values()] for kind, items in awx[1].kinds.items() if items}
        assert left == {"credential_types": list(awx_server.BUILT_IN), "workflow_approval_templates": ["unit approve the proposal"]}
