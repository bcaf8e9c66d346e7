# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Whether what runs is what was planned: plan, instances before and after a probe, and the probe's checks → one verdict."""
from __future__ import annotations

import math
from typing import Any, Iterator, Mapping, Optional, Union

from ._errors import FleetError

THROTTLED_SHARE = 0.01  # more than one period in a hundred stopped is a wrong plan or a busy host
THROTTLED_PERIODS = 5  # half a second: loading a model or collecting garbage may touch the limit in a short probe; one thread too many does for good
MIB, GIB = 1024**2, 1024**3
CPUS_TOLERANCE = 0.001
SET_BY_ENVIRONMENT = ("threads", "max_active")
TMP_SHARE = 0.8  # of /tmp; LocalAI's engines write every request there, at any log level, and nothing empties it
ROOT_USERS = ("", "0", "root")

Info = Mapping[str, Any]
Infos = Mapping[str, Any]
Probes = Union[Mapping[str, Any], list]


def verdict(plan: Mapping[str, Any], infos_before: Infos, infos_after: Infos, probes: Probes) -> dict[str, Any]:
    """Compare and judge; nothing is read but the arguments.

    `plan`: the plan as a dictionary. `infos_before`, `infos_after`: host → result of `localai_info` (or its list of
    instances), taken before and after the probe. `probes`: results of `chat_probe`, as a list or gateway → result.
    Returns `ok`, `failed` (how many), `checks` (host, instance, name, target, ok, got, want, seconds, cure),
    `measured` (host, instance, memory in bytes planned, limit and anonymous, share of throttled periods) and `summary`.

    :raises FleetError: a plan without hosts.
    """
    hosts = plan.get("hosts") if isinstance(plan, Mapping) else None
    if not isinstance(hosts, Mapping):
        raise FleetError("This is no plan: it has no hosts", "plan", type(plan).__name__, "Give the result of fleet_plan.")
    checks, measured = [], []
    for host, instance in _planned(hosts):
        before, after = (_find(infos, host, instance["name"]) for infos in (infos_before, infos_after))
        checks += list(_instance_checks(host, instance, before, after))
        measured.append(_measured(host, instance, before, after))
    checks += list(_probe_checks(probes))
    failed = [check for check in checks if not check["ok"]]
    return {"ok": not failed, "failed": len(failed), "checks": checks, "measured": measured,
            "summary": _summary(checks, failed)}


def _planned(hosts: Mapping[str, Any]) -> Iterator[tuple[str, Info]]:
    for host in sorted(hosts):
        for instance in hosts[host].get("instances") or []:
            yield host, instance


def _find(infos: Infos, host: str, name: str) -> Optional[Info]:
    """The instance of this name in a host's result, or None."""
    result = (infos or {}).get(host) or []
    listed = result.get("instances") or [] if isinstance(result, Mapping) else result
    return next((info for info in listed if info.get("name") == name), None)


def _summary(checks: list, failed: list) -> str:
    if not checks:
        return "Nothing was planned and nothing was asked."
    if not failed:
        return f"All {len(checks)} checks passed."
    places = [" ".join(filter(None, (check["host"], check["instance"], check["name"], check["target"]))) for check in failed]
    return f"{len(failed)} of {len(checks)} checks failed: {'; '.join(places)}."


# --- instances


def _check(host: str, instance: Info, name: str, found: tuple[bool, Any, Any, str]) -> dict[str, Any]:
    """`found` is ok, got, want and the cure."""
    ok, got, want, cure = found
    return {"host": host, "instance": instance["name"], "name": name, "target": "", "ok": ok, "got": str(got),
            "want": str(want), "seconds": None, "cure": "" if ok else cure}


def _instance_checks(host: str, instance: Info, before: Optional[Info], after: Optional[Info]) -> Iterator[dict[str, Any]]:
    yield _check(host, instance, "container", _running(after))
    if after is None:
        return
    for name in ("memory_limit", "cpus", "cpuset", "threads", "max_active"):
        yield _check(host, instance, name, _same(name, instance, after))
    yield _check(host, instance, "hardening", _hardened(after))
    yield _check(host, instance, "throttled", _throttled(instance, before, after))
    if instance.get("memory_planned") and after.get("memory_anonymous_bytes") is not None:
        yield _check(host, instance, "memory", _memory(instance, after))
    if after.get("tmp_size_bytes"):
        yield _check(host, instance, "tmp", _tmp(after))


def _running(info: Optional[Info]) -> tuple[bool, str, str, str]:
    if info is None:
        state = "no container"
    elif not info.get("running"):
        state = "stopped, ended for memory" if info.get("oom_killed") else "stopped"
    else:
        state = info.get("health") or "running"
    cure = "Run site.yml for this host; if it stays so, read the container's log (docker logs)."
    return state in ("running", "healthy"), state, "running and healthy", cure


def _same(name: str, instance: Info, info: Info) -> tuple[bool, Any, Any, str]:
    """The container has what the plan says."""
    want, got = instance.get(name), info.get(f"{name}_env" if name in SET_BY_ENVIRONMENT else name)
    if name == "cpus" and want is not None and got is not None:
        same = abs(got - want) < CPUS_TOLERANCE
    else:
        same = got == want
    got, want = ("none" if value is None else value for value in (got, want))
    return same, got, want, "The container is not from this plan: run site.yml for this host."


def _kept_rights(info: Info) -> Iterator[str]:
    """Each way in which a container is open, in words."""
    if not info.get("read_only"):
        yield "writable root file system"
    if str(info.get("user") or "").partition(":")[0] in ROOT_USERS:
        yield "runs as root"
    if "ALL" not in [str(name).upper() for name in info.get("cap_drop") or []] or info.get("cap_add"):
        yield "keeps capabilities"
    options = [str(option).replace("=", ":") for option in info.get("security_opt") or []]
    if not {"no-new-privileges", "no-new-privileges:true"} & set(options):
        yield "may gain privileges"
    if info.get("privileged"):
        yield "privileged"
    if not info.get("pids_limit"):
        yield "no limit of processes"


def _hardened(info: Info) -> tuple[bool, str, str, str]:
    open_ways = ", ".join(_kept_rights(info))
    want = "read-only, not root, no capabilities, no new privileges, processes limited"
    return not open_ways, open_ways or "hardened", want, "Something else started or changed this container: run site.yml for this host."


def _periods(before: Optional[Info], after: Info) -> tuple[int, int]:
    """Quota periods and throttled ones since `before`; of all its life for a container that was made or started anew."""
    periods, throttled = after.get("nr_periods") or 0, after.get("nr_throttled") or 0
    same = before is not None and all(before.get(name) == after.get(name) for name in ("id", "started_at"))
    old, old_throttled = (before.get("nr_periods") or 0, before.get("nr_throttled") or 0) if before and same else (0, 0)
    return max(0, periods - old), max(0, throttled - old_throttled)


def _throttled(instance: Info, before: Optional[Info], after: Info) -> tuple[bool, str, str, str]:
    """Threads above the CPU limit are wanted: less than a core has one all the same, a part of a core one where that was measured to be faster."""
    periods, throttled = _periods(before, after)
    got = f"{throttled} of {periods} periods" + (f" ({100 * throttled / periods:.1f} %)" if periods else "")
    cure = ("Threads were stopped by the CPU limit: read the capacity again (another limit above it?), plan again, "
            "or leave more cores to the rest of the host.")
    if (instance.get("threads") or 0) > (instance.get("cpus") or math.inf):
        return True, got, "any: the plan has more threads than the CPU limit has cores", cure
    allowed = max(THROTTLED_PERIODS, THROTTLED_SHARE * periods)
    return throttled <= allowed, got, f"at most {THROTTLED_SHARE:.0%} of periods, or {THROTTLED_PERIODS}", cure


def _memory(instance: Info, info: Info) -> tuple[bool, str, str, str]:
    got, planned = info["memory_anonymous_bytes"], instance["memory_planned"]
    said = f"{got / GIB:.2f} GiB ({100 * got / planned:.0f} % of the plan)"
    cure = "It uses more than was planned: lower the context or the slots of its models, and report these two numbers."
    return got <= planned, said, f"at most {planned / GIB:.2f} GiB", cure


def _tmp(info: Info) -> tuple[bool, str, str, str]:
    used, size = info["tmp_used_bytes"], info["tmp_size_bytes"]
    said = f"{used / MIB:.0f} of {size / MIB:.0f} MiB ({100 * used / size:.0f} %)"
    cure = (f"The engines' record of requests fills /tmp, and no setting of LocalAI stops it: empty it without a pause by docker exec {info['name']} "
            "sh -c 'truncate -s 0 /tmp/go-processmanager*/std*', or restart the container.")
    return used <= TMP_SHARE * size, said, f"at most {TMP_SHARE:.0%}", cure


def _measured(host: str, instance: Info, before: Optional[Info], after: Optional[Info]) -> dict[str, Any]:
    periods, throttled = _periods(before, after) if after else (0, 0)
    return {
        "host": host,
        "instance": instance["name"],
        "memory_planned": instance.get("memory_planned"),
        "memory_limit": instance.get("memory_limit"),
        "memory_anonymous": after.get("memory_anonymous_bytes") if after else None,
        "memory_file": after.get("memory_file_bytes") if after else None,
        "throttled_share": round(throttled / periods, 4) if periods else None,
    }


# --- probes


def _results(probes: Probes) -> Iterator[tuple[str, Any]]:
    """(gateway, result) for each probe."""
    if isinstance(probes, Mapping) and "checks" not in probes:
        yield from sorted(probes.items())
        return
    for result in [probes] if isinstance(probes, Mapping) else probes or []:
        yield (str(result.get("base_url") or "") if isinstance(result, Mapping) else ""), result


def _probe_checks(probes: Probes) -> Iterator[dict[str, Any]]:
    for gateway, result in _results(probes):
        listed = result.get("checks") if isinstance(result, Mapping) else result
        if not listed:
            yield {"host": gateway, "instance": "", "name": "probe", "target": "", "ok": False, "got": "no checks",
                   "want": "checks", "seconds": None, "cure": "The probe did not run: read its task's error and run verify.yml again."}
        for check in listed or []:
            yield {**check, "host": gateway, "instance": ""}
