"""The demo's tree with what most hosts do without: btrfs, and encrypted storage that a TPM opens."""

from pathlib import Path

from imagebuild import steplog
from imagebuild.composers import registry as composers
from imagebuild.composers.composer import Job
from imagebuild.composers.mmdebstrap import MmdebstrapConfig
from imagebuild.config.places import cache_directory
from imagebuild.installers.live.options import LiveConfig
from imagebuild.pipeline import wire
from imagebuild.release_line import reading as config
from imagebuild.stages.tree import pin
from imagebuild.wiring.builder import Builder
from tests.data import ROOT
from tests.vm.wiring import Lab

REF = "debian/12/x86_64/atomic-host"
# systemd 252 loads the libraries when it is asked for a TPM; dracut's module wants the tools
PACKAGES = (
    *("btrfs-progs", "cryptsetup-bin", "tpm2-tools", "libtss2-esys-3.0.2-0", "libtss2-rc0", "libtss2-mu0"),
    "libtss2-tcti-device0",
)


def composed(spec: MmdebstrapConfig) -> MmdebstrapConfig:
    return spec.model_copy(
        update={
            "packages": (*spec.packages, *PACKAGES),
            "initramfs": ("btrfs", "crypt", "tpm2-tss"),
            "first_without": None,
            "exclude": tuple(pattern for pattern in spec.excluded if "btrfs" not in pattern),
            "exclude_from": (),
        }
    )


def lab(store: Path, builder: Builder) -> Lab:
    """The pipeline of that tree; composing it is kept between runs, as the demo's is."""
    directory = cache_directory() / "test-compose-variant"
    directory.mkdir(parents=True, exist_ok=True)
    (store / "compose").symlink_to(directory)
    settings = config.load(ROOT / "configs" / "debian-12.yaml", store)
    assert settings.installer is not None
    assert isinstance(settings.compose, MmdebstrapConfig)
    live = settings.installer.model_copy(update={"live": LiveConfig(compression="lz4")})
    # --pbkdf, say, is none of F28
    kickstarts = {
        name: template.model_copy(update={"syntax": "F40"}) for name, template in settings.kickstarts.items()
    }
    settings = settings.model_copy(
        update={"installer": live, "compose": composed(settings.compose), "kickstarts": kickstarts}
    )
    assert settings.compose is not None
    job = Job(directory=directory, ref=REF, tree=settings.tree, cache=cache_directory())
    with steplog.writing_to(directory / "compose.log"):
        composers.compose(job, settings.compose)
    pipeline = wire(settings, pin(settings.tree, REF), builder)
    return Lab(settings=settings, host=builder, pipeline=pipeline, store=store)
