#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_file
short_description: A model file on a host, named by its SHA-256 and verified
version_added: 0.1.0
description:
  - Downloads a GGUF file into a folder of blobs, where it is called C(<sha256>.gguf).
  - A blob gets its name only after its SHA-256 is verified, by rename. Until then its bytes are in C(.partial) beside it.
  - A download that was interrupted is resumed, also after the death of the process or a reboot of the host. Runs that
    want the same blob at once wait for the first of them.
  - On the controller an action plugin prints a line now and then about how far the download is.
  - Other hosts that have the blob, or that fetch it right now, can be asked before its source (O(peers)).
author:
  - localai.fleet contributors (@localai-fleet)
extends_documentation_fragment:
  - localai.fleet.attributes
attributes:
  async:
    support: none
    description: The module runs the download in the background by itself, to tell its progress.
options:
  dest_dir:
    description: Folder of the blobs, on the host. It is made when it is missing.
    type: path
    required: true
  sha256:
    description: SHA-256 of the file, 64 hexadecimal digits.
    type: str
    required: true
  state:
    description: Whether the blob is there. V(absent) also removes what an unfinished download left of it.
    type: str
    choices: [present, absent]
    default: present
  url:
    description:
      - Where the file comes from, C(https://), C(http://) or C(file://) (a file of the host itself).
      - Required for O(state=present) without O(src).
    type: str
  src:
    description:
      - Path of the file on the controller. It comes over Ansible's own connection, in pieces, so the host needs no way to the controller.
    type: str
  size:
    description:
      - Size of the file in bytes.
      - Required for O(state=present).
    type: int
  name:
    description: What to call the file in messages, for example the name of the model.
    type: str
    default: ""
  token:
    description: Bearer token for the host of O(url). It is never sent to a host that O(url) redirects to.
    type: str
  headers:
    description: More HTTP headers for the host of O(url). They are never sent to a host that O(url) redirects to.
    type: dict
    default: {}
  ca_path:
    description: File of PEM certificates on the host, trusted besides the system's authorities. Empty means none.
    type: str
    default: ""
  redirect_hosts:
    description:
      - Names of hosts that O(url) may redirect to, besides its own host and those of the Hugging Face Hub. C(.example.com) means all below it.
    type: list
    elements: str
    default: []
  peers:
    description:
      - Hosts that are asked before O(url), nearest first, and what their module M(localai.fleet.blob_share) returned. One that is gone or falls
        behind is passed over. O(url) is asked when none of them has the blob or is about to have it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What to call the host in messages.
        type: str
        required: true
      address:
        description: Where it can be reached.
        type: str
        required: true
      port:
        description: Port of its file service.
        type: int
        required: true
      secret:
        description: Secret of its file service. It is never sent, only proven.
        type: str
        required: true
      waits:
        description: Whether it is worth waiting for what that host is about to fetch.
        type: bool
        default: true
  bandwidth_limit:
    description: Most bytes or bits a second to fetch with, as in V(20MB/s), V(20MiB/s) or V(160Mbit/s). Empty means no limit.
    type: str
    default: ""
  minimum_rate:
    description: Bytes a second. A source that stays below it for a minute counts as a failed attempt.
    type: int
    default: 16384
  time_window:
    description:
      - Hours of the host's local time in which O(url) may be asked, as in V(22:00-06:00). Outside it the module fails at once, and at its
        end in mid-download; what was fetched is kept. Peers may be asked at any time. Empty means always.
    type: str
    default: ""
  piece:
    description: Set by the action plugin; a file on the host with the next bytes of O(src).
    type: path
  offset:
    description: Set by the action plugin; where O(piece) belongs in the file.
    type: int
    default: 0
  verify:
    description: Read a blob that is there again, and fetch it anew if its SHA-256 is wrong.
    type: bool
    default: false
  reserve_bytes:
    description: Bytes that must stay free on the file system after the download.
    type: int
    default: 536870912
  ahead_bytes:
    description: Bytes of other files that come after this one. No download starts unless there is space for all of them.
    type: int
    default: 0
  timeout:
    description: Seconds without a byte after which a connection counts as lost.
    type: int
    default: 30
  retries:
    description: Failed attempts in a row, without progress between them, after which the download fails.
    type: int
    default: 6
  mode:
    description: Permissions of the blob, in octal.
    type: str
    default: "0644"
  owner:
    description: Owner of the blob. The default is the user that Ansible becomes.
    type: str
  group:
    description: Group of the blob. The default is that of the user that Ansible becomes.
    type: str
seealso:
  - module: localai.fleet.fleet_lock
    description: Pins the URL, the size and the SHA-256.
"""

EXAMPLES = r"""
- name: Hold a model
  localai.fleet.gguf_file:
    name: llama-3.2-1b-instruct
    dest_dir: /opt/localai/models/gguf
    url: https://huggingface.co/bartowski/Llama-3.2-1B-Instruct-GGUF/resolve/067b946cf014b7c697f3654f621d577a3e3afd1c/Llama-3.2-1B-Instruct-Q4_K_M.gguf
    sha256: 6f85a640a97cf2bf5b8e764087b1e83da0fdb51d7c9fab7d0fece9385611df83
    size: 807694464

- name: Check a blob that a disk may have damaged, and repair it
  localai.fleet.gguf_file:
    dest_dir: /opt/localai/models/gguf
    url: file:///mnt/share/llama.gguf
    sha256: 6f85a640a97cf2bf5b8e764087b1e83da0fdb51d7c9fab7d0fece9385611df83
    size: 807694464
    verify: true

- name: Remove a blob
  localai.fleet.gguf_file:
    dest_dir: /opt/localai/models/gguf
    sha256: 6f85a640a97cf2bf5b8e764087b1e83da0fdb51d7c9fab7d0fece9385611df83
    state: absent
"""

RETURN = r"""
path:
  description: Path of the blob on the host.
  type: str
  returned: success
  sample: /opt/localai/models/gguf/6f85a640a97cf2bf5b8e764087b1e83da0fdb51d7c9fab7d0fece9385611df83.gguf
bytes_fetched:
  description: Bytes that were read from the source. In check mode, those that would be read.
  type: int
  returned: success
  sample: 807694464
sources:
  description: Bytes that were read, by who gave them. Empty in check mode.
  type: dict
  returned: success
  sample: {"ai1": 807694464}
bytes_present:
  description: Bytes of the blob that are there at the end.
  type: int
  returned: success
  sample: 807694464
resumed_from:
  description: Bytes of an earlier, interrupted download that this one built on.
  type: int
  returned: success
  sample: 0
retries:
  description: Requests that failed on the way and were repeated.
  type: int
  returned: success
  sample: 0
failure:
  description: What was wrong, where, what was got and what to do, apart.
  type: dict
  returned: failure
"""

import grp
import os
import pwd
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FleetError
from ..module_utils._fetch import RESERVE, Blob, Fetched, Limits, check_hours, check_space, discard, fetch, is_present, receive, sha256_of
from ..module_utils._glue import diff, fail
from ..module_utils._pace import Window, parse_rate
from ..module_utils._share import Peer
from ..module_utils._transport import open_source

PEER = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "secret": {"type": "str", "required": True, "no_log": True},
    "waits": {"type": "bool", "default": True},
}


def argument_spec() -> dict[str, Any]:
    """The options, as documented."""
    return {
        "dest_dir": {"type": "path", "required": True},
        "sha256": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "url": {"type": "str"},
        "size": {"type": "int"},
        "name": {"type": "str", "default": ""},
        "token": {"type": "str", "no_log": True},
        "headers": {"type": "dict", "default": {}, "no_log": True},
        "ca_path": {"type": "str", "default": ""},
        "src": {"type": "str"},
        "redirect_hosts": {"type": "list", "elements": "str", "default": []},
        "peers": {"type": "list", "elements": "dict", "default": [], "options": PEER},
        "bandwidth_limit": {"type": "str", "default": ""},
        "minimum_rate": {"type": "int", "default": 16384},
        "time_window": {"type": "str", "default": ""},
        "piece": {"type": "path"},
        "offset": {"type": "int", "default": 0},
        "verify": {"type": "bool", "default": False},
        "reserve_bytes": {"type": "int", "default": RESERVE},
        "ahead_bytes": {"type": "int", "default": 0},
        "timeout": {"type": "int", "default": 30},
        "retries": {"type": "int", "default": 6},
        "mode": {"type": "str", "default": "0644"},
        "owner": {"type": "str"},
        "group": {"type": "str"},
    }


def desired(params: dict[str, Any]) -> Blob:
    """The blob that is asked for. FleetError for values that no download could satisfy."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", params["sha256"]):
        raise FleetError("The sha256 is not one", "sha256", params["sha256"], "Give 64 hexadecimal digits.")
    if not re.fullmatch(r"0?[0-7]{3}", params["mode"]):
        raise FleetError("The mode is not octal", "mode", params["mode"], 'Give three octal digits, as in "0644".')
    if params["state"] == "present" and params["size"] < 1:
        raise FleetError("The size must be positive", "size", str(params["size"]), "Give the size of the file in bytes.")
    sha256 = params["sha256"].lower()
    return Blob(params["url"] or "", Path(params["dest_dir"]) / f"{sha256}.gguf", sha256, params["size"] or 0, params["name"],
                int(params["mode"], 8))


def request_headers(params: dict[str, Any]) -> dict[str, str]:
    """The caller's headers and the token, as strings."""
    headers = {str(name): str(value) for name, value in params["headers"].items()}
    if params["token"]:
        headers["Authorization"] = f"Bearer {params['token']}"
    return headers


def limits(params: dict[str, Any]) -> Limits:
    """How fast, how slow and when. FleetError for what makes no sense."""
    return Limits(parse_rate(params["bandwidth_limit"]), float(params["minimum_rate"]), Window.parse(params["time_window"]))


def read(blob: Blob) -> dict[str, Any]:
    """What is there: size, mode, owner and group; empty when nothing is."""
    if not blob.target.exists():
        return {}
    stat = blob.target.stat()
    return {"size": stat.st_size, "mode": f"{stat.st_mode & 0o777:04o}", "owner": _user(stat.st_uid), "group": _group(stat.st_gid)}


def plan(blob: Blob, params: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """What shall be there, in the form of `read`."""
    if params["state"] == "absent":
        return {}
    return {
        "size": blob.size,
        "mode": f"{blob.mode:04o}",
        "owner": params["owner"] or current.get("owner") or _user(os.geteuid()),
        "group": params["group"] or current.get("group") or _group(os.getegid()),
    }


def damaged(blob: Blob, params: dict[str, Any]) -> bool:
    """Whether a blob of the right name and size has other content; looked at only when asked to."""
    return bool(params["verify"]) and is_present(blob) and sha256_of(blob.target) != blob.sha256


def predict(blob: Blob, params: dict[str, Any], wrong: bool) -> Fetched:
    """What a run would do, with the errors it would meet before the first byte."""
    within = limits(params)
    if params["state"] == "absent" or (is_present(blob) and not wrong):
        return Fetched(blob.target, 0, 0, 0)
    if not params["src"]:
        open_source(blob.url, request_headers(params), "", params["timeout"])
        if not params["peers"]:
            check_hours(blob, within.window)
    check_space(blob, params["reserve_bytes"], params["ahead_bytes"])
    part = blob.bytes_present()
    return Fetched(blob.target, blob.size - part, part, 0)


def apply(module: AnsibleModule, blob: Blob, wrong: bool) -> Fetched:
    """Make it so."""
    params = module.params
    if params["state"] == "absent":
        discard(blob)
        return Fetched(blob.target, 0, 0, 0)
    if wrong:
        blob.target.unlink()
    done = Fetched(blob.target, 0, 0, 0)
    if not is_present(blob):
        done = bring(blob, params)
    if is_present(blob):
        path = str(blob.target)
        module.set_mode_if_different(path, blob.mode, False)
        module.set_owner_if_different(path, params["owner"], False)
        module.set_group_if_different(path, params["group"], False)
    return done


def bring(blob: Blob, params: dict[str, Any]) -> Fetched:
    """The blob, or the next piece of it."""
    space = {"reserve_bytes": params["reserve_bytes"], "ahead_bytes": params["ahead_bytes"]}
    if not params["src"]:
        return fetch(blob, headers=request_headers(params), ca_path=params["ca_path"], redirect_hosts=params["redirect_hosts"],
                     peers=[Peer.from_dict(peer) for peer in params["peers"]], limits=limits(params), timeout=float(params["timeout"]),
                     retries=params["retries"], **space)
    if not params["piece"]:
        raise FleetError("A file of the controller comes in pieces only", params["src"], "a run without the action plugin",
                         "Run gguf_file as a task of Ansible, or give url.")
    now = receive(blob, Path(params["piece"]), params["offset"], params["src"], **space)
    return Fetched(blob.target, max(0, now - params["offset"]), params["offset"], 0, {"controller": max(0, now - params["offset"])})


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _text(blob: Blob, state: dict[str, Any]) -> str:
    told = {"name": blob.name, **state} if state else {}
    return "".join(f"{key}: {value}\n" for key, value in told.items())


def main() -> None:
    """Read, plan, apply."""
    module = AnsibleModule(
        argument_spec(), supports_check_mode=True,
        required_if=[("state", "present", ["size"]), ("state", "present", ["url", "src"], True)], mutually_exclusive=[("url", "src")],
    )
    try:
        blob = desired(module.params)
        current, wrong = read(blob), damaged(blob, module.params)
        wanted = plan(blob, module.params, current)
        leftovers = module.params["state"] == "absent" and bool(blob.leftovers())
        changed = current != wanted or wrong or leftovers
        before = {} if wrong else current
        done = predict(blob, module.params, wrong) if module.check_mode or not changed else apply(module, blob, wrong)
    except FleetError as error:
        fail(module, error)
    module.exit_json(
        changed=changed, path=str(blob.target), bytes_fetched=done.bytes_fetched, resumed_from=done.resumed_from, retries=done.retries,
        sources=dict(done.sources), bytes_present=blob.size if is_present(blob) else blob.bytes_present(),
        diff=diff(_text(blob, before), _text(blob, wanted), str(blob.target)))


if __name__ == "__main__":
    main()
