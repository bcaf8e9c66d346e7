"""The lock: round trip, hand edits, what is missing, what may not change, what people read."""
from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import yaml
from ansible_collections.localai.fleet.plugins.module_utils import _lock
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header
from ansible_collections.localai.fleet.plugins.module_utils._lock import Lock, LockedFile, LockedImage, LockedModel
from ansible_collections.localai.fleet.plugins.module_utils._oci import Image
from ansible_collections.localai.fleet.plugins.module_utils._wanted import WantedModel

HEADER = Header(version=3, architecture="gemma3", parameters={"block_count": 18, "attention.head_count_kv": [1, 1]}).as_dict()
TINY = LockedModel(
    source="hf://acme/Tiny-GGUF", repository="acme/Tiny-GGUF", commit="a" * 40, quant="Q4_K_M", license="mit", architecture="gemma3",
    files=(LockedFile("tiny-Q4_K_M.gguf", 253113024, "b" * 64),), chat_template_sha256=None, header=HEADER,
    resolved_at="2026-11-23T04:00:00Z", resolved_by="localai.fleet 0.1.0",
)
URL = "https://files.example.com/w.gguf"
WEB = replace(TINY, source=URL, repository=None, commit=None, files=(LockedFile("w.gguf", 2 << 30, "c" * 64, URL),), license=None)
NGINX = LockedImage("docker.io/library/nginx", "1.30.6", "sha256:" + "d" * 64, "multi")
LOCK = Lock({"nginx": NGINX}, {"tiny": TINY, "web": WEB})
WANTED = WantedModel(name="tiny", source="hf://acme/Tiny-GGUF")
WANTED_WEB = WantedModel(name="web", source=URL, sha256="c" * 64)


def test_round_trip_is_stable():
    text = _lock.dump(LOCK)
    assert _lock.load(text) == LOCK
    assert _lock.dump(_lock.load(text)) == text
    assert text.startswith("---\n# managed by localai.fleet; commit me\nimages:\n")
    assert yaml.safe_load(text)["models"]["tiny"]["header"]["parameters"]["attention.head_count_kv"] == [1, 1]


@pytest.mark.parametrize("text", ["", "---\n", "schema: 1\n", "schema: 1\nimages:\nmodels: {}\n"])
def test_empty(text):
    assert _lock.load(text) == Lock()


def edited(path: str, value) -> dict:
    data = copy.deepcopy(yaml.safe_load(_lock.dump(LOCK)))
    *steps, last = path.split("/")
    at = data
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if value is KeyError:
        del at[last]
    else:
        at[last] = value
    return data


@pytest.mark.parametrize("path, value, words", [
    ("schema", 2, ("unknown schema", "2", "reads schema 1")),
    ("modles", {}, ("unknown key", "modles", "images, models, schema")),
    ("models", [], ("not a mapping", "models")),
    ("models/tiny", "x", ("not a mapping", "models.tiny", "'x'")),
    ("models/Tiny", {}, ("unusable name", "Tiny")),
    ("models/tiny/sha", 1, ("unknown key", "models.tiny", "sha")),
    ("models/tiny/commit", KeyError, ("lacks a key", "no commit")),
    ("models/tiny/commit", "a" * 39, ("commit is not 40 hexadecimal digits", "models.tiny.commit")),
    ("models/tiny/commit", "A" * 40, ("40 hexadecimal",)),
    ("models/tiny/commit", None, ("40 hexadecimal", "nothing")),
    ("models/tiny/repository", "acme/Other", ("not that of its source", "acme/Other")),
    ("models/tiny/source", "acme/Tiny", ("no known form", "models.tiny.source", "hf://")),
    ("models/tiny/files", [], ("names no file",)),
    ("models/tiny/files/0/sha256", "b" * 63, ("sha256 is not 64", "models.tiny.files[0].sha256")),
    ("models/tiny/files/0/size", "253113024", ("not a number of bytes", "'253113024'")),
    ("models/tiny/files/0/size", True, ("not a number of bytes",)),
    ("models/tiny/files/0/size", 0, ("not a number of bytes",)),
    ("models/tiny/files/0/path", "../x.gguf", ("leaves its repository",)),
    ("models/tiny/files", [{"path": "x", "size": 1, "sha256": "b" * 64}] * 2, ("names a file twice",)),
    ("models/tiny/architecture", "llama", ("not that of its header", "llama, header gemma3")),
    ("models/tiny/header", None, ("no header",)),
    ("models/tiny/header/schema", 99, ("unknown schema",)),
    ("models/tiny/header/nonsense", 1, ("damaged",)),
    ("models/tiny/chat_template_sha256", "x", ("64 hexadecimal",)),
    ("models/tiny/quant", 4, ("quant is not text", "in quotes")),
    ("models/web/repository", "a/b", ("a source that is none",)),
    ("models/web/files/0/url", None, ("url is not text",)),
    ("models/tiny/projector", "mmproj.gguf", ("not a mapping", "models.tiny.projector")),
    ("models/tiny/projector", {"path": "mmproj.gguf", "size": 1}, ("lacks a key", "no sha256", "models.tiny.projector")),
    ("models/tiny/projector", {"path": "a/../m.gguf", "size": 1, "sha256": "b" * 64}, ("leaves its repository", "models.tiny.projector.path")),
    ("models/web/projector", {"path": "mmproj.gguf", "size": 1, "sha256": "b" * 64}, ("projector for a source that is no repository", "models.web")),
    ("images/nginx/digest", "sha256:1", ("digest is not sha256:",)),
    ("images/nginx/version", 1.3, ("version is not text", "1.3", "in quotes")),
    ("images/nginx/platform", "amd64", ("platform",)),
    ("images/nginx/tag", "x", ("unknown key", "tag", "images.nginx")),
    ("images/Nginx", {}, ("unusable name",)),
])
def test_hand_edits_are_checked(path, value, words):
    with pytest.raises(FleetError) as error:
        _lock.validate(edited(path, value), "fleet.lock.yml")
    assert "fleet.lock.yml" in str(error.value) or "header" in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("change, reason", [
    ({}, ""),
    ({"context": 8192, "slots": 2, "aliases": ("x",), "kind": "chat"}, ""),
    ({"name": "other"}, "not in the lock"),
    ({"source": "hf://acme/Other-GGUF"}, "source was hf://acme/Tiny-GGUF"),
    ({"source": "hf://acme/Tiny-GGUF@v2"}, "revision was the newest, is v2"),
    ({"source": "hf://acme/Tiny-GGUF@" + "a" * 40}, ""),
    ({"source": "hf://acme/Tiny-GGUF@" + "e" * 40}, "revision was the newest, is " + "e" * 40),
    ({"source": URL, "sha256": "c" * 64}, "source was hf://acme/Tiny-GGUF"),
    ({"quant": "Q8_0"}, "quant was Q4_K_M"),
    ({"quant": "UD-Q4_K_M"}, "quant was Q4_K_M"),
    ({"file": "tiny-Q4_K_M.gguf", "quant": "Q8_0"}, ""),
    ({"file": "tiny-Q8_0.gguf"}, "file was tiny-Q4_K_M.gguf"),
    ({"sha256": "b" * 64}, ""),
    ({"sha256": "f" * 64}, "sha256 was " + "b" * 64),
    ({"vision": True}, "projector was none"),
    ({"projector": "mmproj-F16.gguf"}, "projector was none"),
    ({"vision": True, "projector": "none"}, ""),
])
def test_what_a_model_lacks(change, reason):
    wanted = replace(WANTED, **change)
    assert _lock.missing(LOCK, [wanted], {}).models == ({wanted.name: reason} if reason else {})


@pytest.mark.parametrize("change, reason", [
    ({}, ""), ({"sha256": "f" * 64}, "sha256 was"), ({"source": URL + "?x=1"}, "source was"), ({"quant": "Q8_0"}, ""),
])
def test_what_a_web_model_lacks(change, reason):
    found = _lock.missing(LOCK, [replace(WANTED_WEB, **change)], {}).models
    assert found.get("web", "").startswith(reason) and bool(found) == bool(reason)


def test_a_reason_does_not_repeat_a_signature():
    signed = Lock({}, {"web": replace(LOCK.models["web"], source=URL + "?signature=hidden-word")})
    assert _lock.missing(signed, [WANTED_WEB], {}).models == {"web": f"source was {URL}"}


@pytest.mark.parametrize("key, image, reason", [
    ("nginx", Image("docker.io/library/nginx", "1.30.6"), ""),
    ("nginx", Image("docker.io/library/nginx", "1.30.7"), "was docker.io/library/nginx:1.30.6"),
    ("nginx", Image("quay.io/nginx/nginx", "1.30.6"), "was docker.io"),
    ("caddy", Image("docker.io/library/caddy", "2.11.4"), "not in the lock"),
])
def test_what_an_image_lacks(key, image, reason):
    found = _lock.missing(LOCK, [], {key: image}).images
    assert found.get(key, "").startswith(reason) and bool(found) == bool(reason)


def test_only_fresh_entries_move():
    newer = replace(TINY, commit="e" * 40, files=(LockedFile("tiny-Q4_K_M.gguf", 5, "f" * 64),))
    new = _lock.updated(LOCK, Lock(models={"tiny": newer}), ["tiny", "web"], ["nginx"])
    assert new == Lock(LOCK.images, {"tiny": newer, "web": WEB})


@pytest.mark.parametrize("models, images, prune, expected", [
    (["tiny"], ["nginx"], True, Lock(LOCK.images, {"tiny": TINY})),
    (["tiny"], [], False, LOCK),
    (None, [], True, Lock({}, LOCK.models)),
    ([], None, True, Lock(LOCK.images, {})),
])
def test_entries_that_are_no_longer_wanted(models, images, prune, expected):
    assert _lock.updated(LOCK, Lock(), models, images, prune) == expected


def test_other_bytes_for_the_same_commit():
    other = replace(TINY, files=(LockedFile("tiny-Q4_K_M.gguf", 5, "f" * 64),))
    with pytest.raises(FleetError) as error:
        _lock.updated(LOCK, Lock(models={"renamed": other}), None, None)
    for word in ("other bytes for the same commit", "a" * 40, "b" * 64, "f" * 64, "models.renamed"):
        assert word in str(error.value)


def test_another_digest_for_the_same_tag():
    moved = replace(NGINX, digest="sha256:" + "e" * 64)
    with pytest.raises(FleetError) as error:
        _lock.updated(LOCK, Lock(images={"nginx": moved}), None, None)
    for word in (NGINX.digest, moved.digest, "docker.io/library/nginx:1.30.6"):
        assert word in str(error.value)


def test_two_fresh_images_of_one_tag_agree():
    with pytest.raises(FleetError, match="another image"):
        _lock.check_same(Lock(), Lock(images={"a": NGINX, "b": replace(NGINX, digest="sha256:" + "e" * 64)}))


FOUND = replace(TINY, source="search", search={"category": "code"})
WANTED_FOUND = replace(WANTED, source="search", search={"category": "code"})


def test_what_was_searched_for_is_kept():
    assert _lock.load(_lock.dump(Lock(models={"tiny": FOUND}))).models["tiny"] == FOUND
    for change in ({"search": None}, {"source": "hf://acme/Tiny-GGUF"}, {"search": "code"}):
        data = {"schema": 1, "models": {"tiny": {**Lock(models={"tiny": FOUND}).as_dict()["models"]["tiny"], **change}}}
        data["models"]["tiny"]["files"] = [dict(file) for file in data["models"]["tiny"]["files"]]
        with pytest.raises(FleetError, match="source and search do not fit together .the lock, models.tiny.search"):
            _lock.validate(data)


@pytest.mark.parametrize("entry, change, reason", [
    (FOUND, {}, ""), (FOUND, {"context": 8192}, ""), (FOUND, {"search": {"category": "chat"}}, "search was category code"),
    (FOUND, {"quant": "Q8_0"}, "quant was Q4_K_M"), (replace(FOUND, search={}), {}, "search was for anything"),
    (TINY, {}, "source was hf://acme/Tiny-GGUF"), (FOUND, {"source": "hf://acme/Tiny-GGUF"}, "source was search"),
])
def test_what_a_model_that_is_searched_for_lacks(entry, change, reason):
    assert _lock.why_missing(entry, replace(WANTED_FOUND, **change)) == reason


SEES = Header(version=3, architecture="clip", parameters={"projector_type": "gemma3", "vision.image_size": 896}).as_dict()
SEEING = replace(TINY, projector=LockedFile("mmproj-F16.gguf", 1000, "e" * 64), projector_header=SEES)


def test_a_lock_without_projectors_still_loads():
    data = yaml.safe_load(_lock.dump(LOCK))
    for model in data["models"].values():
        del model["projector"], model["projector_header"]
    assert _lock.validate(data) == LOCK
    assert _lock.load(_lock.dump(Lock(models={"tiny": SEEING}))).models["tiny"] == SEEING


@pytest.mark.parametrize("change, reason", [
    ({"vision": True}, ""), ({"projector": "mmproj-F16.gguf"}, ""), ({}, "projector was mmproj-F16.gguf, is none"),
    ({"vision": True, "projector": "none"}, "projector was mmproj-F16.gguf, is none"), ({"projector": "b/mmproj.gguf"}, "projector was mmproj-F16.gguf"),
])
def test_what_a_model_with_a_projector_lacks(change, reason):
    wanted = replace(WANTED, **change)
    assert _lock.why_missing(SEEING, wanted) == reason
    assert _lock.only_projector(SEEING, wanted) is bool(reason)
    assert not _lock.only_projector(SEEING, replace(wanted, quant="Q8_0"))


@pytest.mark.parametrize("given", ["text", {"schema": 1}, {**SEES, "schema": 2}])
def test_a_damaged_header_of_a_projector_is_refused(given):
    data = yaml.safe_load(_lock.dump(Lock(models={"tiny": SEEING})))
    data["models"]["tiny"]["projector_header"] = given
    with pytest.raises(FleetError):
        _lock.validate(data)


def test_other_bytes_of_a_projector_for_the_same_commit():
    other = replace(SEEING, projector=LockedFile("mmproj-F16.gguf", 1000, "f" * 64))
    with pytest.raises(FleetError, match="other bytes for the same commit"):
        _lock.check_same(Lock(models={"tiny": SEEING}), Lock(models={"again": other}))


def test_what_is_asked_for_is_missing():
    assert _lock.missing(LOCK, [WANTED, WANTED_WEB], {}, ["tiny"]).models == {"tiny": "asked for"}
    with pytest.raises(FleetError, match="refreshed that is not wanted .refresh.: got nobody. The wanted ones are tiny"):
        _lock.missing(LOCK, [WANTED], {}, ["tiny", "nobody"])


def test_the_same_proposal_later_is_the_same():
    later = Lock({}, {"tiny": replace(TINY, resolved_at="2026-11-24T04:00:00Z"), "web": replace(WEB, license="x", resolved_at="2026-11-24T04:00:00Z")})
    assert _lock.settled(later, LOCK).models == {"tiny": TINY, "web": later.models["web"]}
