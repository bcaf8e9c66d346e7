"""Wanted models into entries of the lock, against the lab's hub."""
from __future__ import annotations

import hashlib
from dataclasses import replace

import hub_repository
import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _resolve
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header
from ansible_collections.localai.fleet.plugins.module_utils._hub_client import Hub, HubOptions
from ansible_collections.localai.fleet.plugins.module_utils._lock import LockedFile
from ansible_collections.localai.fleet.plugins.module_utils._wanted import WantedModel

from tests.lab import hub as lab

NAME = hub_repository.NAME
NOW = "2026-11-23T04:00:00Z"
WANTED = WantedModel(name="tiny", source=f"hf://{NAME}")


@pytest.fixture
def server(tmp_path):
    with lab.running(hub_repository.make(tmp_path)) as running:
        yield running


def resolve(server, **change):
    return _resolve.resolve_model(replace(WANTED, **change), lambda: Hub(HubOptions(server.url)), NOW)


def refusal(server, **change) -> str:
    with pytest.raises(FleetError) as error:
        resolve(server, **change)
    return str(error.value)


def test_an_entry(server, tmp_path):
    entry, warnings = resolve(server)
    raw = (tmp_path / NAME / "tiny-Q4_K_M.gguf").read_bytes()
    assert entry.files == (LockedFile("tiny-Q4_K_M.gguf", len(raw), hashlib.sha256(raw).hexdigest()),)
    assert (entry.source, entry.repository, entry.quant, entry.license, entry.architecture) == (f"hf://{NAME}", NAME, "Q4_K_M", "mit", "llama")
    assert entry.chat_template_sha256 == hashlib.sha256(b"{{ messages }}").hexdigest()
    assert (entry.resolved_at, entry.resolved_by) == (NOW, "localai.fleet 0.1.0")
    assert Header.from_dict(entry.header).tensors and warnings == []
    assert resolve(server, source=f"hf://{NAME}@{entry.commit}")[0].commit == entry.commit


@pytest.mark.parametrize("change, quant", [
    ({"quant": "Q8_0"}, "Q8_0"), ({"file": "tiny-Q8_0.gguf"}, "Q8_0"), ({"file": "phi-q4.gguf"}, "Q4_K_M"), ({"file": "x-UD-Q4_K_M.gguf"}, "UD-Q4_K_M"),
])
def test_the_quant_is_the_one_asked_for_or_the_files_own(server, tmp_path, change, quant):
    hub_repository.add_gguf(tmp_path, "phi-q4.gguf")
    hub_repository.add_gguf(tmp_path, "x-UD-Q4_K_M.gguf")
    assert resolve(server, **change)[0].quant == quant


def test_a_name_that_lies_is_told(server, tmp_path):
    hub_repository.add_gguf(tmp_path, "tiny-Q5_K_M.gguf", file_type=7)
    assert resolve(server, quant="Q5_K_M")[1] == ["tiny: the name tiny-Q5_K_M.gguf says Q5_K_M, the file's header says Q8_0."]


@pytest.mark.parametrize("change, words", [
    ({"quant": "Q6_K"}, ("no Q6_K", "Q4_K_M, Q8_0", NAME)),
    ({"sha256": "f" * 64}, ("whose sha256 is wanted", "f" * 64)),
    ({"file": "mmproj-F16.gguf"}, ("no language model", "mmproj")),
    ({"source": "hf://acme/None"}, ("does not exist",)),
    ({"source": "https://127.0.0.1:1/x.gguf", "sha256": "f" * 64}, ("cannot be reached",)),
])
def test_refusals_are_sentences(server, change, words):
    message = refusal(server, **change)
    for word in words:
        assert word in message


@pytest.mark.parametrize("change", [{"quant": "F16"}, {"file": "tiny-F16-00001-of-00003.gguf"}])
def test_a_model_in_several_files_is_refused_before_a_header_is_read(server, tmp_path, change):
    hub_repository.add_split(tmp_path, "tiny-F16", 3)
    server.log.clear()
    assert "several files cannot be served yet (model tiny): got 3 files. Choose a quant or a repository with one file." in refusal(server, **change)
    assert not [entry for entry in server.log.as_list() if ".gguf" in entry["path"]]


def test_a_first_part_alone_is_known_by_its_header(server, tmp_path):
    hub_repository.add_gguf(tmp_path, "renamed.gguf", split__no=0, split__count=2)
    assert "got 2 files" in refusal(server, file="renamed.gguf")


def test_a_file_of_a_web_server(tmp_path, tls_files):
    sha256 = hub_repository.add_gguf(tmp_path, "a/tiny-Q4_K_M.gguf")
    with lab.running(tmp_path, cert=tls_files[0], key=tls_files[1]) as server:
        url = f"{server.url}/{NAME}/resolve/main/a/tiny-Q4_K_M.gguf?download=true"
        wanted = replace(WANTED, source=url, sha256=sha256)
        entry, _warnings = _resolve.resolve_model(wanted, pytest.fail, NOW, ca_path=str(tls_files[0]))
    assert (entry.repository, entry.commit, entry.quant, entry.license) == (None, None, "Q4_K_M", "mit")
    assert entry.files == (LockedFile("tiny-Q4_K_M.gguf", (tmp_path / NAME / "a/tiny-Q4_K_M.gguf").stat().st_size, sha256, url),)


def test_what_is_served_now(server, tmp_path):
    hub_repository.about(tmp_path, commit="a" * 40, license="mit")
    entry, hub = resolve(server)[0], Hub(HubOptions(server.url))
    assert _resolve.as_served_now(entry, hub) == entry
    changed = hub_repository.add_gguf(tmp_path, "tiny-Q4_K_M.gguf", general__name="other")
    assert _resolve.as_served_now(entry, hub).files[0].sha256 == changed
    (tmp_path / NAME / "tiny-Q4_K_M.gguf").unlink()
    with pytest.raises(FleetError, match="no longer has a locked file"):
        _resolve.as_served_now(entry, hub)
