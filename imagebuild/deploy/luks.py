"""Encrypted partitions (LUKS 2): made, open while the system is installed, opened by the installed host.

By the tree's own cryptsetup(8), in the installer only. A passphrase is given on standard input, from a file
in memory that is gone again at once; it is in no argument list, log or file of the installed host. Who said
that a TPM 2 opens the disk (encryption.py) gets the empty passphrase first; at the first boot the host's own
systemd-cryptenroll(1) binds it to the TPM (PCR 7: who may sign what this machine boots), and takes the empty
passphrase away. Until then the disk protects nothing.

Sources: cryptsetup-luksFormat(8), cryptsetup-open(8), crypttab(5) (try-empty-password),
systemd-cryptsetup-generator(8) (rd.luks.uuid, rd.luks.options), systemd-cryptenroll(1) (--wipe-slot=empty).
"""

from dataclasses import replace
from pathlib import PurePosixPath

from imagebuild.deploy import lvm
from imagebuild.deploy.target import Argv, File, Sandbox
from imagebuild.errors import BuildError
from imagebuild.kickstart.encryption import GIVE_ONE, TPM, Encryption
from imagebuild.kickstart.plan import Plan

KEY = PurePosixPath("/run/luks-passphrase")
FROM_KEY = 'exec cryptsetup "$@" < ' + str(KEY)
# cryptsetup would wait for the udev of another namespace
NO_UDEV = {"DM_DISABLE_UDEV": "1"}
EMPTY = "try-empty-password"
UNIT = "luks-enroll-tpm{number}.service"
ENROLL = """[Unit]
Description=Have this machine's TPM open its encrypted storage, and the empty passphrase no longer
Documentation=man:systemd-cryptenroll(1)

[Service]
Type=oneshot
# the passphrase that is there so far: none
Environment=PASSWORD=
{commands}
ExecStartPost=/usr/bin/systemctl --no-reload disable {unit}

[Install]
WantedBy=multi-user.target
"""


def uuid(plan: Plan, name: str) -> str:
    """Return the UUID of a partition's LUKS header; what is inside of it has its own."""
    return plan.uuid(f"luks {name}")


def mapped(plan: Plan, name: str) -> str:
    """Return the name of the opened partition (Anaconda's and dracut's way to name it)."""
    return f"luks-{uuid(plan, name)}"


def encrypted(plan: Plan) -> dict[str, Encryption]:
    """Return partition name -> how it is encrypted."""
    return {each.name: each.encryption for each in plan.partitions if each.encryption is not None}


def hides(plan: Plan, name: str) -> bool:
    """Whether a partition, or the one that a volume lies on, is encrypted: nothing of it can be read on the
    disk.
    """
    return (lvm.physical_volume(plan).name if plan.is_volume(name) else name) in encrypted(plan)


def enrolled(plan: Plan) -> list[str]:
    """Return the partitions that the host binds to its TPM at the first boot: those without a passphrase.

    Who gives one and names a TPM enrols it with that passphrase, which is kept nowhere.
    """
    named = any(TPM.search(argument) for argument in plan.append)
    return [name for name, each in encrypted(plan).items() if named and not each.passphrase]


def with_passphrase(plan: Plan, passphrase: str) -> Plan:
    """Return a plan in which everything encrypted that has no passphrase has got this one."""
    return replace(
        plan,
        partitions=tuple(
            replace(each, encryption=replace(each.encryption, passphrase=passphrase))
            if each.encryption is not None and not each.encryption.passphrase
            else each
            for each in plan.partitions
        ),
    )


def check_programs(plan: Plan, target: Sandbox) -> None:
    """Raise BuildError when a plan wants what the tree cannot do."""
    if not encrypted(plan):
        return
    wanted = ["cryptsetup", *(["systemd-cryptenroll"] if enrolled(plan) else [])]
    found = target.run(["sh", "-c", 'for p; do command -v "$p" || :; done', "sh", *wanted])
    lost = [name for name in wanted if name not in [line.rpartition("/")[2] for line in found.splitlines()]]
    if lost:
        raise BuildError(
            f"the kickstart wants encrypted storage, but the tree has no {', '.join(lost)}",
            hint="add it to the compose, and crypt (and tpm2-tss) to its initramfs; or leave --encrypted out",
        )


def open_new(plan: Plan, target: Sandbox, devices: dict[str, str]) -> None:
    """Encrypt partitions and open them; in `devices` the opened ones take the place of the partitions."""
    for name, encryption in encrypted(plan).items():
        if not encryption.passphrase and name not in enrolled(plan):
            raise BuildError(f"{name} is to be encrypted, but nobody could open it", hint=GIVE_ONE)
        # a line, as a person will type it; with --key-file the empty one would be refused
        target.write({KEY: File(data=encryption.passphrase.encode() + b"\n", mode=0o600)})
        try:
            target.run(
                _from_key("luksFormat", *_options(encryption), "--uuid", uuid(plan, name), devices[name]),
                _from_key("open", "--type=luks2", devices[name], mapped(plan, name)),
                env=NO_UDEV,
            )
        finally:
            target.run(["rm", "-f", KEY])
        devices[name] = f"/dev/mapper/{mapped(plan, name)}"


def close(plan: Plan, target: Sandbox) -> None:
    """Close what was opened."""
    commands: list[Argv] = [["cryptsetup", "close", mapped(plan, name)] for name in encrypted(plan)]
    if commands:
        target.run(*commands, env=NO_UDEV)


def _from_key(*words: str) -> Argv:
    return ["sh", "-c", FROM_KEY, "sh", "--batch-mode", *words]


def _options(encryption: Encryption) -> list[str]:
    options = ["--type=luks2"]
    for option, value in (
        ("cipher", encryption.cipher),
        ("pbkdf", encryption.pbkdf),
        ("pbkdf-memory", encryption.pbkdf_memory),
        ("iter-time", encryption.pbkdf_time),
        ("pbkdf-force-iterations", encryption.pbkdf_iterations),
    ):
        options += [f"--{option}={value}"] if value else []
    return options


# --- the installed host -------------------------------------------------------------------------------------


def kernel_arguments(plan: Plan) -> list[str]:
    """Return what has the initramfs open the root file system; before the first boot that is the empty
    passphrase, where a TPM shall.
    """
    name, _ = plan.root()
    holder = lvm.physical_volume(plan).name if plan.is_volume(name) else name
    return [f"rd.luks.uuid={mapped(plan, holder)}"] if holder in encrypted(plan) else []


def with_empty_passphrase(argument: str) -> str:
    """Return an argument of the kernel's, which lets the empty passphrase in where it names a TPM."""
    return f"{argument},{EMPTY}" if TPM.search(argument) and EMPTY not in argument else argument


def files(plan: Plan, etc: PurePosixPath) -> dict[PurePosixPath, File]:
    """Return crypttab(5), and the unit that enrols the TPM."""
    names = list(encrypted(plan))
    if not names:
        return {}
    bound = enrolled(plan)
    lines = [
        f"{mapped(plan, name)} UUID={uuid(plan, name)} none"
        f" {f'tpm2-device=auto,{EMPTY}' if name in bound else 'luks'}\n"
        for name in names
    ]
    found = {etc / "crypttab": File(data="".join(lines).encode(), mode=0o600)}
    for unit, name in zip(units(plan), bound, strict=True):
        text = ENROLL.format(unit=unit, commands=_enrol(uuid(plan, name)))
        found[etc / "systemd/system" / unit] = File(data=text.encode())
    return found


def units(plan: Plan) -> list[str]:
    """Return the names of the units that enrol the TPM, one for each partition: what has become of one is
    nothing to the other.
    """
    count = len(enrolled(plan))
    return [UNIT.format(number=f"-{number}" if number > 1 else "") for number in range(1, count + 1)]


def _enrol(identifier: str) -> str:
    return (
        "ExecStart=/usr/bin/systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7 --wipe-slot=empty"
        f" /dev/disk/by-uuid/{identifier}"
    )


def settings(plan: Plan) -> list[str]:
    """Return lines of a shell script for the deployment: the unit runs at the first boot."""
    return [f"systemctl --quiet enable {unit}" for unit in units(plan)]
