"""The release criteria by name: a new one is a module here, and a line below.

Importing this imports neither pytest nor what runs guests. pytest itself finds the criteria by their files'
names; nothing that it loads before them may import this module, or it would take them as they are, without
its words about assertions.
"""

from collections.abc import Sequence

from imagebuild.records import Registry
from imagebuild.smoke.criteria import (
    test_boots,
    test_cloud_init_hostname,
    test_cloud_init_ssh_key,
    test_cloud_init_user_script,
    test_container_service,
    test_container_storage,
    test_containers_run,
    test_contents,
    test_deploy_older,
    test_disk_grows,
    test_journal,
    test_layering,
    test_leftovers,
    test_machine_id,
    test_network_services,
    test_no_failed_units,
    test_nothing_fatal,
    test_power_cut,
    test_rollback,
    test_root,
    test_sanity,
    test_secure_boot,
    test_selinux,
    test_soft_reboot,
    test_system_containers,
    test_units_rest,
    test_upgrade,
    test_upgrade_from_afar,
    test_upgrade_keys,
    test_upgrade_remote,
    test_upgrades_fall_back,
    test_vagrant_login,
    test_who_gets_in,
)
from imagebuild.smoke.criterion import BY_ATOMIC, INSTALLATION, Asks, Criterion, records_in

MODULES = (
    test_boots,
    test_cloud_init_hostname,
    test_cloud_init_ssh_key,
    test_cloud_init_user_script,
    test_container_service,
    test_container_storage,
    test_containers_run,
    test_contents,
    test_deploy_older,
    test_disk_grows,
    test_journal,
    test_layering,
    test_leftovers,
    test_machine_id,
    test_network_services,
    test_no_failed_units,
    test_nothing_fatal,
    test_power_cut,
    test_rollback,
    test_root,
    test_sanity,
    test_secure_boot,
    test_selinux,
    test_soft_reboot,
    test_system_containers,
    test_units_rest,
    test_upgrade,
    test_upgrade_from_afar,
    test_upgrade_keys,
    test_upgrade_remote,
    test_upgrades_fall_back,
    test_vagrant_login,
    test_who_gets_in,
)
CRITERIA: Registry[Criterion] = Registry(
    "criterion", INSTALLATION, *(record for module in MODULES for record in records_in(module))
)
INSTALLS = INSTALLATION.name


def names() -> tuple[str, ...]:
    """Return the names of all criteria that a host is tested against, as the verdict's cells have them."""
    return tuple(name for name in CRITERIA if name != INSTALLS)


def required(*, atomic: bool, installer: bool = False, older: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of all cells that a verdict must have; `atomic`: the tree has that command, and is
    tested through it, too. `older` are releases besides the one before: each has a cell of its own.
    """
    cells = [(name, cell) for name in names() for cell in CRITERIA[name].cells(older)]
    again = [f"{cell}{BY_ATOMIC}" for name, cell in cells if CRITERIA[name].changes_releases]
    mine = [cell for _, cell in cells]
    return (*mine, *(again if atomic else ()), *((INSTALLS,) if installer else ()))


def criterion_named(cell: str) -> Criterion | None:
    """Return the criterion that a cell of a verdict is about, by the cell's name; None when there is none."""
    name = cell.removesuffix(BY_ATOMIC)
    found = CRITERIA.get(name)
    if found is not None:
        return found
    each = [record for record in CRITERIA.values() if record.asks is Asks.SLEPT_JOURNEY]
    return next((record for record in each if name.startswith(f"{record.name}-")), None)


def at_first_boot() -> tuple[str, ...]:
    """Return the criteria that look at the settled first boot only."""
    return tuple(name for name in names() if not CRITERIA[name].changes_releases)


def firmware_bound() -> tuple[str, ...]:
    """Return the criteria about booting what was deployed: known under one firmware, they are not known under
    another.
    """
    return tuple(name for name in names() if CRITERIA[name].firmware_bound)
