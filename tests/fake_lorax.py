"""A stand-in for the lorax library, of any generation: the signatures are those of its releases; what it makes is a small real ISO.

It runs the templates it is given as lorax does: rendered by Mako, `runcmd` lines executed on the host. Written into a directory by
`write`, from where the child process imports it.
"""

from pathlib import Path

# the tail of Lorax.run's parameters, and whether get_dnf_base_object takes basearch (read in the sources of these releases)
GENERATIONS = {
    "29.0": ("", False),
    "30.0": (", user_dracut_args=None", False),
    "32.0": (", user_dracut_args=None, squashfs_only=False", False),
    "39.5": (", user_dracut_args=None, squashfs_only=False, skip_branding=False", False),
    "rhel8": (", user_dracut_args=None, skip_branding=False, squashfs_only=False", False),
    "40.5.6": (", user_dracut_args=None, rootfs_type='squashfs', skip_branding=False", False),
    "46.0": (", user_dracut_args=None, rootfs_type='squashfs', skip_branding=False", True),
}
PACKAGE = """
import configparser, inspect, json, logging, os, shlex, subprocess, sys
from mako.lookup import TemplateLookup

class Lorax:
    def configure(self, conf_file="/etc/lorax/lorax.conf"):
        self.conf = configparser.ConfigParser()
        self.conf.add_section("lorax")
        self.conf_file = conf_file

    def run(self, dbo, product, version, release, variant="", bugurl="", isfinal=False, workdir=None, outputdir=None, buildarch=None, volid=None,
            domacboot=True, doupgrade=True, remove_temp=False, installpkgs=None, excludepkgs=None, size=2, add_templates=None, add_template_vars=None,
            add_arch_templates=None, add_arch_template_vars=None, verify=True{tail}):
        told = {{key: value for key, value in locals().items() if key not in ("self", "dbo")}}
        told["dbo"] = dbo
        told["conf"] = dict(self.conf["lorax"]) | {{"conf_file": self.conf_file}}
        with open(os.environ["FAKE_LORAX"] + "/told.json", "w") as stream:
            json.dump(told, stream)
        log = logging.getLogger("pylorax")
        log.info("checking for root privileges")
        behaviour = open(os.environ["FAKE_LORAX"] + "/behaviour").read().strip()
        if behaviour == "exit":
            log.error("volume id %s is longer than it may be", volid)
            sys.exit(1)
        if behaviour == "raise":
            logging.getLogger("program").info("dracut: the last words of a program")
            raise RuntimeError("Required installpkg failed.")
        if behaviour == "hang":
            import time
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                open(os.environ["FAKE_LORAX"] + "/cleaned", "w").close()
                raise
        log.info("running templates")
        root = workdir + "/installtree"
        for template in add_templates:
            text = TemplateLookup(directories=["/"]).get_template(template).render(root=root, product=product.lower(), arch="x86_64", **add_template_vars)
            for line in text.splitlines():
                words = shlex.split(line) if line.strip() and not line.startswith("#") else []
                if words:
                    assert words[0] == "runcmd", words
                    subprocess.run(words[1:], check=True, cwd="/")
        if behaviour != "nothing":
            subprocess.run([sys.executable, os.environ["FAKE_LORAX"] + "/make.py", root, outputdir, volid], check=True)
"""
DNFBASE = """
def get_dnf_base_object(installroot, sources, mirrorlists=None, repos=None, enablerepos=None, disablerepos=None, tempdir="/var/tmp", proxy=None,
        releasever="8", cachedir=None, logdir=None, sslverify=True, dnfplugins=None{basearch}):
    import os
    assert all(os.path.isdir(place) for place in (installroot, tempdir, cachedir, logdir)), "directories are made before"
    return None if "bad" in "".join(sources) else {{key: value for key, value in locals().items() if key != "os"}}
"""


def write(place: Path, generation: str, make: str, behaviour: str = "") -> None:
    """Write pylorax of a generation below a directory, with a program that makes the output (`make`: root, output directory, label)."""
    tail, basearch = GENERATIONS[generation]
    package = place / "pylorax"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE.format(tail=tail))
    (package / "dnfbase.py").write_text(DNFBASE.format(basearch=", basearch=None" if basearch else ""))
    (place / "make.py").write_text(make)
    (place / "behaviour").write_text(behaviour)
