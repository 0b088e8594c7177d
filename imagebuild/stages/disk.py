"""Install a disk: a plan executed with the tree's own programs, in the best way that works here."""

from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.deploy import bootloader, compatibility, lvm, root_image
from imagebuild.deploy import partition_table as table
from imagebuild.deploy.bootloader import Loader
from imagebuild.deploy.execute import change, deployment_of, execute, reason_not_to_change
from imagebuild.deploy.signed_loader import HINT
from imagebuild.deploy.target import SYSROOT
from imagebuild.deploy.ways import WAYS, choose
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Firmware
from imagebuild.model import Disk, SecureBoot, Toolbox, Tree
from imagebuild.tools.ostree.kernel import kernel_of
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.export import exported, reason_not_to_export
from imagebuild.tools.secure_boot.chain import firmware_of, judge


def install_disk(out: Path, tree: Tree, toolbox: Toolbox, plan: Plan, ways: tuple[str, ...]) -> Disk:
    """Execute a plan on a new raw disk, in the best of the `ways` to populate it. Raises BuildError, also
    when Secure Boot is asked for and nothing signed would start it.
    """
    way = choose(plan, ways)
    repo = Repo(tree.repo)
    root_image.check_kernel(repo, tree.commit, tree.kernel)
    steplog.note(f"populating the {way} way")
    file = out / "disk.raw"
    with file.open("wb") as disk:
        disk.truncate(plan.disk_size)
    table.write_table(file, plan)
    if plan.volumes and not plan.thin():
        lvm.write_group(file, plan)
    with WAYS[way].open(file, toolbox.image, plan) as target:
        loader = execute(plan, target, commit=tree.commit)
    bootloader.write_loader(file, plan, loader)
    compatibility.check(file, plan, grub=loader.version, kernel=tree.kernel)
    root_image.check_disk(
        file, plan, PurePosixPath("/") / deployment_of(plan, tree.commit).relative_to(SYSROOT)
    )
    secure_boot = _judge(file, tree, plan, loader)
    if Firmware.UEFI_SECURE in plan.firmware and secure_boot.reason is not None:
        raise BuildError(
            f"the disk is to boot under {Firmware.UEFI_SECURE}, but {secure_boot.reason}",
            hint=f"{HINT}; or take {Firmware.UEFI_SECURE} out of `firmware` of its image",
        )
    return Disk(
        file=file,
        format="raw",
        size=plan.disk_size,
        firmware=firmware_of(plan.firmware, secure_boot),
        populated=way,
        secure_boot=secure_boot,
        sector_size=plan.sector_size,
    )


def _judge(file: Path, tree: Tree, plan: Plan, loader: Loader) -> SecureBoot:
    """Return whether the disk boots on a machine with Secure Boot, and say so in the step's log."""
    esp = plan.partition("efi")
    if esp is None or not loader.esp:
        found = SecureBoot(reason="the disk is for BIOS only")
    elif loader.unsigned is not None:
        found = SecureBoot(reason=loader.unsigned)
    else:
        found = judge(file, esp.start, kernel_of(Repo(tree.repo), tree.commit), {}, tree.arch)
    steplog.note(found.in_words())
    return found


def derive_disk(
    out: Path, tree: Tree, toolbox: Toolbox, base: Disk, before: Plan, plan: Plan, ways: tuple[str, ...]
) -> Disk:
    """Make the disk of a plan that extends another one (`before`), as a qcow2 overlay of the disk `base` that
    was installed by that.

    Where that cannot be (`reason_not_to_change` says why: storage differs, say) it is installed from scratch.
    Raises as `install_disk`.
    """
    way = next((name for name in ways if WAYS[name].opens and not WAYS[name].refuses(plan)), None)
    reason = (
        reason_not_to_change(before, plan)
        or reason_not_to_export()
        or (None if way else "the offline way cannot change a disk")
    )
    if base.populated == "offline" and choose(plan, ways) == "offline":
        reason = "it would not be reproducible any more"
    if reason or way is None:
        steplog.note(f"installing from scratch: {reason}")
        return install_disk(out, tree, toolbox, plan, ways)
    steplog.note(f"changing an overlay of the base's disk the {way} way")
    file = out / "disk.qcow2"
    disk_image.make_overlay(file, base.file, "raw", size=plan.disk_size)
    with exported(file, "qcow2", writable=True) as raw:
        table.write_table(raw, plan)
        if plan.volumes:
            lvm.write_group(raw, plan)
        # file systems and boot loader stay where and as they are
        with WAYS[way].open(raw, toolbox.image, plan) as target:
            change(before, plan, target, commit=tree.commit)
    disk_image.name_backing(file, _seen_from_beside(out, base.file), "raw")
    return Disk(
        file=file,
        format="qcow2",
        size=plan.disk_size,
        firmware=firmware_of(plan.firmware, base.secure_boot),
        populated=way,
        derived=True,
        base=base.file,
        secure_boot=base.secure_boot,
        sector_size=plan.sector_size,
    )


def _seen_from_beside(out: Path, file: Path) -> str:
    """Return how a finished artifact, from its `out`, names a file of another one in the same store: the same
    in the store of any machine (artifacts/KIND/KEY/out/…). Outside of a store it is the file's own path.
    """
    artifacts = file.absolute().parents[min(3, len(file.absolute().parents) - 1)]
    if artifacts.name != "artifacts" or not out.absolute().is_relative_to(artifacts.parent / "scratch"):
        return str(file.absolute())
    return f"../../../{file.absolute().relative_to(artifacts)}"
