"""Whether a host takes what its release line signs, with the keys that came with the image and no others."""

from imagebuild.smoke.host.words import Host
from imagebuild.tools.ssh import Answer

PULL_SECONDS = 120.0
# of a remote's settings, those by which signatures are checked (ostree.repo-config(5)); there is no summary
# at the test's server
CHECKS, NOT_SERVED = ("gpg", "sign-", "verification-"), ("gpg-verify-summary", "sign-verify-summary")
# $1: a repository that is made for this and goes again; $2: the remote; $3: the ref. Of a commit only its
# metadata is pulled, and its signature is checked as in every pull: with the remote's own keyring, which lies
# in the host's repository, with its `gpgkeypath` and, without such a keyring, with the tree's global keys
# (libostree 2016.15 and 2022.7, ostree-repo.c). Every ostree knows these options
SCRIPT = """
set -eu
rm -rf "$1"
trap 'rm -rf "$1"' EXIT
mkdir -p "$1"
ostree --repo="$1" init --mode=archive-z2
cat >> "$1/config"
keyring=$4/$2.trustedkeys.gpg
if [ -e "$keyring" ]; then cp "$keyring" "$1/"; fi
ostree --repo="$1" pull --commit-metadata-only "$2" "$3" > "$1/said" 2>&1 || {
    status=$?
    cat "$1/said" >&2
    exit $status
}
"""
# (a host whose disk is full has keys all the same)
PLACE, REPO = "/run/imagebuild-keys", "/sysroot/ostree/repo"


def pull_with_own_keys(host: Host, refspec: str, url: str, *, place: str = PLACE, repo: str = REPO) -> Answer:
    """Pull the commit (its metadata only) that a ref points at in the repository at a URL, by the host's own
    remote; return what the host said.

    The remote is copied, with another URL, into a repository beside the host's, which is not touched.
    """
    name, _, ref = refspec.partition(":")
    kept = {
        key: value
        for key, value in host.remote(name).items()
        if key.startswith(CHECKS) and key not in NOT_SERVED
    }
    lines = "".join(f"{key}={value}\n" for key, value in {"url": url, **kept}.items())
    section = f'\n[remote "{name}"]\n{lines}'
    return host.run(
        "sh", "-c", SCRIPT, "sh", place, name, ref, repo, stdin=section.encode(), seconds=PULL_SECONDS
    )
