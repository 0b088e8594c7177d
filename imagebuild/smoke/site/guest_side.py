"""What an executable finds in the guest, and how it is started, asked, and stopped there.

The interface is kola's: coreos-assembler (2025), docs/kola/external-tests.md, "Environment variables" and
"Support for rebooting"; mantle/kola/harness.go, registerExternalTest (the unit's name and environment, where
the program and its data lie), and Debian's autopkgtest (doc/README.package-tests.rst, "Reboot during a
test").
"""

import io
import tarfile
from collections.abc import Mapping

from imagebuild.smoke.site.record import SiteCriterion

PLACE = "/run/imagebuild-criterion"
CONTROL = f"{PLACE}/control"
# KoletExtTestUnit, kolaExtBinDataDir (harness.go)
UNIT = "kola-runext.service"
HOME = "/var/opt/kola"
DATA = f"{HOME}/extdata"
# what a criterion may print in one boot, MiB: the file system of its log holds no more
MOST_SAID = 8
# seconds that it may take to stop
STOP_SECONDS = 10

# what is run in the guest before anything else is there: a tar of `files` comes by its standard input
UNPACK = 'mkdir -p "$1" && tar -x -f - --no-same-owner -C "$1"'

# $1 is the program's name; prints where it lies. A home for programs is labelled as one where SELinux asks
_INSTALL = f"""#!/bin/sh
set -eu
for place in /usr/local/bin /var/lib/imagebuild-criterion; do
    if mkdir -p "$place" 2>/dev/null && [ -w "$place" ]; then break; fi
done
program="$place/kola-runext-$1"
cp {HOME}/program "$program"
chmod 755 "$program"
rm -f {HOME}/program
if command -v restorecon >/dev/null; then restorecon -R "$program" {HOME} || :; fi
echo "$program"
"""

_CONTROL = f"""#!/bin/sh
set -eu
cd {PLACE}
case "$1" in
start)
    # what a soft reboot has left, when it has ended by now
    if mountpoint -q said; then umount -l said; fi
    mkdir -p said
    mount -t tmpfs -o size={MOST_SAID}m,mode=700 criterion said
    rm -f status request go
    for kind in reboot reboot-prepare soft-reboot soft-reboot-prepare; do
        rm -f "/tmp/autopkgtest-$kind"
        printf '#!/bin/sh\\nexec {PLACE}/ask %s "$@"\\n' "$kind" >"/tmp/autopkgtest-$kind"
        chmod 755 "/tmp/autopkgtest-$kind"
    done
    mkdir -p /run/systemd/system
    cp unit /run/systemd/system/{UNIT}
    systemctl daemon-reload
    systemctl start --no-block {UNIT}
    ;;
wait)
    left=$2
    while [ "$left" -gt 0 ]; do
        size=$(stat -c %s said/log 2>/dev/null || echo 0)
        if [ "$size" -ge {(MOST_SAID << 20) - 65536} ]; then echo full; exit; fi
        if [ -s request ]; then cat request; exit; fi
        if [ -s status ]; then echo "ended $(cat status)"; exit; fi
        sleep "$3"
        left=$((left - 1))
    done
    echo running
    ;;
go)
    echo >go
    ;;
said)
    tail -c 65536 said/log 2>/dev/null || :
    ;;
stop)
    systemctl stop {UNIT} || :
    rm -f /run/systemd/system/{UNIT} /tmp/autopkgtest-*
    systemctl daemon-reload
    systemctl reset-failed {UNIT} 2>/dev/null || :
    if mountpoint -q said; then umount -l said; fi
    rm -rf {HOME} "$2"
    cd / && rm -rf {PLACE}
    ;;
esac
"""

# what the unit runs
_RUN = f"""#!/bin/sh
status=0
"$IMAGEBUILD_PROGRAM" >{PLACE}/said/log 2>&1 </dev/null || status=$?
echo "$status" >{PLACE}/status.new
mv {PLACE}/status.new {PLACE}/status
"""

# what the programs in /tmp are: the mark is kept on the build machine before anything goes down
_ASK = f"""#!/bin/sh
set -eu
cd {PLACE}
if ! [ -e may-reboot ]; then
    echo "a criterion without a fresh boot of its own (kola: exclusive) may not reboot" >&2
    exit 1
fi
case "${{2:-}}" in
"" | *[!A-Za-z0-9._:/+@=-]*)
    echo "give a mark of letters, digits and . _ : / + @ = -" >&2
    exit 1
    ;;
esac
rm -f go
mkfifo go
echo "$1 $2" >request.new
mv request.new request
case "$1" in
*-prepare) cat go >/dev/null ;;
*) exec sleep 86400 ;;
esac
"""

SCRIPTS = {"install": _INSTALL, "control": _CONTROL, "run": _RUN, "ask": _ASK}
_UNIT = f"""[Unit]
Description=A criterion of the site
[Service]
EnvironmentFile={PLACE}/env
ExecStart=/bin/sh {PLACE}/run
RemainAfterExit=yes
TimeoutStopSec={STOP_SECONDS}
"""


def installed(site: SiteCriterion) -> bytes:
    """Return the tar of a criterion's program and data, as `install` finds them."""
    files: dict[str, tuple[bytes, bool]] = {"install": (SCRIPTS["install"].encode(), True)}
    for file in site.files:
        name = "program" if file.path == site.program else file.path.replace("data/", "extdata/", 1)
        files[name] = (file.data, file.executable)
    return _tar(files)


def begun(site: SiteCriterion, program: str, mark: str) -> bytes:
    """Return the tar of what one boot's run is made of."""
    base = site.program.rpartition("/")[2]
    environment = {
        "KOLA_UNIT": UNIT,
        "KOLA_TEST": site.kola,
        "KOLA_TEST_EXE": base,
        "KOLA_EXT_DATA": DATA,
        "IMAGEBUILD_PROGRAM": program,
        **({"AUTOPKGTEST_REBOOT_MARK": mark} if mark else {}),
    }
    text = "".join(f'{name}="{value}"\n' for name, value in environment.items())
    files = {name: (script.encode(), True) for name, script in SCRIPTS.items() if name != "install"}
    files |= {"unit": (_UNIT.encode(), False), "env": (text.encode(), False)}
    if site.may_reboot:
        files["may-reboot"] = (b"", False)
    return _tar(files)


def _tar(files: Mapping[str, tuple[bytes, bool]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, (data, executable) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755 if executable else 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
