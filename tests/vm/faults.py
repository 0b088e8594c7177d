"""Faults for images: each breaks a copy in one way. With the criteria that must catch it, and no others may
turn red.

A fault is a script that runs with the disk of an installed image mounted: $S is its root (with /boot and the
ESP below), $D the deployment.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuild.deploy.execute import deployment_of
from imagebuild.deploy.target import SYSROOT
from imagebuild.deploy.ways import WAYS
from imagebuild.kickstart.plan import Plan
from imagebuild.model import Disk, Toolbox, Tree
from imagebuild.tools import command
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.export import exported
from tests.vm.access_faults import ACCESS

ARTIFACT = "artifact-boots"
UPGRADE, UNSIGNED = "upgrades-to-the-next-release", "refuses-an-unsigned-upgrade"
REMOTE, OWN_KEYS = "upgrades-come-from-the-releases-remote", "the-images-own-keys-verify-the-release"
NO_FAILED, FATAL = "no-unit-has-failed", "nothing-fatal-was-logged"
HOSTNAME, KEY, SCRIPT = (
    "cloud-init-sets-the-hostname",
    "cloud-init-passes-an-ssh-key",
    "cloud-init-runs-the-user-script",
)
SERVICE, RUN, NETWORK = "container-service-starts", "containers-run", "containers-have-a-network-and-volumes"
MENU = "$S/boot/loader/grub.cfg"
# what the boot leaves is looked at for programs with root's rights, too
ALSO = {"a shell is setuid": ("the-boot-leaves-no-privileged-leftovers",)}
# a public key (other@localhost) whose secret half nobody has
OTHER_KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawj2oBYJKwYBBAHaRw8BAQdAV0euN3RSWCsedmDcPA7mfAw3NDwzu0Si+28m
0dBdDfW0D290aGVyQGxvY2FsaG9zdIiQBBMWCAA4FiEEk9VLnU3ZuhPnm7QnD7Vz
Uropo/UFAmsI9qACGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQD7VzUrop
o/WMBgEA+LV0XT5TDWOe8HmQEQQXJMO6N+Vk7KuzvhOwkv2rlLQBAIuTN/PT0DK6
9wf0i5bzh6EbWLMpYVjjEdT8WNuEPFgH
=G0A+
-----END PGP PUBLIC KEY BLOCK-----
"""
UNIT = """units=$D/etc/systemd/system
printf '[Service]\\nType=oneshot\\nExecStart=%s\\n[Install]\\nWantedBy=multi-user.target\\n' > $units/fault.service
ln -s ../fault.service $units/multi-user.target.wants/fault.service"""  # noqa: E501


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`script` breaks the image, `caught` names the criteria that turn red, `says` is in the reason of the
    first; `dead`: nothing else can be tested.

    `esp` empties the EFI system partition besides. `quiet`: it needs neither firmware nor a kernel of its own
    to show, nor a journey: it shows in namespaces, too (`namespaced`).
    """

    script: str
    caught: tuple[str, ...]
    says: str
    dead: bool = False
    esp: bool = False
    journeys: bool = False
    quiet: bool = False


def unit(command: str) -> str:
    """Return a script that makes a unit which runs a command at every boot."""
    return UNIT.replace("%s", command, 1)


FAULTS: dict[str, Fault] = {
    # --- it does not even boot ------------------------------------------------------------------------------
    "the ESP is empty": Fault(
        script=":", esp=True, caught=(ARTIFACT,), says="the firmware found nothing to boot", dead=True
    ),
    "GRUB's menu is empty": Fault(
        script=f": > {MENU}", caught=(ARTIFACT,), says="GRUB has no menu", dead=True
    ),
    "a kernel argument names no disk": Fault(
        script=f"sed -i 's,root=/dev/mapper/atomicos-root,root=/dev/mapper/nothing rd.timeout=5,' {MENU}",
        caught=(ARTIFACT,),
        says="an emergency shell",
        dead=True,
    ),
    "the kernel argument ostree= is missing": Fault(
        script=f"sed -i 's, ostree=[^ ]*,,' {MENU}",
        caught=(ARTIFACT,),
        says="got as far as the initramfs",
        dead=True,
    ),
    "the kernel is missing": Fault(
        script="rm $S/boot/ostree/*/vmlinuz*", caught=(ARTIFACT,), says="GRUB cannot load", dead=True
    ),
    "the kernel hangs at its panic": Fault(
        script=f"sed -i 's, ostree=[^ ]*, init=/nothing rd.break=never panic=0,; s,^\\s*initrd.*,,' {MENU}",
        caught=(ARTIFACT,),
        says="the kernel panicked",
        dead=True,
    ),
    "sshd is disabled": Fault(
        script=(
            "ln -sf /dev/null $D/etc/systemd/system/ssh.service; ln -sf /dev/null"
            " $D/etc/systemd/system/ssh.socket"
        ),
        caught=(ARTIFACT,),
        says="got as far as the",
        dead=True,
    ),
    "the default target is emergency": Fault(
        script="ln -sf /usr/lib/systemd/system/emergency.target $D/etc/systemd/system/default.target",
        caught=(ARTIFACT,),
        says="emergency shell",
        dead=True,
    ),
    # --- it boots -------------------------------------------------------------------------------------------
    "an older commit is inside": Fault(
        script=(
            "R=$S/ostree/repo; ostree --repo=$R commit -b fault --tree=ref=$(basename $D .0)"
            " --add-metadata-string=version=11.9 --timestamp='2020-01-01 00:00:00 UTC';"
            " OSTREE_GRUB2_EXEC=/usr/libexec/ostree-grub-menu ostree admin deploy --sysroot=$S"
            " --os=debian-atomic --origin-file=$D.origin fault"
        ),
        caught=("boots-the-released-commit",),
        says="released",
    ),
    "the origin is another ref": Fault(
        script="sed -i 's,^refspec=.*,refspec=debian-atomic:debian/11/x86_64/atomic-host,' $D.origin",
        caught=("boots-the-released-commit",),
        says="upgrades would come from",
        quiet=True,
    ),
    "hostname modules come in the wrong order": Fault(
        script="printf 'preserve_hostname: true\\n' > $D/etc/cloud/cloud.cfg.d/99-fault.cfg",
        caught=(HOSTNAME,),
        says="calls itself",
        quiet=True,
    ),
    "cloud-init's last stage is masked": Fault(
        script="ln -sf /dev/null $D/etc/systemd/system/cloud-final.service",
        caught=(HOSTNAME, KEY, SCRIPT),
        says="masked",
    ),
    "cloud-init has an error": Fault(
        script=(
            "printf '#cloud-config\\ntimezone: Nowhere/Nothing\\n' > $D/etc/cloud/cloud.cfg.d/99-fault.cfg"
        ),
        caught=(SCRIPT, NO_FAILED),
        says="reports errors",
        quiet=True,
    ),
    "the remote is missing": Fault(
        script="rm -f $D/etc/ostree/remotes.d/*",
        caught=(REMOTE, OWN_KEYS),
        says="has no remote",
        quiet=True,
    ),
    "the remote has no key": Fault(
        script=(
            "sed -i 's,^gpgkeypath=.*,gpgkeypath=/usr/share/ostree/nothing.asc,' $D/etc/ostree/remotes.d/*"
        ),
        caught=(REMOTE, OWN_KEYS),
        says="is not there",
    ),
    "the key is somebody else's": Fault(
        script=(
            f"printf '%s' '{OTHER_KEY}' > $D/etc/ostree/other.asc; sed -i"
            " 's,^gpgkeypath=.*,gpgkeypath=/etc/ostree/other.asc,' $D/etc/ostree/remotes.d/*"
        ),
        caught=(OWN_KEYS,),
        says="refuses the released commit itself",
    ),
    "signatures are not checked": Fault(
        script="sed -i 's,^gpg-verify=.*,gpg-verify=false,' $D/etc/ostree/remotes.d/*",
        caught=(REMOTE, UNSIGNED),
        says="are not checked",
        journeys=True,
    ),
    "the runtime's service is masked": Fault(
        script="ln -sf /dev/null $D/etc/systemd/system/docker.service",
        caught=(SERVICE, RUN, NETWORK),
        says="docker.service does not start",
    ),
    "the storage driver is another": Fault(
        script=(
            'printf \'[storage]\\ndriver = "vfs"\\nrunroot = "/run/containers/storage"\\ngraphroot ='
            ' "/var/lib/containers/storage"\\n\' > $D/etc/containers/storage.conf'
        ),
        caught=("container-storage-is-set-up",),
        says="'vfs', not 'overlay'",
    ),
    "containers have no network": Fault(
        script=(
            "printf '[Match]\\nType=ether\\n\\n[Network]\\nDHCP=yes\\n' >"
            " $D/etc/systemd/network/05-fault.network"
        ),
        caught=(NETWORK,),
        says="wget",
    ),
    "a unit fails": Fault(script=unit("/bin/false"), caught=(NO_FAILED,), says="fault.service", quiet=True),
    "the disk fills at first boot": Fault(
        script=unit(
            '/bin/sh -c "fallocate -l $$(( $$(df --output=avail -B1 /var | tail -n1) - 16777216 )) /var/fill;'
            ' cat /dev/zero > /var/rest; true"'
        ).replace(
            "[Service]",
            "[Unit]\\nAfter=docker-storage-setup.service"
            " cloud-init.service\\nBefore=cloud-config.service\\n[Service]",
            1,
        ),
        caught=(
            FATAL,
            HOSTNAME,
            KEY,
            SCRIPT,
            SERVICE,
            "container-storage-is-set-up",
            RUN,
            NETWORK,
            NO_FAILED,
        ),
        says="a disk was full",
    ),
    "the kernel trips": Fault(
        script=unit('/bin/sh -c "echo BUG: unable to handle page fault for a test > /dev/kmsg"'),
        caught=(FATAL,),
        says="tripped over itself",
    ),
    "the machine-id is baked in": Fault(
        script="echo 0123456789abcdef0123456789abcdef > $D/etc/machine-id",
        caught=("the-machine-id-is-unique",),
        says="same machine-id",
        quiet=True,
    ),
    "/tmp is root's alone": Fault(
        script=unit("/bin/chmod 755 /tmp").replace("Type=oneshot", "Type=oneshot\\nRemainAfterExit=yes"),
        caught=("tmp-is-everybodys",),
        says="has mode 755",
        quiet=True,
    ),
    "the disk does not grow": Fault(
        script="ln -sf /dev/null $D/etc/systemd/system/docker-storage-setup.service",
        caught=("the-disk-grows",),
        says="were not grown",
    ),
    # --- it does not survive its journeys -------------------------------------------------------------------
    "/etc is not kept": Fault(
        script="printf 'r! /etc/imagebuild-before\\n' > $D/etc/tmpfiles.d/fault.conf",
        caught=("etc-follows-the-deployment",),
        says="is gone after it",
        journeys=True,
    ),
    "there is no room in /boot for another kernel": Fault(
        script="dd if=/dev/zero of=$S/boot/fill bs=1M || true; truncate -s -4M $S/boot/fill",
        caught=(UPGRADE, "deploys-an-older-release-when-fresh"),
        says="the upgrade ended with",
        journeys=True,
    ),
    "a shutdown takes the kernel away": Fault(
        script=unit("/bin/true")
        .replace(
            "ExecStart=/bin/true",
            'RemainAfterExit=yes\\nExecStart=/bin/true\\nExecStop=/bin/sh -c "rm -f /boot/ostree/*/vmlinuz*"',
        )
        .replace("[Service]", "[Unit]\\nRequiresMountsFor=/boot\\n[Service]"),
        # nothing that reboots comes back: the host on which the later ones would have been tried is dead by
        # then
        caught=(
            UPGRADE,
            UNSIGNED,
            "deploys-an-older-release-when-fresh",
            "system-containers-survive-a-reboot",
            "container-units-survive-a-reboot",
        ),
        says="GRUB cannot load",
        journeys=True,
    ),
}

FAULTS |= {
    name: Fault(script=script, caught=(criterion, *ALSO.get(name, ())), says=says, quiet=True)
    for name, (script, criterion, says) in ACCESS.items()
}


@contextlib.contextmanager
def broken(tree: Tree, toolbox: Toolbox, plan: Plan, disk: Disk, fault: Fault, place: Path) -> Iterator[Path]:
    """Yield a copy (qcow2) of an installed disk that is broken in one way; whatever is not touched is the
    same.
    """
    file = place / "broken.qcow2"
    disk_image.make_overlay(file, disk.file, disk.format)
    way = "native" if os.geteuid() == 0 else "appliance"
    with (
        exported(file, "qcow2", writable=True) as raw,
        WAYS[way].open(raw, toolbox.image, plan) as target,
    ):
        target.reopen(plan, read_only=False)
        deployment = deployment_of(plan, tree.commit)
        target.run(["sh", "-euxc", f"S={SYSROOT}; D={deployment}; {fault.script}"])
        target.finish(plan)
        esp = plan.partition("efi")
        if fault.esp and esp is not None:
            command.run(["mdeltree", "-i", f"{raw}@@{esp.start}", "::/EFI"])
    yield file
