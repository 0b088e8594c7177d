"""Containers live in memory."""

from imagebuild.smoke.storage.profile import Profile, Run


def problem(run: Run) -> str | None:
    return None if "tmpfs" in run(["findmnt", "/var/lib/containers"]) else "they do not live in memory"


RECORD = Profile(name="in-memory", problem=problem)
