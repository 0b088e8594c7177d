"""Every installer backend: a new one is a module and a line here. `auto` takes the first that can be used."""

from imagebuild.config.installer import InstallerConfig
from imagebuild.errors import UsageError
from imagebuild.installers.installer import Installer
from imagebuild.installers.live.record import LIVE
from imagebuild.installers.lorax.record import LORAX
from imagebuild.records import Registry

INSTALLERS: Registry[Installer] = Registry("installer backend", LORAX, LIVE)


def choose(config: InstallerConfig, product: str = "", release: str = "") -> tuple[str, str]:
    """Return the backend for a release, and why it is that one. Raises UsageError when the one that was asked
    for cannot be used, or none can.
    """
    if config.backend != "auto":
        asked = INSTALLERS[config.backend]
        reason = asked.unavailable(config, product, release)
        if reason is not None:
            advice = f"{asked.advice(reason)}; " if asked.advice(reason) else ""
            raise UsageError(
                f"installer.backend: {config.backend} cannot be used here: {reason}",
                hint=f"{advice}`installer.backend: live` works everywhere",
            )
        return config.backend, "asked for"
    reasons: list[str] = []
    for name, record in INSTALLERS.items():
        reason = record.passed_over(config) or record.unavailable(config, product, release)
        if reason is None:
            return name, "; ".join(reasons) or record.when
        reasons.append(f"not {name}: {reason}")
    raise UsageError(f"no installer ISO can be made here: {'; '.join(reasons)}")
