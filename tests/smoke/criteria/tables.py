"""All tables of broken hosts, by criterion."""

from tests.smoke.criteria.broken import (
    boots,
    cloud_init_hostname,
    cloud_init_ssh_key,
    cloud_init_user_script,
    container_service,
    container_storage,
    containers_run,
    deploy_older,
    disk_grows,
    layering,
    machine_id,
    no_failed_units,
    nothing_fatal,
    rollback,
    sanity,
    secure_boot,
    selinux,
    system_containers,
    upgrade,
    upgrade_keys,
    upgrade_remote,
    vagrant_login,
)
from tests.smoke.criteria.cases import Case, OnHost, OnJourney

MODULES = (
    boots,
    cloud_init_hostname,
    cloud_init_ssh_key,
    cloud_init_user_script,
    container_service,
    container_storage,
    containers_run,
    deploy_older,
    disk_grows,
    layering,
    machine_id,
    no_failed_units,
    nothing_fatal,
    rollback,
    sanity,
    secure_boot,
    selinux,
    system_containers,
    upgrade,
    upgrade_keys,
    upgrade_remote,
    vagrant_login,
)
CASES: dict[str, Case] = {name: case for module in MODULES for name, case in module.CASES.items()}
ON_HOST = {name: case for name, case in CASES.items() if isinstance(case, OnHost)}
ON_JOURNEY = {name: case for name, case in CASES.items() if isinstance(case, OnJourney)}
