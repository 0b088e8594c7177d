"""The command itself, and a small configuration."""

import os
import subprocess
import sys
from pathlib import Path

from tests.data import ROOT

PROGRAM = Path(sys.executable).parent / "imagebuild"
CONFIG = """product: Test
release: "1"
refs: [test/1/x86_64/host]
tree:
  url: {url}
  gpg_keys: [{key}]
  osname: os
  remote: os
  update_url: https://example.org/repo
  update_gpg_key: /usr/share/key.asc
kickstarts:
  cloud: {{template: debian-12-cloud.ks, syntax: F28}}
images:
  cloud:
    kickstart: cloud
    name: Test
    disk_size: {size}
    formats: {{qcow2: {{}}}}
storage: podman-overlay
smoke: {{user: test}}
"""


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
