"""What is asked of which kind of host, worked out from what each criterion needs.

A kind has some traits and lacks others for certain; of the rest a tree, a machine or a release line decides.
"""

from dataclasses import dataclass

from imagebuild.smoke.criterion import Criterion, Trait

ALWAYS, NEVER, PERHAPS = "yes", "—", ""


@dataclass(frozen=True, kw_only=True)
class KindOfHost:
    """A kind of host: its name in the table's head, and what it has and lacks."""

    name: str
    has: frozenset[Trait] = frozenset()
    lacks: frozenset[Trait] = frozenset()


ROOTS = frozenset({Trait.READ_ONLY, Trait.COMPOSEFS, Trait.CHECKED})
# how it is upgraded; how its root file system is put together (composefs makes a read-only /sysroot the
# default: ostree-prepare-root.c); what it boots under; what it was made from
KINDS = (
    KindOfHost(name="plain ostree", lacks=frozenset({Trait.LAYERING, Trait.ATOMIC})),
    KindOfHost(name="rpm-ostree", has=frozenset({Trait.LAYERING})),
    KindOfHost(name="writable /sysroot", has=frozenset({Trait.KEPT_ETC}), lacks=ROOTS),
    KindOfHost(
        name="read-only /sysroot",
        has=frozenset({Trait.READ_ONLY}),
        lacks=ROOTS - {Trait.READ_ONLY},
    ),
    KindOfHost(name="composefs `yes`", has=ROOTS - {Trait.CHECKED}, lacks=frozenset({Trait.CHECKED})),
    KindOfHost(name="composefs `verity`, `signed`", has=ROOTS),
    KindOfHost(name="`bios`, `uefi`", lacks=frozenset({Trait.SECURE_BOOT})),
    KindOfHost(name="`uefi-secure`", has=frozenset({Trait.SECURE_BOOT})),
    KindOfHost(
        name="cloud image",
        has=frozenset({Trait.CLOUD_INIT, Trait.LARGER_DISK}),
        lacks=frozenset({Trait.MEDIUM}),
    ),
    KindOfHost(
        name="Vagrant box",
        has=frozenset({Trait.LARGER_DISK}),
        lacks=frozenset({Trait.CLOUD_INIT, Trait.MEDIUM}),
    ),
    KindOfHost(name="installation", has=frozenset({Trait.MEDIUM}), lacks=frozenset({Trait.LARGER_DISK})),
)


def answer(criterion: Criterion, kind: KindOfHost) -> str:
    """Return whether a criterion is asked of a kind of host: ALWAYS, NEVER, or PERHAPS, which depends on what
    the kind says nothing about.
    """
    if criterion.needs & kind.lacks:
        return NEVER
    return ALWAYS if criterion.needs <= kind.has else PERHAPS


def needed(criterion: Criterion) -> str:
    """Return what a criterion needs, in words."""
    return ", ".join(trait for trait in Trait if trait in criterion.needs)
