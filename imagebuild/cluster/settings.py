"""How dask is set up, on all sides alike: distributed/distributed.yaml (2026.8) says what each setting
does.
"""

from typing import TYPE_CHECKING, Any

from imagebuild.cluster.security import Identity
from imagebuild.errors import MissingToolError

if TYPE_CHECKING:
    from distributed.security import Security

# a worker that was not heard of for so long is taken for dead
LOST_SECONDS = 60
SETTINGS: dict[str, Any] = {
    # imagebuild has chosen the worker: nobody takes a step from it
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # a step whose worker died is ours to start anew: dask would do it where it likes
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.no-workers-timeout": f"{LOST_SECONDS}s",
    "distributed.scheduler.worker-ttl": f"{LOST_SECONDS}s",
    "distributed.comm.timeouts.connect": "10s",
    # nobody wants to know where the threads of a worker are each hundredth of a second
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.low-level-log-length": 100,
    # what a worker does is told by the head
    "distributed.worker.http.routes": [],
}


def set_up(*, say: str = "warning") -> None:
    """Set dask up; to be called before `distributed` is imported. `say` is the level of what it logs.

    Raises MissingToolError when dask is not installed.
    """
    try:
        import dask
    except ImportError as error:
        raise MissingToolError(
            "dask.distributed is not installed", hint="pip install 'imagebuild[cluster]'"
        ) from error
    dask.config.set({**SETTINGS, "logging": {"distributed": say, "distributed.client": say}})
    try:
        import distributed  # noqa: F401  # whether it is there
    except ImportError as error:
        raise MissingToolError(
            "dask.distributed is not installed", hint="pip install 'imagebuild[cluster]'"
        ) from error


def serve_no_pages() -> None:
    """Let a head's web server have nothing to show."""
    import dask

    dask.config.set({"distributed.scheduler.http.routes": []})


def security(shown: Identity | None) -> "Security | None":
    """Return what dask wants to know of certificates; None without any."""
    if shown is None:
        return None
    from distributed.security import Security

    own = {f"tls_{role}_cert": str(shown.own) for role in ("client", "scheduler", "worker")}
    return Security(require_encryption=True, tls_ca_file=str(shown.authority), **own)
