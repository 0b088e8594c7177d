"""A Plan is executed on a Target: file systems, the deployment, its configuration, the boot loader. In that
order.

The steps are Anaconda's for `ostreesetup` (pyanaconda's rpmostreepayload): init-fs, pull, os-init, deploy,
bind mounts, configuration, %post.
"""

from dataclasses import replace
from pathlib import PurePosixPath

from imagebuild import steplog
from imagebuild.config.prepare_root import ASKED
from imagebuild.deploy import boot_menu, bootloader, btrfs, configure, host_var, luks
from imagebuild.deploy.bootloader import Loader
from imagebuild.deploy.target import REPO, SYSROOT, Argv, File, Sandbox, Target, place_of
from imagebuild.kickstart.plan import Plan

# a tree's own cheap menu generator. Under its other name, grub-mkconfig, libostree would run it in the
# deployment as root directory, where nothing is mounted yet (ostree-bootloader-grub2.c)
GENERATOR = "/usr/libexec/ostree-grub-menu"


def execute(plan: Plan, target: Target, *, commit: str) -> Loader:
    """Install the commit as the plan says; return the boot loader to be written to the disk when the target
    is closed. Raises BuildError; when the tree has no boot loader, or the ESP no room for it, before anything
    is written.
    """
    loader = bootloader.make_loader(target, plan)
    btrfs.check_programs(plan, target)
    luks.check_programs(plan, target)
    target.prepare(plan)
    # the toolbox's /tmp is a link to here
    target.run(["mkdir", "-p", SYSROOT / "tmp"], ["chmod", "1777", SYSROOT / "tmp"])
    _deploy(plan, target, commit, loader)
    deployment = deployment_of(plan, commit)
    host_var.fill(plan, target, deployment)
    host_var.gather(plan, target)
    configure.open_deployment(plan, target, deployment)
    configure.configure(plan, target, deployment)
    configure.run_scripts(plan.scripts, target, deployment)
    configure.close_deployment(target, deployment)
    target.finish(plan)
    return loader


def change(base: Plan, plan: Plan, target: Target, *, commit: str) -> None:
    """Turn what `base` installed into what `plan` says (`reason_not_to_change`), without installing again."""
    target.reopen(plan, read_only=False)
    if base.volumes and base.volumes[-1].size != plan.volumes[-1].size:
        _grow(plan, target)
    deployment = deployment_of(plan, commit)
    if kernel_arguments(base) != kernel_arguments(plan):
        arguments = kernel_arguments(plan)
        # not `set-kargs --replace`: that keeps what is not named
        target.run(
            ["ostree", "admin", "instutil", "set-kargs", f"--sysroot={SYSROOT}", *arguments],
            env=_menu_environment(plan, target),
        )
    host_var.gather(plan, target)
    configure.open_deployment(plan, target, deployment)
    # what the base's scripts took away again (an account, say) stays away
    added = replace(
        plan,
        users=plan.users[len(base.users) :],
        groups=plan.groups[len(base.groups) :],
        ssh_keys=plan.ssh_keys[len(base.ssh_keys) :],
    )
    configure.configure(added, target, deployment)
    configure.run_scripts(plan.scripts[len(base.scripts) :], target, deployment)
    configure.close_deployment(target, deployment)
    target.finish(plan)


def _grow(plan: Plan, target: Target) -> None:
    """Let the file system on the last volume take the room that the volume has got."""
    mount, name, fstype = next(each for each in plan.file_systems() if each[1] == plan.volumes[-1].name)
    # resize2fs(8) wants the device, xfs_growfs(8) the place
    target.grow(name, fstype, place_of(mount))


def reason_not_to_change(base: Plan, plan: Plan) -> str | None:
    """Return why `plan` cannot be had by changing what `base` installed; None when it can.

    The file systems must be where they were; the last partition, and the last volume in it, may be larger.
    The scripts of the base come first, and nothing of it may have to be undone.
    """
    return _moved(base, plan) or _undone(base, plan)


def _moved(base: Plan, plan: Plan) -> str | None:
    if (
        len(plan.partitions) != len(base.partitions)
        or (plan.table, plan.group) != (base.table, base.group)
        or (plan.subvolumes, plan.sector_size) != (base.subvolumes, base.sector_size)
        or plan.thin()
    ):
        return "its storage differs"
    last = len(plan.partitions) - 1
    for index, (old, new) in enumerate(zip(base.partitions, plan.partitions, strict=True)):
        size = old.size if index == last and new.content == "lvm" and new.size > old.size else new.size
        if replace(new, size=size) != old:
            return f"partition {new.number} differs"
    if len(plan.volumes) != len(base.volumes):
        return "its volumes differ"
    for index, (before, after) in enumerate(zip(base.volumes, plan.volumes, strict=True)):
        grown = (
            index == len(plan.volumes) - 1 and after.fstype in ("xfs", "ext4") and after.size > before.size
        )
        if replace(after, size=before.size if grown else after.size) != before:
            return f"volume {after.name} differs"
    return None


def _undone(base: Plan, plan: Plan) -> str | None:
    # on which line a section stands does not matter
    before, after = ([replace(script, line=0) for script in each.scripts] for each in (base, plan))
    if after[: len(before)] != before:
        return "its scripts do not begin with those of the base"
    for name in ("users", "groups", "ssh_keys"):
        if getattr(plan, name)[: len(getattr(base, name))] != getattr(base, name):
            return "an account or key of the base is not in it"
    if base.root_password and not plan.root_password:
        return "the base has a password of root"
    # Secure Boot starts what lies on the ESP for UEFI
    if {each.is_uefi for each in base.firmware} != {each.is_uefi for each in plan.firmware}:
        return "its firmware differs"
    same = (
        *(
            "osname",
            "remote",
            "url",
            "ref",
            "verify",
            "seed",
            "epoch",
            "timeout",
            "boot_password",
            "boot_menu",
        ),
        *("hostname", "dhcp", "selinux", "firewall", "enabled", "disabled"),
        *("time_sources", "root_by_ssh"),
    )
    return next(
        (
            f"its {name.replace('_', ' ')} differs"
            for name in same
            if getattr(base, name) != getattr(plan, name)
        ),
        None,
    )


def deployment_of(plan: Plan, commit: str) -> PurePosixPath:
    """Return where the commit's deployment lies, as the toolbox sees it."""
    return SYSROOT / "ostree/deploy" / plan.osname / "deploy" / f"{commit}.0"


def _deploy(plan: Plan, target: Target, commit: str, loader: Loader) -> None:
    repo = SYSROOT / "ostree/repo"
    esp: list[Argv] = [["mkdir", "-p", SYSROOT / "boot/efi"]] if plan.partition("efi") else []
    steplog.note(f"deploying {commit}")
    target.run(
        *esp,
        ["mkdir", "-p", SYSROOT / "boot" / loader.directory],
        ["ostree", "admin", "init-fs", "--modern", SYSROOT],
        *integrity(plan, repo),
        ["ostree", "admin", "os-init", f"--sysroot={SYSROOT}", plan.osname],
        [
            "ostree",
            f"--repo={repo}",
            "pull-local",
            "--disable-fsync",
            f"--remote={plan.remote}",
            REPO,
            commit,
        ],
        ["ostree", f"--repo={repo}", "refs", f"--create={plan.remote}:{plan.ref}", commit],
    )
    boot_menu.install(loader.menu, plan, target, loader.directory)
    if plan.boot_password:
        # where grub2-setpassword(8) puts it
        target.write(
            {
                SYSROOT / "boot" / loader.directory / "user.cfg": File(
                    data=f"GRUB2_PASSWORD={plan.boot_password}\n".encode(), mode=0o600
                )
            }
        )
    remote = f'\n[remote "{plan.remote}"]\nurl={plan.url}\ngpg-verify={str(plan.verify).lower()}\n'
    # `ostree remote add --repo` would write into the configuration of the system that runs it
    target.run(["sh", "-c", 'printf %s "$1" >> "$2"', "sh", remote, repo / "config"])
    arguments = [f"--karg-append={argument}" for argument in kernel_arguments(plan)]
    target.run(
        [
            "ostree",
            "admin",
            "deploy",
            f"--sysroot={SYSROOT}",
            f"--os={plan.osname}",
            *arguments,
            f"{plan.remote}:{plan.ref}",
        ],
        env=_menu_environment(plan, target),
    )
    if plan.verity:
        # whatever libostree did not write itself, or wrote before it knew
        target.run(["ostree", "admin", "post-copy", f"--sysroot={SYSROOT}"])
    boot_menu.check_entries(target)


def integrity(plan: Plan, repo: PurePosixPath) -> list[Argv]:
    """Return the commands that tell a host's repository what its tree asks for: every object and image that
    it will ever write is then sealed with fs-verity, or the pull fails (ostree.repo-config(5),
    "[ex-integrity]"; ostree 2026.4, ostree-repo-verity.c). Without `composefs` libostree before 2024.7 makes
    no image at all.
    """
    wanted = ["composefs"] if plan.composefs in ASKED else []
    wanted += ["fsverity"] if plan.verity else []
    return [["ostree", f"--repo={repo}", "config", "set", f"ex-integrity.{key}", "true"] for key in wanted]


def _menu_environment(plan: Plan, target: Sandbox) -> dict[str, str]:
    has_generator = target.run(["sh", "-c", f"test ! -x {GENERATOR} || echo yes"])
    return {"GRUB_TIMEOUT": str(plan.timeout)} | ({"OSTREE_GRUB2_EXEC": GENERATOR} if has_generator else {})


def kernel_arguments(plan: Plan) -> list[str]:
    """Return the kernel arguments of the installed system, without those that libostree adds."""
    root, _ = plan.root()
    on_volume = [f"root={plan.mapped(root)}", f"rd.lvm.lv={plan.group}/{root}", "rw"]
    found = on_volume if plan.is_volume(root) else [f"root=UUID={plan.uuid(root)}", "rw"]
    selinux = {"disabled": ["selinux=0"], "permissive": ["enforcing=0"]}.get(plan.selinux, [])
    opened = luks.kernel_arguments(plan)
    append = (
        [luks.with_empty_passphrase(argument) for argument in plan.append]
        if luks.enrolled(plan)
        else plan.append
    )
    return [*opened, *found, *btrfs.kernel_arguments(plan), *selinux, *append]
