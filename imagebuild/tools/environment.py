"""What programs find in their environment: of this process's own what they need, and no secrets.

The environment of a nightly build holds keys of object stores, tokens of a CI, proxies with a log-in. QEMU
and mkfs have no use for them, nor has the script of a package; and everybody of the same account reads them
in /proc/PID/environ.
"""

import os

# environ(7); what GnuPG, OpenSSL, libcurl, LVM and apt are told where they find their own files
KEPT = frozenset((
    "APT_CONFIG", "CURL_CA_BUNDLE", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "GNUPGHOME", "GPG_TTY", "HOME",
    "HOSTNAME", "LANG", "LOGNAME", "LVM_SYSTEM_DIR", "PATH", "REQUESTS_CA_BUNDLE", "SHELL", "SSL_CERT_DIR",
    "SSL_CERT_FILE", "TERM", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
))  # fmt: skip
# settings of the programs themselves: how they work, never what they may
PREFIXES = (
    "COVERAGE_", "FAKETIME", "G_", "GI_", "IMAGEBUILD_", "LD_", "LIBGUESTFS_", "MALLOC_", "OSTREE_",
    "PYTEST_", "PYTHON", "QEMU_", "RPMOSTREE_", "SUPERMIN_", "SYSTEMD_", "XDG_",
)  # fmt: skip
# curl(1), apt-transport-http(1), rsync(1), ssh(1): how the network is reached, with log-ins among it
OUTWARD = frozenset((
    "ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "RSYNC_CONNECT_PROG", "RSYNC_PASSWORD",
    "RSYNC_PROXY", "RSYNC_RSH", "SSH_AUTH_SOCK",
))  # fmt: skip


def kept() -> dict[str, str]:
    """Return what every program may know."""
    return {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(PREFIXES)}


def outward() -> dict[str, str]:
    """Return what a program is told besides that goes to other machines."""
    return {name: value for name, value in os.environ.items() if name.upper() in OUTWARD}


def whole() -> dict[str, str]:
    """Return all of it, for a program of our own that reads and writes object stores: each driver has
    variables of its own.
    """
    return dict(os.environ)
