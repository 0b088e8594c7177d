"""What a disk must be like before its first boot: read from the disk itself, with the tree's own tools, and
judged.

Sources: machine-id(5), "First Boot Semantics"; cloud-init's documentation (datasources, "Boot Stages");
fedora-kickstarts' history of mistakes (fedora-kickstarts, history of fedora-atomic.ks, 2016 … 2017).
"""

import base64
import json
import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from imagebuild.config import yaml_text
from imagebuild.deploy import host_var
from imagebuild.deploy.target import SYSROOT, Sandbox
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Login

# each line: a word, a tab, base64. Nothing in the image is executed, no link of the image leads out of the
# toolbox
SCRIPT = r"""
set -u
cd "$1/etc"; var=$2; boot=$3
say() { printf '%s\t' "$1"; base64 -w0; echo; }
names() {
    word=$1; shift
    for each; do if [ -e "$each" ] || [ -L "$each" ]; then printf '%s\n' "$each"; fi; done | say "$word"
}
ls -1 "${1%/*}" | say deployments
if [ -f machine-id ]; then head -c 64 machine-id | say machine-id; fi
names host-keys ssh/ssh_host_*key*
names random-seed "$var/lib/systemd/random-seed" "$var/lib/random-seed"
cloud=$var/lib/cloud
names cloud-state "$cloud/instance" "$cloud"/instances/* "$cloud"/data/* "$cloud"/sem/* "$cloud"/seed/* \
    "$var"/log/cloud-init*.log
names leases "$var"/lib/dhclient/*lease* "$var"/lib/NetworkManager/*lease* "$var"/lib/systemd/network/*lease*
names journals "$var"/log/journal/*
names histories "$var"/roothome/.bash_history "$var"/home/*/.bash_history
names net-rules udev/rules.d/*persistent-net*.rules
names masked systemd/system/cloud-*.service
for each in ../usr/lib/systemd/system/cloud-*.service; do
    if [ -f "$each" ]; then echo "${each##*/}"; fi
done | say cloud-units
for each in systemd/system/cloud-*.service; do
    if [ -L "$each" ]; then printf '%s %s\n' "${each##*/}" "$(readlink "$each")"; fi
done | say unit-links
if [ -L resolv.conf ]; then
    readlink resolv.conf | say resolv-link
elif [ -f resolv.conf ]; then
    head -c 4096 resolv.conf | say resolv-conf
fi
if [ -f sysconfig/docker-storage ]; then head -c 4096 sysconfig/docker-storage | say docker-storage; fi
if [ -f sysconfig/docker-storage-setup ]; then
    head -c 65536 sysconfig/docker-storage-setup | say docker-storage-setup
fi
for each in cloud/cloud.cfg cloud/cloud.cfg.d/*.cfg; do
    if [ -f "$each" ]; then head -c 65536 "$each" | say cloud-config; fi
done
names remotes ostree/remotes.d/*
ls -1 "$boot/loader/entries" | say entries
stat -f -c '%S %f' "$boot" | say boot-room
for each in "$boot"/ostree/*/*; do
    if [ -f "$each" ] && [ ! -L "$each" ]; then stat -c '%s %n' "$each"; fi
done | say kernels
for each in ../usr/lib*/libostree-1.so.1.* ../usr/lib/*/libostree-1.so.1.*; do
    if [ -f "$each" ] && [ ! -L "$each" ] && grep -qF no-early-prune "$each"; then echo "$each"; fi
done | say early-prune
"""
# kernels, each with its initramfs, that /boot holds at an upgrade's worst. The one that runs stays; the new
# one is written; and the one before goes only when that is done (libostree 2022.7, ostree-sysroot.c,
# simple_write_deployment, and ostree-sysroot-deploy.c, write_deployments_with_options: the clean-up comes
# last). From 2023.8 on it goes first, when the room does not do otherwise (auto_early_prune_old_deployments;
# `no-early-prune` switches that off)
AT_WORST, PRUNED_EARLY = 3, 2
MIB = 1 << 20
# the tree's own programs say them: stat(1)'s %s, %S and %f
NUMBER, SIZE = re.compile(r"[0-9]{1,18}"), re.compile(r"([0-9]{1,18}) ")
# bytes for the menu's entries beside them, as libostree itself asks for (EARLY_PRUNE_SAFETY_MARGIN_SIZE)
MARGIN = 1 << 20
# cloud-init.service has been cloud-init-network.service since cloud-init 24.3, which runs all stages from
# cloud-init-main.service
CLOUD_UNITS = (
    "cloud-init-main.service",
    "cloud-init-local.service",
    "cloud-init.service",
    "cloud-init-network.service",
    "cloud-config.service",
    "cloud-final.service",
)


def read_facts(plan: Plan, target: Sandbox, deployment: PurePosixPath) -> dict[str, list[str]]:
    """Return what there is, by the words of SCRIPT; the file systems are mounted read-only at SYSROOT. Raises
    BuildError.
    """
    host_var.gather(plan, target)
    var, boot = host_var.stateroot(plan), SYSROOT / "boot"
    facts: dict[str, list[str]] = {}
    for line in target.run(["sh", "-c", SCRIPT, "sh", deployment, var, boot]).splitlines():
        word, _, encoded = line.partition("\t")
        try:
            facts.setdefault(word, []).append(
                base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
            )
        except ValueError as error:
            raise BuildError(f"the disk cannot be looked into: it answered {line[:80]!r}") from error
    return facts


def problems(
    facts: Mapping[str, list[str]],
    *,
    commit: str,
    kind: str,
    login: Login,
    clouds: Collection[frozenset[str]] = (),
) -> list[str]:
    """Return what is wrong with a disk that is to be booted for the first time, a sentence each. `kind` is
    the download's format; of each of `clouds` one datasource must be in cloud-init's list.
    """
    found = []
    deployments = [name for name in _words(facts, "deployments") if not name.endswith(".origin")]
    if deployments != [f"{commit}.0"]:
        found.append(f"it holds the deployments {', '.join(deployments) or '(none)'}, not just {commit}.0")
    if "machine-id" not in facts or facts["machine-id"][0].strip() not in ("", "uninitialized"):
        found.append(
            "/etc/machine-id is "
            + (
                "missing"
                if "machine-id" not in facts
                else "not empty: all its copies would be the same machine"
            )
        )
    must_be_absent = {
        "host-keys": "ssh host keys, which all copies would share",
        "random-seed": "a random seed",
        "cloud-state": "state of cloud-init, for which a first boot would be none",
        "leases": "leases of a DHCP client",
        "journals": "a journal",
        "histories": "somebody's shell history",
        "net-rules": "rules for the builder's network cards",
    }
    for word, what in must_be_absent.items():
        names = _words(facts, word)
        if names:
            found.append(f"it has {what}: {', '.join(names[:3])}")
    resolver = facts.get("resolv-conf", [""])[0].strip()
    if resolver:
        found.append("/etc/resolv.conf is not empty: it holds the builder's name servers")
    if re.search(r"^\s*\w+=.*\S", facts.get("docker-storage", [""])[0].replace('""', ""), re.MULTILINE):
        found.append("/etc/sysconfig/docker-storage is written already: the storage driver is frozen")
    if not _words(facts, "entries"):
        found.append("there is no boot loader entry in /boot/loader/entries")
    found += _kernel_room(facts)
    return found + (_vagrant(facts) if login is Login.VAGRANT else _cloud(facts, kind, clouds))


def _kernel_room(facts: Mapping[str, list[str]]) -> list[str]:
    """Return what says that /boot cannot take the kernels of an upgrade, besides the one it holds."""
    words = [word for line in _words(facts, "boot-room") for word in line.split()]
    numbers = [int(word) for word in words if NUMBER.fullmatch(word)]
    lines = _words(facts, "kernels")
    # a name may have a line feed in it
    sizes = [int(match.group(1)) for line in lines if (match := SIZE.match(line)) is not None]
    if len(numbers) != 2 or not numbers[0] or not sizes or len(sizes) != len(lines):
        return [
            "nobody can tell whether /boot has room for another kernel: "
            + ("it holds none" if not sizes else "its size is not known")
        ]
    block, free = numbers[0], numbers[0] * numbers[1]
    one = sum(-(-size // block) * block for size in sizes)
    more = (PRUNED_EARLY if _words(facts, "early-prune") else AT_WORST) - 1
    if free >= more * one + MARGIN:
        return []
    room = f"/boot has {free / MIB:.0f} MiB free beside its kernel"
    worst = (
        f"an upgrade holds {more + 1} kernels there at its worst, each {one / MIB:.0f} MiB with its initramfs"
    )
    return [f"{room}, and {worst}"]


def _words(facts: Mapping[str, list[str]], word: str) -> list[str]:
    return [line for text in facts.get(word, []) for line in text.splitlines() if line.strip()]


def _links(facts: Mapping[str, list[str]]) -> dict[str, str]:
    """Return unit -> what its link leads to; a part of a name with a line feed is not a unit that is asked
    for.
    """
    return {
        unit: target for line in _words(facts, "unit-links") for unit, _, target in (line.partition(" "),)
    }


def _vagrant(facts: Mapping[str, list[str]]) -> list[str]:
    links = _links(facts)
    there = _words(facts, "cloud-units")
    awake = [unit for unit in CLOUD_UNITS if unit in there and links.get(unit) != "/dev/null"]
    return [f"a Vagrant box without a cloud must mask {', '.join(awake)}"] if awake else []


def _cloud(facts: Mapping[str, list[str]], kind: str, clouds: Collection[frozenset[str]]) -> list[str]:
    links = _links(facts)
    masked = [unit for unit in CLOUD_UNITS if links.get(unit) == "/dev/null"]
    if masked:
        return [f"cloud-init is masked ({', '.join(masked)})"]
    known = datasources(facts)
    if known is None:
        return []  # cloud-init's own list has all of them
    missing = [" or ".join(sorted(wanted)) for wanted in clouds if not wanted & set(known)]
    return (
        [f"as {kind} cloud-init must look for {', '.join(missing)}, but its list is {', '.join(known)}"]
        if missing
        else []
    )


def datasources(facts: Mapping[str, list[str]]) -> list[str] | None:
    """Return cloud-init's configured datasource list: of the last file that has one. None when there is
    none.
    """
    found: list[str] | None = None
    for text in facts.get("cloud-config", []):
        try:
            parsed = yaml_text.parse(text)
        except ValueError:
            return []  # whatever cloud-init makes of that
        settings: Any = parsed.data if parsed is not None else None
        if isinstance(settings, dict) and isinstance(settings.get("datasource_list"), list):
            found = [str(each) for each in settings["datasource_list"]]
    return found


def to_json(facts: Mapping[str, list[str]]) -> str:
    """Return the facts as evidence."""
    return json.dumps(facts, indent=1, sort_keys=True) + "\n"
