"""Wanted models into entries of the lock, against the lab's hub."""
from __future__ import annotations

import hashlib
from dataclasses import replace

import hub_repository
import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _resolve
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._hub_client import Hub, HubOptions
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header
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


@pytest.mark.parametrize("change", [{"quant": "F16"}, {"file": "tiny-F16-00002-of-00003.gguf"}])
def test_a_split_set_is_one_entry_with_the_joined_header(server, tmp_path, change):
    digests = hub_repository.add_split(tmp_path, "tiny-F16", 3)
    entry, warnings = resolve(server, **change)
    assert [file.sha256 for file in entry.files] == digests and warnings == []
    assert [file.path for file in entry.files] == [f"tiny-F16-0000{part}-of-00003.gguf" for part in (1, 2, 3)]
    header, whole = Header.from_dict(entry.header), Header.from_dict(resolve(server)[0].header)
    assert (header.split_count, header.file_size, header.tensor_count) == (3, entry.size, whole.tensor_count)
    assert sum(group.bytes for group in header.tensors) == sum(group.bytes for group in whole.tensors)


def test_a_first_part_alone_is_known_by_its_header(server, tmp_path):
    hub_repository.add_gguf(tmp_path, "renamed.gguf", split__no=0, split__count=2)
    assert "a part of a split model, and its name does not say which" in refusal(server, file="renamed.gguf")


def test_a_missing_shard_is_told(server, tmp_path):
    hub_repository.add_split(tmp_path, "tiny-F16", 3)
    (tmp_path / NAME / "tiny-F16-00002-of-00003.gguf").unlink()
    assert "lacks shards" in refusal(server, quant="F16")


def test_a_projector_is_locked_beside_its_model(server, tmp_path):
    sha256 = hub_repository.add_projector(tmp_path, "mmproj-F16.gguf")
    hub_repository.add_projector(tmp_path, "mmproj-F32.gguf")
    size = (tmp_path / NAME / "mmproj-F16.gguf").stat().st_size
    assert resolve(server, vision=True)[0].projector == LockedFile("mmproj-F16.gguf", size, sha256)
    header = Header.from_dict(resolve(server, vision=True)[0].projector_header)
    assert (header.get("projector_type"), header.tensors, header.file_size) == ("mlp", None, size)
    assert resolve(server)[0].projector_header is None
    assert resolve(server, projector="mmproj-F32.gguf")[0].projector.path == "mmproj-F32.gguf"
    assert resolve(server)[0].projector is None and resolve(server, vision=True, projector="none")[0].projector is None


def test_what_speaks_against_a_projector_is_told(server, tmp_path):
    assert resolve(server, vision=True)[1] == []
    hub_repository.add_projector(tmp_path, "mmproj-F16.gguf", **{"clip.vision.projection_dim": 5120})
    assert resolve(server, vision=True)[1] == ["tiny: the projector is made for a model of width 5120, and this one has 256: it may be another model's."]
    hub_repository.add_projector(tmp_path, "mmproj-F16.gguf", **{"clip.has_vision_encoder": False, "clip.has_audio_encoder": True})
    assert "reads no images" in refusal(server, vision=True)


@pytest.mark.parametrize("change, words", [
    ({"projector": "tiny-Q8_0.gguf"}, ("no projector", "architecture llama", "tiny-Q8_0.gguf")),
    ({"projector": "mmproj.gguf"}, ("no such projector", "mmproj-F16.gguf")),
])
def test_what_is_no_projector_is_refused(server, change, words):
    message = refusal(server, **change)
    for word in words:
        assert word in message


def test_an_entry_stays_while_its_files_are_the_same(server, tmp_path):
    wanted = replace(WANTED, vision=True)
    known = resolve(server, vision=True)[0]
    (tmp_path / NAME / "README.md").write_text("# Tiny, told better\n")
    server.log.clear()
    assert _resolve.resolve_model(wanted, lambda: Hub(HubOptions(server.url)), "later", known=known) == (known, [])
    assert [entry["path"].split("?")[0] for entry in server.log.as_list()] == [f"/api/models/{NAME}"]


def test_an_entry_of_before_the_projector_s_header_was_kept_gets_it(server, tmp_path):
    old = replace(resolve(server, vision=True)[0], projector_header=None)
    entry = _resolve.resolve_model(replace(WANTED, vision=True), lambda: Hub(HubOptions(server.url)), "later", known=old)[0]
    assert entry.projector_header and (entry.files, entry.projector, entry.resolved_at) == (old.files, old.projector, "later")


@pytest.mark.parametrize("change", ["file", "license", "projector"])
def test_an_entry_moves_with_its_files_and_its_license(server, tmp_path, change):
    wanted, known = replace(WANTED, vision=True), resolve(server, vision=True)[0]
    if change == "file":
        hub_repository.add_gguf(tmp_path, "tiny-Q4_K_M.gguf", general__name="newer")
    elif change == "projector":
        hub_repository.add_projector(tmp_path, "mmproj-F16.gguf", **{"clip.vision.block_count": 3})
    else:
        hub_repository.about(tmp_path, license="other", tags=["gguf"])
    entry = _resolve.resolve_model(wanted, lambda: Hub(HubOptions(server.url)), "later", known=known)[0]
    assert entry.resolved_at == "later"
    assert [entry.files != known.files, entry.projector != known.projector, entry.license != known.license] == [
        change == "file", change == "projector", change == "license"]


def test_a_projector_joins_and_leaves_a_model_that_stays_where_it_is(server, tmp_path):
    known = resolve(server)[0]
    hub_repository.about(tmp_path, commit=known.commit, license="mit")
    hub = Hub(HubOptions(server.url))
    seeing = _resolve.resolve_model(replace(WANTED, vision=True), lambda: hub, "later", known=known)[0]
    assert f"/revision/{known.commit}" in str(server.log.as_list())
    assert (seeing.commit, seeing.files, seeing.projector.path) == (known.commit, known.files, "mmproj-F16.gguf")
    assert _resolve.resolve_model(WANTED, lambda: hub, NOW, known=seeing)[0] == known


def test_a_file_of_a_web_server(tmp_path, tls_files):
    sha256 = hub_repository.add_gguf(tmp_path, "a/tiny-Q4_K_M.gguf")
    with lab.running(tmp_path, cert=tls_files[0], key=tls_files[1]) as server:
        url = f"{server.url}/{NAME}/resolve/main/a/tiny-Q4_K_M.gguf?download=true"
        wanted = replace(WANTED, source=url, sha256=sha256)
        entry, _warnings = _resolve.resolve_model(wanted, pytest.fail, NOW, ca_path=str(tls_files[0]))
    assert (entry.repository, entry.commit, entry.quant, entry.license) == (None, None, "Q4_K_M", "mit")
    assert entry.files == (LockedFile("tiny-Q4_K_M.gguf", (tmp_path / NAME / "a/tiny-Q4_K_M.gguf").stat().st_size, sha256, url),)


def test_what_is_served_now(server, tmp_path):
    def now():
        return _resolve.as_served_now(entry, Hub(HubOptions(server.url)))

    hub_repository.about(tmp_path, commit="a" * 40, license="mit")
    entry = resolve(server, vision=True)[0]
    assert now() == entry
    changed = [hub_repository.add_gguf(tmp_path, "tiny-Q4_K_M.gguf", general__name="other"),
               hub_repository.add_projector(tmp_path, "mmproj-F16.gguf", **{"clip.vision.block_count": 3})]
    assert [file.sha256 for file in now().all_files] == changed
    (tmp_path / NAME / "mmproj-F16.gguf").unlink()
    with pytest.raises(FleetError, match="no longer has a locked file.*got mmproj-F16.gguf"):
        now()
