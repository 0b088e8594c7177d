"""Compose a Fedora-style tree: `rpm-ostree compose tree` where it exists."""

import json
from pathlib import Path

from imagebuild.composers import Composed
from imagebuild.config import RpmOstreeConfig
from imagebuild.errors import BuildError
from imagebuild.tools import command, gpg
from imagebuild.tools.ostree import Repo


def compose(directory: Path, ref: str, spec: RpmOstreeConfig) -> Composed:
    """Run `rpm-ostree compose tree` on the treefile into `directory/repo` and sign what it made.

    Raises MissingToolError where there is no rpm-ostree, BuildError when the treefile names another ref.
    """
    command.require("rpm-ostree")
    repo = Repo.ensure(directory / "repo")
    before = repo.refs().get(ref)
    report = directory / "compose.json"
    argv: list[str | Path] = ["rpm-ostree", "compose", "tree", f"--repo={repo.path}", f"--write-composejson-to={report}"]
    if spec.cache:
        argv.append(f"--cachedir={spec.cache}")
    command.run([*argv, spec.treefile])
    after = repo.refs().get(ref)
    if after is None:
        made = json.loads(report.read_text()).get("ref") if report.exists() else "nothing"
        raise BuildError(
            f"{spec.treefile} composed {made}, not {ref}", hint="the treefile's `ref` and the configuration's `refs` must agree"
        )
    if after != before and spec.signing_user:
        with gpg.keyring(directory / "gnupg") as homedir:
            key = gpg.ensure_key(homedir, spec.signing_user)
            gpg.export_key(homedir, key, directory / "signing-key.asc")
            repo.sign(after, key, homedir)
        repo.update_summary()
    return Composed(repo=repo.path, ref=ref, commit=after, version=str(repo.metadata(after).get("version", "")), new=after != before)
