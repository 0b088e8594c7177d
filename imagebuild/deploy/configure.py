"""The deployment becomes the system the kickstart describes: its files, accounts, services, and %post
sections.
"""

import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath

from imagebuild import steplog
from imagebuild.deploy import btrfs, host_var, luks, timekeeping
from imagebuild.deploy.target import SYSROOT, Argv, File, Sandbox, mount_proc, mount_tmp
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan, User
from imagebuild.kickstart.scripts import Script

# what Anaconda makes in /var before %post runs
VAR_DIRECTORIES = (
    "home",
    "roothome",
    "lib",
    "opt",
    "srv",
    "usrlocal",
    "mnt",
    "media",
    "spool",
    "log",
    "tmp",
    "cache",
    "local",
)
# what %post --nochroot finds: the disk's root, and the deployment (pyanaconda.core.constants)
SYSIMAGE, SYSIMAGE_ROOT = PurePosixPath("/mnt/sysimage"), PurePosixPath("/mnt/sysroot")
# NetworkManager asks for an address by itself; networkd wants to be told. cloud-init's own file comes before
# this one
NETWORKD = """units=/usr/lib/systemd/system file=/etc/systemd/network/80-kickstart.network
if [ -e $units/systemd-networkd.service ] && ! [ -e $units/NetworkManager.service ]; then
printf '[Match]\\nType=ether\\nKind=!*\\n\\n[Network]\\nDHCP=yes\\n' > $file
fi"""
# a line of tmpfiles.d that it does not understand (65, EX_DATAERR) or cannot make (73, EX_CANTCREAT) stops no
# host: systemd's own unit has SuccessExitStatus=DATAERR CANTCREAT (systemd 252,
# units/systemd-tmpfiles-setup.service; systemd-tmpfiles(8), "Exit status")
TMPFILES = """status=0
said=$("$@" 2>&1) || status=$?
case $status in
0|65|73) ;;
*) printf '%s\\n' "$said" >&2; exit "$status" ;;
esac
[ -z "$said" ] || printf '%s\\n' "$said"
if [ "$status" != 0 ]; then
echo "systemd-tmpfiles ended with $status: what it could not do is left out, as when a host boots"
fi"""
LOGGED = """log=$1; shift; mkdir -p "${log%/*}/" 2>/dev/null
if ! true 2>/dev/null > "$log"; then echo "no log can be written to $log"; exec "$@"; fi
"$@" > "$log" 2>&1; status=$?; cat "$log"; exit $status"""


def open_deployment(plan: Plan, target: Sandbox, deployment: PurePosixPath) -> None:
    """Make the deployment a root directory: what Anaconda binds before %post."""
    target.run(
        ["mount", "--bind", deployment, deployment],
        ["mount", "--rbind", host_var.stateroot(plan), deployment / "var"],
        ["mount", "--rbind", SYSROOT, deployment / "sysroot"],
        ["mount", "--bind", SYSROOT / "boot", deployment / "boot"],
        *host_var.beside(plan, deployment),
        ["mount", "--rbind", "/dev", deployment / "dev"],
        *[[str(word) for word in argv] for argv in mount_proc(deployment / "proc")],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", deployment / "run"],
        mount_tmp(deployment / "tmp"),
    )


def close_deployment(target: Sandbox, deployment: PurePosixPath) -> None:
    """Take the bind mounts away."""
    for place in (SYSIMAGE, SYSIMAGE_ROOT):
        target.run(["sh", "-c", 'if mountpoint -q "$1"; then umount -R "$1"; fi', "sh", place])
    target.run(["umount", "-R", deployment])


def configure(plan: Plan, target: Sandbox, deployment: PurePosixPath) -> None:
    """Write the files, accounts and services that the kickstart's commands ask for."""
    etc = deployment / "etc"
    files = {
        etc / "fstab": File(data=_fstab(plan).encode()),
        etc / "locale.conf": File(data=f"LANG={plan.lang}\n".encode()),
        etc / "vconsole.conf": File(data=f"KEYMAP={plan.keyboard}\n".encode()),
        etc / "adjtime": File(data=f"0.0 0 0.0\n0\n{'UTC' if plan.utc else 'LOCAL'}\n".encode()),
        etc / "default/grub": File(data=_default_grub(plan).encode()),
    }
    files |= luks.files(plan, etc)
    if plan.root_by_ssh:
        # where Anaconda puts it (pyanaconda/modules/users/installation.py, ConfigureRootPasswordSSHLoginTask)
        files[etc / "ssh/sshd_config.d/01-permitrootlogin.conf"] = File(data=b"PermitRootLogin yes\n")
    if plan.hostname:
        files[etc / "hostname"] = File(data=plan.hostname.encode() + b"\n")
    target.write(files)
    target.run(["ln", "-sfn", f"../usr/share/zoneinfo/{plan.timezone}", etc / "localtime"])
    _make_var(target, deployment)
    _accounts(plan, target, deployment)
    target.run_script(["sh", "-e", "-s"], _settings(plan), root=deployment)


def _make_var(target: Sandbox, deployment: PurePosixPath) -> None:
    """Make what is in /var as a first boot would; complaints that a boot would take go to the log."""
    prefixes = [f"--prefix=/var/{name}" for name in VAR_DIRECTORIES]
    said = target.run(
        [
            "sh",
            "-c",
            TMPFILES,
            "sh",
            "chroot",
            deployment,
            "systemd-tmpfiles",
            "--create",
            "--boot",
            *prefixes,
        ]
    )
    if said.strip():
        steplog.note(said.strip())


def _settings(plan: Plan) -> str:
    """Return a script for what depends on what the tree has."""
    # what is not there is disabled (anaconda 45.21, pyanaconda/core/service.py); systemctl fails in some
    # versions, 252 does not
    lines = [
        f"systemctl --quiet disable {_unit(name)} || echo {shlex.quote(name)}: there is no such service to"
        " disable >&2"
        for name in plan.disabled
    ]
    lines += [f"systemctl --quiet enable {_unit(name)}" for name in plan.enabled]
    lines += luks.settings(plan)
    if plan.dhcp:
        lines.append(NETWORKD)
    lines += timekeeping.settings(plan.time_sources)
    if plan.selinux:
        lines.append(
            f"if [ -e /etc/selinux/config ]; then sed -i 's/^SELINUX=.*/SELINUX={plan.selinux}/'"
            " /etc/selinux/config; fi"
        )
    if plan.firewall is not None:
        verb = "enable" if plan.firewall else "disable"
        lines.append(
            f"if [ -e /usr/lib/systemd/system/firewalld.service ]; then systemctl --quiet {verb}"
            " firewalld.service"
        )
        lines += (
            ["else echo 'firewall --enabled: the tree has no firewalld' >&2; exit 1"] if plan.firewall else []
        )
        lines.append("fi")
    return "\n".join(lines) + "\n"


def _accounts(plan: Plan, target: Sandbox, deployment: PurePosixPath) -> None:
    lines = [
        f"groupadd {f'--gid={gid} ' if gid is not None else ''}{shlex.quote(name)}"
        for name, gid in plan.groups
    ]
    lines = [
        f"getent group {shlex.quote(name)} >/dev/null || {line}"
        for (name, _), line in zip(plan.groups, lines, strict=True)
    ]
    for user in plan.users:
        lines += _user(user, host_var.mounts(plan))
    for name, key in plan.ssh_keys:
        lines += _ssh_key(name, key)
    if plan.root_locked:
        lines.append("passwd --quiet --lock root")
    passwords = [("root", plan.root_password)] + [
        (user.name, user.password) for user in plan.users if not user.locked
    ]
    if lines:
        target.run_script(["sh", "-e", "-s"], "\n".join(lines) + "\n", root=deployment)
    hashes = "".join(f"{name}:{secret}\n" for name, secret in passwords if secret)
    if hashes:
        target.run_script(["chpasswd", "--encrypted"], hashes, root=deployment)


def _user(user: User, mounts: Sequence[str]) -> list[str]:
    name, home = shlex.quote(user.name), shlex.quote(user.home)
    options = ["--create-home", "--no-log-init", f"--home-dir={home}", f"--shell={shlex.quote(user.shell)}"]
    options += [f"--uid={user.uid}"] if user.uid is not None else []
    options += [f"--gid={user.gid}"] if user.gid is not None else []
    options += [f"--comment={shlex.quote(user.gecos)}"] if user.gecos else []
    made = f"useradd {' '.join(options)} {name}"
    if mounts:
        # useradd leaves a home alone that is there already, as a file system of its own is (pyanaconda's
        # users.py makes it the user's, too)
        own = (
            f"[ ! -d /etc/skel ] || cp -R /etc/skel/. {home}; find {home} -xdev ! -name lost+found -exec"
            f" chown -h {name}: {{}} +"
        )
        made = f'{{ {made}; case "$(realpath -m {home})" in {"|".join(mounts)}) {own};; esac; }}'
    lines = [f"getent passwd {name} >/dev/null || {made}"]
    # a tree keeps its own groups in /usr/lib/group, where usermod does not look (nss-altfiles)
    for group in user.groups:
        word = shlex.quote(group)
        lines.append(
            f"grep -q ^{word}: /etc/group || getent -s altfiles group {word} >> /etc/group || groupadd {word}"
        )
        lines.append(f"usermod --append --groups={word} {name}")
    return lines


def _ssh_key(name: str, key: str) -> list[str]:
    user = shlex.quote(name)
    return [
        f"home=$(getent passwd {user} | cut -d: -f6)",
        'mkdir -p "$home/.ssh"',
        f"printf '%s\\n' {shlex.quote(key)} >> \"$home/.ssh/authorized_keys\"",
        'chmod 0700 "$home/.ssh"; chmod 0600 "$home/.ssh/authorized_keys"',
        f'chown -R {user}: "$home/.ssh"',
    ]


def _unit(name: str) -> str:
    return shlex.quote(name if "." in name else f"{name}.service")


def _default_grub(plan: Plan) -> str:
    return (
        "# made by imagebuild from the"
        f" kickstart\nGRUB_TIMEOUT={plan.timeout}\nGRUB_CMDLINE_LINUX={shlex.quote(' '.join(plan.append))}\n"
    )


def _fstab(plan: Plan) -> str:
    lines = ["# made by imagebuild from the kickstart"]
    for mount, name, fstype in plan.file_systems():
        if mount == "/" and plan.composefs is not None:
            # / is an overlay there, which cannot be remounted: systemd-remount-fs.service would fail for its
            # line (ostree's issue 3193; util-linux: "No changes allowed in reconfigure")
            lines.append("# / is put together in the initramfs, from the file system that root= names")
        elif mount == "/" and plan.is_volume(name):
            lines.append(f"{plan.mapped(name)} / {fstype} defaults 0 0")
        elif fstype == "efi":
            identifier = plan.volume_id(name)
            lines.append(
                f"UUID={identifier[:4]}-{identifier[4:]} {mount} vfat"
                " umask=0077,shortname=winnt,nofail,x-systemd.device-timeout=0 0 2"
            )
        else:
            # no time-out for the device: on a starved machine it ends in the emergency shell instead of a
            # slow boot
            options = f"defaults{btrfs.mount_option(plan, mount)},x-systemd.device-timeout=0"
            # fsck.btrfs(8) does nothing
            check = "0 0" if fstype == "btrfs" else "1 2"
            lines.append(f"UUID={plan.uuid(name)} {mount} {fstype} {options} {check}")
    lines += [f"UUID={plan.uuid(name)} none swap defaults,nofail 0 0" for name in plan.swaps()]
    return "\n".join(lines) + "\n"


def run_scripts(scripts: Sequence[Script], target: Sandbox, deployment: PurePosixPath) -> None:
    """Run %post sections in their order. Raises BuildError when one fails that must not (--erroronfail)."""
    if any(not script.inside for script in scripts):
        places: list[Argv] = [["mkdir", "-p", "/var/mnt"], ["mkdir", "-p", SYSIMAGE, SYSIMAGE_ROOT]]
        target.run(
            *places, ["mount", "--rbind", SYSROOT, SYSIMAGE], ["mount", "--rbind", deployment, SYSIMAGE_ROOT]
        )
    for script in scripts:
        run_script(script, target, deployment if script.inside else None, "%post")


def run_script(script: Script, target: Sandbox, root: PurePosixPath | None, section: str) -> None:
    """Run one section where it belongs, its output to the step's log and to its own (--log)."""
    steplog.note(f"{section} of line {script.line}")
    interpreter = shlex.split(script.interpreter)
    # a file, as under Anaconda: what a program in it reads from standard input is not the rest of the script.
    # And no `-e`: the last command's status counts, unless the section itself begins with `set -e`
    file = PurePosixPath("/run/kickstart-script")
    target.write(
        {(root or PurePosixPath("/")) / file.relative_to("/"): File(data=script.text.encode(), mode=0o700)}
    )
    argv = [*interpreter, *(["-x"] if interpreter in (["/bin/sh"], ["/bin/bash"]) else []), str(file)]
    argv = ["sh", "-c", LOGGED, "sh", script.log, *argv] if script.log else argv
    try:
        target.run_script(argv, "", root=root)
    except BuildError as error:
        if script.must_succeed:
            raise BuildError(
                f"{section} of line {script.line} failed: {error.message}",
                hint="correct the kickstart; its commands are in the log",
            ) from error
        steplog.note(f"{section} of line {script.line} failed, which is allowed: {error.message}")
