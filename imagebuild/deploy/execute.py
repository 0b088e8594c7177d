"""A Plan is executed on a Target: volumes, file systems, the deployment, its configuration, the boot loader. In that order.

The steps are Anaconda's for `ostreesetup` (pyanaconda's rpmostreepayload): init-fs, pull, os-init, deploy, bind mounts,
configuration, %post.
"""

import shlex
from pathlib import PurePosixPath

from imagebuild import steplog
from imagebuild.deploy import bootloader
from imagebuild.deploy.bootloader import Loader
from imagebuild.deploy.plan import Plan
from imagebuild.deploy.target import REPO, SYSROOT, Argv, File, Target
from imagebuild.errors import BuildError

# a tree's own cheap menu generator. Under its other name, grub-mkconfig, libostree would run it in the deployment as root
# directory, where nothing is mounted yet (ostree-bootloader-grub2.c)
GENERATOR = "/usr/libexec/ostree-grub-menu"
# what Anaconda makes in /var before %post runs
VAR_DIRECTORIES = ("home", "roothome", "lib", "opt", "srv", "usrlocal", "mnt", "media", "spool", "log", "tmp", "cache", "local")


def execute(plan: Plan, target: Target, *, commit: str) -> Loader:
    """Install the commit as the plan says; return the boot loader to be written to the disk when the target is closed."""
    layout = bootloader.find_layout(target)
    _make_volumes(plan, target)
    _make_file_systems(plan, target)
    _mount(plan, target)
    _deploy(plan, target, commit, layout[2])
    deployment = SYSROOT / "ostree/deploy" / plan.osname / "deploy" / f"{commit}.0"
    _configure(plan, target, deployment)
    _run_scripts(plan, target, deployment)
    loader = bootloader.make_loader(target, plan, layout)
    _unmount(plan, target)
    return loader


def lvm_options(device: str) -> list[str]:
    """Return options that make LVM look at one device only, and leave device-mapper and udev alone (lvm.conf(5))."""
    settings = (
        f'devices {{ dir="/dev" scan=["/dev"] filter=["a|^{device}$|","r|.*|"] use_devicesfile=0 obtain_device_list_from_udev=0 '
        'external_device_info_source="none" } global { event_activation=0 use_lvmlockd=0 use_lvmpolld=0 } '
        "activation { udev_sync=0 udev_rules=0 monitoring=0 } backup { backup=0 archive=0 }"
    )
    return ["--driverloaded=n", f"--config={settings}"]


def _make_volumes(plan: Plan, target: Target) -> None:
    physical = plan.partition("lvm")
    if physical is None or not plan.volumes:
        return
    device = target.device(physical.name)
    options = lvm_options(device)
    commands: list[Argv] = [
        ["pvcreate", *options, "--yes", "--force", "--zero=y", "--dataalignment=1m", device],
        ["vgcreate", *options, "--yes", "--physicalextentsize=4m", plan.group, device],
    ]
    # not activated, not wiped: the kernel's device-mapper may be absent, and the disk is new
    commands += [
        [
            "lvcreate",
            *options,
            "--yes",
            "--activate=n",
            "--zero=n",
            "--wipesignatures=n",
            f"--size={each.size}b",
            f"--name={each.name}",
            plan.group,
        ]
        for each in plan.volumes
    ]
    target.run(*commands)
    target.activate(plan)


def _make_file_systems(plan: Plan, target: Target) -> None:
    commands: list[Argv] = []
    labels = {each.name: each.label for each in plan.partitions} | {each.name: each.label for each in plan.volumes}
    for _, name, fstype in plan.mounts():
        label = ["-L", labels[name]] if labels[name] else []
        if fstype == "xfs":
            commands.append(["mkfs.xfs", "-q", "-f", "-m", f"uuid={plan.uuid(name)}", *label, target.device(name)])
        elif fstype == "ext4":
            seed = f"hash_seed={plan.uuid(name + ' hash')}"
            commands.append(["mkfs.ext4", "-q", "-F", "-U", plan.uuid(name), "-E", f"{seed},nodiscard", *label, target.device(name)])
    target.run(*commands)


def _mount(plan: Plan, target: Target) -> None:
    commands: list[Argv] = []
    for mount, name, fstype in plan.mounts():
        if fstype in ("xfs", "ext4"):
            place = SYSROOT / mount.lstrip("/")
            commands += [["mkdir", "-p", place]] if mount != "/" else []
            commands.append(["mount", "-t", fstype, target.device(name), place])
    # the toolbox's /tmp is a link to here
    commands.append(["mkdir", "-p", "-m", "1777", SYSROOT / "tmp"])
    target.run(*commands)


def _deploy(plan: Plan, target: Target, commit: str, menu: str) -> None:
    repo = SYSROOT / "ostree/repo"
    esp: list[Argv] = [["mkdir", "-p", SYSROOT / "boot/efi"]] if plan.partition("efi") else []
    steplog.note(f"deploying {commit}")
    target.run(
        *esp,
        # libostree takes GRUB for the boot loader when its menu is there, and writes the next one to /boot/loader.N/grub.cfg
        ["mkdir", "-p", SYSROOT / "boot/loader.0", SYSROOT / "boot" / menu],
        ["ln", "-s", "loader.0", SYSROOT / "boot/loader"],
        ["touch", SYSROOT / "boot/loader.0/grub.cfg"],
        ["ln", "-s", "../loader/grub.cfg", SYSROOT / "boot" / menu / "grub.cfg"],
        ["ostree", "admin", "init-fs", "--modern", SYSROOT],
        ["ostree", "admin", "os-init", f"--sysroot={SYSROOT}", plan.osname],
        ["ostree", f"--repo={repo}", "pull-local", "--disable-fsync", f"--remote={plan.remote}", REPO, commit],
        ["ostree", f"--repo={repo}", "refs", f"--create={plan.remote}:{plan.ref}", commit],
    )
    remote = f'\n[remote "{plan.remote}"]\nurl={plan.url}\ngpg-verify={str(plan.verify).lower()}\n'
    # `ostree remote add --repo` would write into the configuration of the system that runs it
    target.run(["sh", "-c", 'printf %s "$1" >> "$2"', "sh", remote, repo / "config"])
    arguments = [f"--karg-append={argument}" for argument in _kernel_arguments(plan)]
    target.run(
        ["ostree", "admin", "deploy", f"--sysroot={SYSROOT}", f"--os={plan.osname}", *arguments, f"{plan.remote}:{plan.ref}"],
        env={"OSTREE_GRUB2_EXEC": GENERATOR} if target.run(["sh", "-c", f"test ! -x {GENERATOR} || echo yes"]) else None,
    )


def _kernel_arguments(plan: Plan) -> list[str]:
    root = next(name for mount, name, _ in plan.mounts() if mount == "/")
    if root in [volume.name for volume in plan.volumes]:
        # device-mapper doubles a hyphen inside a name
        path = f"/dev/mapper/{plan.group.replace('-', '--')}-{root.replace('-', '--')}"
        found = [f"root={path}", f"rd.lvm.lv={plan.group}/{root}", "rw"]
    else:
        found = [f"root=UUID={plan.uuid(root)}", "rw"]
    selinux = {"disabled": ["selinux=0"], "permissive": ["enforcing=0"]}.get(plan.selinux, [])
    return [*found, *selinux, *plan.append]


def _configure(plan: Plan, target: Target, deployment: PurePosixPath) -> None:
    etc = deployment / "etc"
    files = {
        etc / "fstab": File(data=_fstab(plan).encode()),
        etc / "locale.conf": File(data=f"LANG={plan.lang}\n".encode()),
        etc / "vconsole.conf": File(data=f"KEYMAP={plan.keyboard}\n".encode()),
    }
    if plan.hostname:
        files[etc / "hostname"] = File(data=plan.hostname.encode() + b"\n")
    target.write(files)
    commands: list[Argv] = [
        ["ln", "-sfn", f"../usr/share/zoneinfo/{plan.timezone}", etc / "localtime"],
        # the deployment as a root directory: what Anaconda binds before %post
        ["mount", "--bind", deployment, deployment],
        ["mount", "--bind", SYSROOT / "ostree/deploy" / plan.osname / "var", deployment / "var"],
        ["mount", "--rbind", SYSROOT, deployment / "sysroot"],
        ["mount", "--bind", SYSROOT / "boot", deployment / "boot"],
        ["mount", "--bind", "/dev", deployment / "dev"],
        ["mount", "-t", "proc", "proc", deployment / "proc"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", deployment / "run"],
        ["chroot", deployment, "systemd-tmpfiles", "--create", "--boot", *[f"--prefix=/var/{name}" for name in VAR_DIRECTORIES]],
    ]
    if plan.root_locked:
        commands.append(["chroot", deployment, "passwd", "--quiet", "--lock", "root"])
    for verb, units in (("disable", plan.disabled), ("enable", plan.enabled)):
        if units:
            commands.append(["chroot", deployment, "systemctl", "--quiet", verb, *[_unit(name) for name in units]])
    target.run(*commands)
    if plan.root_password:
        target.run_inside(deployment, ["chpasswd", "--encrypted"], f"root:{plan.root_password}\n")


def _unit(name: str) -> str:
    return name if "." in name else f"{name}.service"


def _fstab(plan: Plan) -> str:
    lines = ["# made by imagebuild from the kickstart"]
    for mount, name, fstype in plan.mounts():
        if mount == "/" and name in [volume.name for volume in plan.volumes]:
            lines.append(f"/dev/mapper/{plan.group}-{name} / {fstype} defaults 0 0")
        elif fstype == "efi":
            identifier = plan.volume_id(name)
            lines.append(
                f"UUID={identifier[:4]}-{identifier[4:]} {mount} vfat umask=0077,shortname=winnt,nofail,x-systemd.device-timeout=0 0 2"
            )
        else:
            # no time-out for the device: on a starved machine it ends in the emergency shell instead of a slow boot
            lines.append(f"UUID={plan.uuid(name)} {mount} {fstype} defaults,x-systemd.device-timeout=0 1 2")
    return "\n".join(lines) + "\n"


def _run_scripts(plan: Plan, target: Target, deployment: PurePosixPath) -> None:
    for script in plan.scripts:
        steplog.note(f"%post of line {script.line}")
        interpreter = shlex.split(script.interpreter)
        try:
            target.run_inside(deployment, [*interpreter, "-e", "-x", "-s"] if interpreter == ["/bin/sh"] else interpreter, script.text)
        except BuildError as error:
            if script.must_succeed:
                raise BuildError(
                    f"%post of line {script.line} failed: {error.message}", hint="correct the kickstart; its commands are in the log"
                ) from error
            steplog.note(f"%post of line {script.line} failed and may: {error.message}")


def _unmount(plan: Plan, target: Target) -> None:
    deployed = SYSROOT / "ostree/deploy" / plan.osname / "deploy"
    target.run(
        ["sh", "-c", 'for each in "$1"/*.0; do umount -R "$each"; done', "sh", deployed],
        ["fstrim", SYSROOT],
        ["sync"],
        ["umount", "-R", SYSROOT],
    )
