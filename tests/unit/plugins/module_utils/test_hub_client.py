"""The Hub's client against the lab's hub: what is asked, and a sentence for each way it fails."""
from __future__ import annotations

import socket
import subprocess
import sys
import time

import hub_repository
import hub_shop
import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _hub_client
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._hub import HubUnavailable
from ansible_collections.localai.fleet.plugins.module_utils._hub_client import Hub, HubOptions
from ansible_collections.localai.fleet.plugins.module_utils._listing import license_of
from ansible_collections.localai.fleet.plugins.module_utils._search import Policy

from tests.lab import hub as lab

NAME = hub_repository.NAME


@pytest.fixture
def server(tmp_path):
    with lab.running(hub_repository.make(tmp_path)) as running:
        yield running


def client(server, **options) -> Hub:
    return Hub(HubOptions(server.url, **{"patience": 0, **options}))


def refusal(server, name=NAME, revision=None, **options) -> str:
    with pytest.raises(FleetError) as error:
        client(server, **options).repository(name, revision)
    return str(error.value)


def test_a_repository_is_one_call(server):
    found = client(server).repository(NAME)
    assert [entry["path"] for entry in server.log.as_list()] == [f"/api/models/{NAME}?blobs=true"]
    assert (found.license, found.gated, found.private, found.base_models) == ("mit", "", False, ("acme/Tiny",))
    assert {file.path: bool(file.sha256) for file in found.files} == {
        "README.md": False, "mmproj-F16.gguf": True, "tiny-Q4_K_M.gguf": True, "tiny-Q8_0.gguf": True}
    assert len(found.commit) == 40
    assert client(server).repository(NAME, found.commit) == found


def test_what_was_asked_for_is_not_asked_again(server):
    hub = client(server)
    found = hub.repository(NAME)
    assert hub.repository(NAME) is found and hub.repository(NAME, found.commit) is found and server.log.calls()["repository"] == 1


def test_a_mirror_without_sizes_is_asked_for_its_tree(server, monkeypatch):
    whole = client(server).repository(NAME)
    monkeypatch.setattr(lab.File, "sibling", lambda self, blobs: {"rfilename": self.path})
    assert client(server).repository(NAME) == whole


def test_a_header_is_read_by_ranges(server):
    hub = client(server, token="hf_secretword")
    found = hub.repository(NAME)
    file = next(file for file in found.files if file.path == "tiny-Q4_K_M.gguf")
    server.log.clear()
    header = hub.header(found, [file])
    assert (header.architecture, header.file_type, header.file_size) == ("llama", 15, file.size) and header.tensors
    asked = server.log.as_list()
    assert all(entry["range"] for entry in asked) and asked[0]["path"].startswith(f"/{NAME}/resolve/{found.commit}/tiny-Q4_K_M.gguf")
    assert asked[0]["authorization"]


@pytest.mark.parametrize("name, revision, options, words", [
    ("acme/Nothing", None, {}, ("does not exist, or is private", "acme/Nothing", "needs a token")),
    ("acme/Nothing", None, {"token": "hf_secretword"}, ("or this token may not see it",)),
    (NAME, "v9", {}, ("no such revision", "v9")),
    ("a/b/c", None, {}, ("name is not usable", "owner/repository")),
])
def test_what_is_not_there(server, name, revision, options, words):
    message = refusal(server, name, revision, **options)
    for word in words:
        assert word in message
    assert "secretword" not in message


@pytest.mark.parametrize("switch, words", [
    ({"rate_limit": {"header": "RateLimit", "retry_after": 40}}, ("HTTP 429", "Try again in 41 seconds", "A token has a higher limit")),
    ({"rate_limit": {"header": "Retry-After", "retry_after": 7}}, ("Try again in 7 seconds",)),
    ({"error_500": True}, ("The Hub failed", "HTTP 500")),
    ({"error_503": True}, ("HTTP 503",)),
])
def test_faults(server, switch, words):
    server.switches.set(switch)
    message = refusal(server)
    for word in words:
        assert word in message


@pytest.mark.parametrize("status, code, options, words", [
    (403, "GatedRepo", {}, ("is gated", "no token", f"/{NAME} and give the token")),
    (403, "GatedRepo", {"token": "hf_secretword"}, ("is gated", "a token without access")),
    (401, "RepoNotFound", {}, ("does not exist, or is private",)),
    (403, "", {"token": "hf_secretword"}, ("forbids",)),
])
def test_refused_repositories(server, monkeypatch, status, code, options, words):
    def refuse(self, **_parts):
        raise lab.Problem(status, "no", code)

    monkeypatch.setattr(lab.Handler, "_model", refuse)
    message = refusal(server, **options)
    for word in words:
        assert word in message


class Answer:
    def __init__(self, status: int) -> None:
        self.status_code, self.headers = status, {}


@pytest.mark.parametrize("status, word", [(401, "refuses the token"), (403, "forbids"), (404, "does not exist"), (429, "in five minutes"), (502, "HTTP 502")])
def test_answers_without_an_error_code(server, status, word):
    assert word in str(client(server)._status(Answer(status), "a/b"))


@pytest.mark.parametrize("switch, gated, word", [
    ({"rate_limit": {"match": "/resolve/"}}, "", "limits how often"),
    ({"gated": {"match": "/resolve/"}}, "manual", "is gated"),
    ({"ignore_range": True}, "", ""),
])
def test_faults_while_a_header_is_read(server, tmp_path, switch, gated, word):
    hub_repository.about(tmp_path, gated=gated or False)
    hub = client(server)
    found = hub.repository(NAME)
    server.switches.set(switch)
    if word:
        with pytest.raises(FleetError, match=word):
            hub.header(found, [found.files[2]])
    else:
        assert hub.header(found, [found.files[2]]).architecture == "llama"


# what is waited for


class Clock:
    """Sleeps without time passing."""

    def __init__(self, monkeypatch):
        self.slept = []
        monkeypatch.setattr(time, "sleep", self.slept.append)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.mark.parametrize("switch, slept", [
    ({"rate_limit": {"times": 1, "header": "RateLimit", "retry_after": 40}}, [41]),
    ({"rate_limit": {"times": 2, "header": "Retry-After", "retry_after": 7}}, [7, 7]),
    ({"error_500": 2}, [1, 2]), ({"error_503": {"times": 1, "retry_after": 3}}, [3]), ({"error_503": 3}, [1, 2, 4]),
])
def test_a_limit_or_a_fault_is_waited_for(server, clock, switch, slept):
    server.switches.set(switch)
    hub = client(server, patience=60)
    assert hub.repository(NAME).name == NAME and clock.slept == slept
    assert hub.calls["repository"] == len(slept) + 1 == server.log.calls()["repository"]


def test_a_date_is_waited_for(server, clock):
    server.switches.set({"rate_limit": {"times": 1, "header": "date", "retry_after": 30}})
    assert client(server, patience=60).listings(Policy()) and 28 <= clock.slept[0] <= 31


@pytest.mark.parametrize("switch, slept, words", [
    ({"rate_limit": {"header": "RateLimit", "retry_after": 299}}, [], ("HTTP 429", "Try again in 300 seconds")),
    ({"rate_limit": {"header": "Retry-After", "retry_after": 25}}, [25, 25], ("HTTP 429", "in 25 seconds")),
    ({"error_500": True}, [1, 2, 4], ("HTTP 500",)),
])
def test_patience_is_bounded_over_all_calls(server, clock, switch, slept, words):
    server.switches.set(switch)
    hub = client(server, patience=60)
    with pytest.raises(HubUnavailable) as error:
        hub.listings(Policy())
    assert clock.slept == slept
    for word in words:
        assert word in str(error.value)


def test_what_no_other_try_makes_better_is_not_tried_again(server, clock):
    hub = client(server, patience=60)
    with pytest.raises(FleetError, match="does not exist"):
        hub.repository("acme/Nothing")
    assert clock.slept == [] and hub.calls["repository"] == 1


def test_a_header_behind_a_limit_is_waited_for(server, clock):
    hub = client(server, patience=60)
    found = hub.repository(NAME)
    server.switches.set({"rate_limit": {"times": 1, "match": "/resolve/"}})
    assert hub.header(found, [found.files[2]]).architecture == "llama" and clock.slept == [1] and hub.calls["header"] == 2


# the list


def test_the_list_is_one_call_with_all_that_is_judged_by(server, tmp_path):
    hub_shop.add(tmp_path, "bartowski/Other-2B-GGUF", trendingScore=50)
    hub = client(server, token="hf_secretword")
    found = hub.listings(Policy())
    assert [item.repository for item in found] == ["bartowski/Other-2B-GGUF", NAME] and hub.calls == {"list": 1, "repository": 0, "header": 0}
    assert (found[0].license, found[0].architecture, found[0].paths, found[0].created.year) == ("apache-2.0", "llama", ("Other-2B-Q4_K_M.gguf",), 2026)
    entry = server.log.as_list()[0]
    assert entry["authorization"] and "sort=trendingScore" in entry["path"] and "limit=200" in entry["path"] and "secretword" not in entry["path"]


@pytest.mark.parametrize("policy, words", [
    ({"sort": "newest", "language": "de", "text": "small model", "consider": 7},
     ("sort=createdAt", "filter=de", "search=small+model", "limit=7", "gated=false")),
    ({"publishers": ["Qwen"], "gated": True}, ("author=Qwen",)), ({"licenses": ["mit"], "license_unknown": "refuse"}, ("filter=license%3Amit",)),
])
def test_what_the_hub_itself_can_filter_by(server, policy, words):
    client(server).listings(Policy.from_dict(policy))
    path = server.log.as_list()[0]["path"]
    for word in words:
        assert word in path
    assert ("gated=" in path) is not policy.get("gated", False)


def test_a_long_list_is_cut_where_the_page_ends(server, tmp_path):
    for number in range(5):
        hub_shop.add(tmp_path, f"a/M{number}-GGUF")
    assert len(client(server).listings(Policy(consider=3))) == 3 and server.log.calls()["list"] == 1


@pytest.mark.parametrize("answer, words", [({"error": "x"}, "something else than a list"), (["nonsense", {"id": 7}], "")])
def test_a_list_that_is_none(server, monkeypatch, answer, words):
    monkeypatch.setattr(lab.Handler, "_list", lambda self: self._json(answer))
    if words:
        with pytest.raises(HubUnavailable, match=words):
            client(server).listings(Policy())
    else:
        assert client(server).listings(Policy()) == []


WHOLE = {"id": "a/b", "sha": "c" * 40}


@pytest.mark.parametrize("answer", [
    [], "text", {}, {**WHOLE, "siblings": 7}, {**WHOLE, "siblings": [{"size": 1}]}, {"id": "a/b"}, {**WHOLE, "sha": "main"},
    *({**WHOLE, "siblings": [{"rfilename": "a.gguf", "size": 1, **change}]} for change in (
        {"lfs": 7}, {"size": -1}, {"size": "1"}, {"lfs": {"sha256": "../x", "size": 1, "pointerSize": 1}}))])
def test_a_repository_that_is_none(server, monkeypatch, answer):
    monkeypatch.setattr(lab.Handler, "_model", lambda self, *_args, **_named: self._json(answer))
    with pytest.raises(FleetError) as error:
        client(server).repository("a/b")
    assert "something else than a repository" in str(error.value)


def test_a_mirror_without_a_list_is_a_sentence(server, monkeypatch):
    def refuse(self):
        raise lab.Problem(404, "no")

    monkeypatch.setattr(lab.Handler, "_list", refuse)
    with pytest.raises(HubUnavailable, match="has no list to search.*Search at https://huggingface.co"):
        client(server).listings(Policy())


def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    hub = Hub(HubOptions("http://hub.invalid", patience=0))
    found = hub.repository(NAME)
    assert [item.repository for item in hub.listings(Policy())] == [NAME]
    assert all(entry["path"].startswith("http://hub.invalid/") for entry in server.log.as_list()) and found.commit


def test_a_slow_hub_is_given_up(server):
    server.switches.set({"slow": {"seconds": 2}})
    with pytest.raises(HubUnavailable, match="cannot be reached"):
        client(server, timeout=0.3).listings(Policy())


def test_a_private_authority(tmp_path, tls_files):
    with lab.running(hub_repository.make(tmp_path), cert=tls_files[0], key=tls_files[1]) as server:
        hub = client(server, ca_path=str(tls_files[0]))
        found = hub.repository(NAME)
        assert hub.header(found, [found.files[2]]).architecture == "llama"
        assert "certificate is not trusted" in refusal(server) and "ca_path" in refusal(server)


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        hub = Hub(HubOptions(f"http://user:secretword@127.0.0.1:{free.getsockname()[1]}"))
        with pytest.raises(FleetError, match="cannot be reached") as error:
            hub.repository(NAME)
    assert "secretword" not in str(error.value)


def test_offline(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FleetError, match="HF_HUB_OFFLINE forbids"):
        Hub()


def test_without_the_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", None)
    with pytest.raises(_hub_client.ClientMissing) as error:
        Hub()
    assert isinstance(error.value.__cause__, ImportError)


def test_import_needs_no_home_and_writes_nothing(tmp_path):
    program = "import huggingface_hub, huggingface_hub.utils; huggingface_hub.utils.httpx"
    environment = {**_hub_client._SETTINGS, "HF_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("card, tags, expected", [
    ({"license": "mit"}, (), "mit"), ({"license": ["mit", "x"]}, (), "mit"), ({"license": "other", "license_name": "llama3.2"}, (), "llama3.2"),
    ({"license": "other"}, (), "other"), ({}, ("gguf", "license:gemma"), "gemma"), ({}, (), None),
])
def test_licenses(card, tags, expected):
    assert license_of(card, tags) == expected


def test_the_token_is_not_printed():
    assert "secretword" not in repr(HubOptions(token="secretword"))
