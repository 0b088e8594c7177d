"""The NoCloud seed that a test hands to cloud-init: an ISO labelled `cidata` with user-data and meta-data
(cloud-init, "NoCloud").

The user-data has two parts (cloud-init, "MIME multi-part archive"): a cloud-config with the key and a
`runcmd`, and a shell script.
"""

import json
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

from imagebuild.smoke.host.expected import RUNCMD_LOG, SCRIPT_LOG, Expected
from imagebuild.tools import command, iso

# systemd-system.conf(5): what units get that say nothing themselves
START_SECONDS = 90
SLOW = 1.5


def make_seed(directory: Path, expected: Expected, slowness: float = 1.0) -> Path:
    """Write the seed. Both scripts append to their logs: what ran twice has two lines there.

    On an accelerator that is slower than native, systemd's own time-outs are that much longer: set in /run by
    `bootcmd`, so for a test only.
    """
    files = directory / "seed"
    files.mkdir()
    cloud_config: dict[str, object] = {
        "ssh_authorized_keys": [expected.public_key],
        "runcmd": [["sh", "-c", f"echo {expected.script_marker} >> {RUNCMD_LOG}"]],
    }
    if slowness > SLOW:
        cloud_config["bootcmd"] = [["sh", "-c", _patient(round(START_SECONDS * slowness))]]
    script = f"#!/bin/sh\necho {expected.script_marker} >> {SCRIPT_LOG}\n"
    parts = MIMEMultipart(boundary="imagebuild")
    for kind, text in (
        ("cloud-config", "#cloud-config\n" + json.dumps(cloud_config) + "\n"),
        ("x-shellscript", script),
    ):
        parts.attach(MIMEText(text, kind, "us-ascii"))
    (files / "user-data").write_text(parts.as_string())
    (files / "meta-data").write_text(
        f"instance-id: iid-{expected.hostname}\nlocal-hostname: {expected.hostname}\n"
    )
    seed = directory / "seed.iso"
    command.run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o", iso.address(seed), files]
    )
    return seed


def _patient(seconds: int) -> str:
    """Return a script that has systemd (240 and later) wait longer for units."""
    place = "/run/systemd/system.conf.d"
    lines = f"[Manager]\\nDefaultTimeoutStartSec={seconds}\\nDefaultTimeoutStopSec={seconds}\\n"
    return f"mkdir -p {place} && printf '{lines}' > {place}/imagebuild-test.conf && systemctl daemon-reload"
