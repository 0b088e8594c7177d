"""The faults of access change what they say, and name criteria that there are."""

import subprocess
from pathlib import Path

import pytest

from imagebuild.smoke.criteria.registry import names
from tests.vm.access_faults import ACCESS

# of Debian's /etc, what they change
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "etc/shadow": "root:*:19675:0:99999:7:::\nsync:*:19675:0:99999:7:::\n",
    "etc/group": "sudo:x:27:\ndocker:x:102:\n",
    "etc/sudoers.d/README": "#\n",
    "etc/ssh/sshd_config": "\n",
    "etc/cloud/cloud.cfg.d/50.cfg": "\n",
    "etc/systemd/system/a": "\n",
    "usr/bin/sh": "#!\n",
}


def _look(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(file): (file.lstat().st_mode, b"" if file.is_symlink() else file.read_bytes())
        for file in root.rglob("*")
        if file.is_symlink() or file.is_file()
    }


@pytest.mark.parametrize("name", ACCESS)
def test_a_fault_of_access_changes_an_image(name: str, tmp_path: Path) -> None:
    script, criterion, says = ACCESS[name]
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    before = _look(tmp_path)
    subprocess.run(["sh", "-euc", f"D={tmp_path}; S={tmp_path}; {script}"], check=True)
    assert _look(tmp_path) != before
    assert criterion in names()
    assert says
