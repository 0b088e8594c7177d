"""What a healthy host answers to the criteria of access.

Accounts, sudoers and sshd's settings: output of the scripts themselves, run (chroot) in the demo's Debian 12
tree with what cloud-init 22.4.2 adds, shortened to one line of each kind. Services and sockets: written by
hand in the form of systemd 252's `systemctl show` and iproute2 6.1's `ss`, with the units of that tree.
"""

from imagebuild.tools import vagrant_key

ACCOUNTS, ROOT, SETUID, SHELLS, HOST_KEYS, LISTENERS = (
    f"sh -c # access: {name}" for name in ("accounts", "root", "setuid", "shells", "host keys", "listeners")
)
SETTINGS = """sshd hostbasedauthentication no
sshd permitemptypasswords no
sshd trustedusercakeys none
sshd authorizedkeyscommand none
sshd authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2
"""
ACCOUNTS_SAID = f"""passwd root:x:0:0:root:/root:/bin/bash
passwd sync:x:4:65534:sync:/bin:/bin/sync
passwd debian:x:1000:1000:Debian:/var/home/debian:/bin/bash
shadow systemd-network:!*:19675::::::
shadow root:*:19675:0:99999:7:::
shadow debian:!:19675:0:99999:7:::
key debian ssh-ed25519 AAAAC3Nz test
key root no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo 'Please login as the user \\"debian\\" rather than the user \\"root\\".';echo;sleep 10;exit 142" ssh-ed25519 AAAAC3Nz test
{SETTINGS}"""  # noqa: E501
ROOT_SAID = """passwd root:x:0:0:root:/root:/bin/bash
passwd debian:x:1000:1000:Debian:/var/home/debian:/bin/bash
group root:x:0:
group sudo:x:27:debian
group docker:x:102:
sudo # This file MUST be edited with the 'visudo' command as root.
sudo Defaults	env_reset
sudo Defaults	secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
sudo #Defaults:%sudo env_keep += "EDITOR"
sudo root	ALL=(ALL:ALL) ALL
sudo %sudo	ALL=(ALL:ALL) ALL
sudo @includedir /etc/sudoers.d
sudo 
sudo # User rules for debian
sudo debian ALL=(ALL) NOPASSWD:ALL
sudo 
"""  # noqa: W291
GETTY = "/sbin/agetty ; argv[]=/sbin/agetty -o -p -- \\u --noclear - linux ; ignore_errors=yes"
SULOGIN = "/lib/systemd/systemd-sulogin-shell ; argv[]=/lib/systemd/systemd-sulogin-shell emergency"


def block(name: str, active: str, enabled: str, given: str, environment: str, command: str) -> str:
    """Return a service as SHELLS prints it."""
    lines = (
        f"ExecStart={{ path={command} ; }}", f"Environment={environment}", f"StandardInput={given}",
        f"Id={name}", f"ActiveState={active}", f"UnitFileState={enabled}",
    )  # fmt: skip
    return "".join(f"unit {line}\n" for line in lines)


CMDLINE = "cmdline root=/dev/mapper/atomicos-root console=ttyS0,115200n8 ro\n"
SERVICES = "unit \n".join(
    (
        block("getty@tty1.service", "active", "enabled", "tty", "", GETTY),
        block(
            "debug-shell.service", "inactive", "disabled", "tty", "TERM=linux", "/bin/bash ; argv[]=/bin/bash"
        ),
        block("emergency.service", "inactive", "static", "tty-force", "HOME=/root", SULOGIN),
    )
)
LISTENING = """socket udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=300,fd=16))
socket udp UNCONN 0 0 10.0.2.15%eth0:68 0.0.0.0:* users:(("systemd-network",pid=290,fd=20))
socket tcp LISTEN 0 4096 [::ffff:127.0.0.1]:8080 *:* users:(("x",pid=400,fd=3))
socket tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=500,fd=3))
socket tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=500,fd=4))
"""
PROGRAMS = "file 04755 0 0 /usr/bin/sudo\nfile 02755 0 42 /usr/bin/chage\n"
KEYS = "began 1795824000\nkey 600 1795824004.5006441500 /etc/ssh/ssh_host_ed25519_key\n"
ACCESS: dict[str, str | None] = {
    ACCOUNTS: ACCOUNTS_SAID,
    ROOT: ROOT_SAID,
    SETUID: PROGRAMS,
    # ostree 2022.7, of that tree's commit
    "ostree --repo=/sysroot/ostree/repo ls": (
        "-04755 0 0 281624 /usr/bin/sudo\n-02755 0 42  80376 /usr/bin/chage\n"
    ),
    SHELLS: CMDLINE + SERVICES,
    HOST_KEYS: KEYS,
    LISTENERS: LISTENING,
}
# parts/vagrant.ks
ACCESS_OF_A_BOX: dict[str, str | None] = {
    ACCOUNTS: (
        "passwd vagrant:x:1000:1000::/var/home/vagrant:/bin/bash\nshadow root:$6$a$b:19675:0:99999:7:::\n"
        f"shadow vagrant:$6$a$b:19675:0:99999:7:::\nkey vagrant {vagrant_key.PUBLIC}\n{SETTINGS}"
    ),
    ROOT: "group sudo:x:27:\nsudo root ALL=(ALL:ALL) ALL\nsudo vagrant ALL=(ALL) NOPASSWD: ALL\n",
}
