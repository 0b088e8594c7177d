"""A stand-in for lorax, of any generation: what its functions take, what its command knows, what it writes
where, and how it ends.

Checked against the tags lorax-VERSION-1 of weldr/lorax that `GENERATIONS` names: Lorax.run
(src/pylorax/__init__.py), get_dnf_base_object (src/pylorax/dnfbase.py; before 29.20 and 30.6, and but for
28.20, only in src/sbin/lorax), lorax_parser (src/pylorax/cmdline.py; 24.22: src/sbin/lorax), the times of
src/pylorax/treeinfo.py and discinfo.py, and the medium (tests/lorax_medium.py). So were its ways:

- the command refuses an output directory that exists, says `error: unable to create the dnf base object` and
  ends with 1 when a source is bad, and of everything else that goes wrong it shows the traceback; its log is
  lorax.log, beside it are program.log and dnf.log, and Lorax.run opens pylorax.log
- a template's error is logged as three records, the last one the exception; dnf's reasons go on over several
  lines
- mount points are anonymous directories in tempfile.gettempdir(), beside the work directory
  (src/pylorax/imgutils.py); a work directory that was given is removed at the end only when all went well
- SIGINT is a KeyboardInterrupt, after which it unmounts, trying again after pauses; a second one ends that

It runs the templates it is given as lorax does: rendered by Mako, `runcmd` lines executed on the host.
Written into a directory by `write`, from where the child process imports it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.data import ROOT

COMMON = (
    "add-arch-template",
    "add-arch-template-var",
    "add-template",
    "add-template-var",
    "bugurl",
    "buildarch",
    "cachedir",
    "config",
    "disablerepo",
    "enablerepo",
    "force",
    "installpkgs",
    "isfinal",
    "logfile",
    "macboot",
    "mirrorlist",
    "nomacboot",
    "noupgrade",
    "noverify",
    "product",
    "proxy",
    "release",
    "repo",
    "sharedir",
    "source",
    "tmp",
    "variant",
    "version",
    "volid",
    "workdir",
)
SWITCHES = ("force", "isfinal", "macboot", "nomacboot", "noupgrade", "noverify", "noverifyssl")


@dataclass(frozen=True)
class Generation:
    """The tail of Lorax.run's parameters behind `verify`, that of get_dnf_base_object's (None: only the
    command has it), and what the command knows more.

    `medium` is the style of tests/lorax_medium.py, `epoch` whether it knows SOURCE_DATE_EPOCH.
    """

    tail: str
    base: str | None
    more: str
    medium: str
    epoch: bool


DRACUT = ", user_dracut_args=None"
PLUGINS = ", dnfplugins=None"
GENERATIONS = {
    "24.22": Generation("", None, "", "isolinux", False),
    "25.22": Generation("", None, "rootfs-size noverifyssl", "isolinux", False),
    "26.9": Generation("", None, "rootfs-size excludepkgs", "isolinux", False),
    "27.12": Generation("", None, "rootfs-size excludepkgs noverifyssl", "isolinux", False),
    "28.14": Generation(DRACUT, None, "rootfs-size excludepkgs noverifyssl dracut-arg", "isolinux", False),
    "29.0": Generation("", None, "rootfs-size excludepkgs noverifyssl", "isolinux", False),
    "29.20": Generation(DRACUT, PLUGINS, "", "isolinux", False),
    "29.28": Generation(DRACUT + ", squashfs_only=False", PLUGINS, "", "isolinux", True),
    "30.0": Generation(
        DRACUT, None, "rootfs-size excludepkgs noverifyssl dracut-arg dnfplugin", "isolinux", False
    ),
    "30.13": Generation(DRACUT + ", squashfs_only=False", PLUGINS, "", "discinfo", True),
    "33.11": Generation(DRACUT + ", squashfs_only=False, skip_branding=False", PLUGINS, "", "discinfo", True),
    "28.14.64": Generation(DRACUT + ", skip_branding=False, squashfs_only=False", "", "", "isolinux", False),
    "39.5": Generation(DRACUT + ", squashfs_only=False, skip_branding=False", PLUGINS, "", "grub", True),
    "40.5.19": Generation(
        DRACUT + ", rootfs_type='squashfs', skip_branding=False", PLUGINS, "", "grub", True
    ),
    "46.0": Generation(
        DRACUT + ", rootfs_type='squashfs', skip_branding=False",
        PLUGINS + ", basearch=None",
        "",
        "grub",
        True,
    ),
}
PACKAGE = """
import configparser, json, logging, os, shlex, shutil, subprocess, sys, tempfile, time, traceback
from mako.lookup import TemplateLookup

PLACE = {place!r}
logger = logging.getLogger("pylorax")
program_log = logging.getLogger("program")

def note(name, text=""):
    with open(PLACE + "/" + name, "a") as stream:
        stream.write(text + "\\n")

def now():
    epoch = os.environ.get("SOURCE_DATE_EPOCH") if {epoch} else None
    return epoch if epoch is not None else str(time.time())

def fail(error):
    logger.error("template command error in %s:", "runtime-install.tmpl")
    logger.error("  %s", "run_pkg_transaction")
    logger.error("  %s", type(error).__name__ + ": " + str(error))
    raise error

def wait_for_the_interrupt(workdir):
    mount_point = tempfile.mkdtemp(prefix="lorax.imgutils.")
    try:
        note("mounted", mount_point)
        time.sleep(600)
    except KeyboardInterrupt:
        try:
            time.sleep(float(os.environ.get("IMAGEBUILD_TEST_CLEAN_UP", "0.5")))
            os.rmdir(mount_point)
            note("cleaned")
        except KeyboardInterrupt:
            note("interrupted again")
        raise

class Lorax:
    def configure(self, conf_file="/etc/lorax/lorax.conf"):
        self.conf = configparser.ConfigParser()
        self.conf.add_section("lorax")
        self.conf_file = conf_file

    def run(self, dbo, product, version, release, variant="", bugurl="", isfinal=False, workdir=None,
            outputdir=None, buildarch=None, volid=None, domacboot=True, doupgrade=True, remove_temp=False,
            installpkgs=None, excludepkgs=None, size=2, add_templates=None, add_template_vars=None,
            add_arch_templates=None, add_arch_template_vars=None, verify=True{tail}):
        told = {{key: value for key, value in locals().items() if key not in ("self", "dbo")}}
        told["dbo"] = dbo
        told["conf"] = dict(self.conf["lorax"]) | {{"conf_file": self.conf_file}}
        told["environment"] = {{name: os.environ.get(name) for name in ("TMPDIR", "SOURCE_DATE_EPOCH")}}
        told["environment"]["tmp"] = tempfile.gettempdir()
        with open(PLACE + "/told.json", "w") as stream:
            json.dump(told, stream)
        logger.addHandler(logging.FileHandler(self.conf.get("lorax", "logdir") + "/pylorax.log", "w"))
        logger.info("checking for root privileges")
        behaviour = open(PLACE + "/behaviour").read().strip()
        if behaviour == "exit":
            logger.critical("the volume id cannot be longer than 32 characters")
            sys.exit(1)
        logger.info("installing runtime packages")
        logger.debug("template line 1: installpkg anaconda")
        if behaviour == "raise":
            program_log.info("Running... dracut --force")
            program_log.info("dracut: the last words of a program")
            program_log.debug("Return code: 1")
            fail(RuntimeError("Required installpkg failed."))
        if behaviour == "full":
            logger.error("The transaction process has ended abruptly: %s",
                         "Could not run transaction:\\n  installing package a needs 20MB on the / filesystem"
                         "\\n\\nError Summary\\n-------------\\nDisk Requirements:"
                         "\\n   At least 213MB more space needed on the / filesystem.")
            fail(RuntimeError("Could not run transaction."))
        if behaviour == "crash":
            raise OSError(28, "No space left on device", workdir + "/big")
        if behaviour == "hang":
            wait_for_the_interrupt(workdir)
        logger.info("creating the runtime image")
        root = workdir + "/installtree"
        for template in add_templates:
            words = dict(add_template_vars, root=root, product=product.lower(), arch="x86_64")
            text = TemplateLookup(directories=["/"]).get_template(template).render(**words)
            for line in text.splitlines():
                words = shlex.split(line) if line.strip() and not line.startswith("#") else []
                if words:
                    assert words[0] == "runcmd", words
                    subprocess.run(words[1:], check=True, cwd="/")
        os.makedirs(outputdir, exist_ok=True)
        with open(outputdir + "/.discinfo", "w") as stream:
            stream.write("%f\\n%s\\nx86_64\\n" % (float(now()), release))
        if behaviour == "nothing":
            return
        flat = told.get("squashfs_only") or told.get("rootfs_type") in ("squashfs",)
        runtime = root
        if not flat:
            runtime = workdir + "/runtime-workdir"
            os.makedirs(runtime + "/LiveOS")
            rootfs = runtime + "/LiveOS/rootfs.img"
            subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, rootfs, "64M"], check=True)
        os.makedirs(outputdir + "/images")
        install = outputdir + "/images/install.img"
        subprocess.run(["mksquashfs", runtime, install, "-quiet", "-no-progress"], check=True)
        logger.info("populating output tree and building boot images")
        # not this one's own search path
        environment = {{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}}
        subprocess.run([{python!r}, {medium!r}, outputdir, volid, {style!r}], check=True, env=environment)
        boot = outputdir + "/images/boot.iso"
        subprocess.run(["implantisomd5", boot], check=True, stdout=subprocess.DEVNULL)
        with open(outputdir + "/.treeinfo", "w") as stream:
            stream.write("[general]\\ntimestamp = %s\\nfamily = %s\\n" % (now(), product))
        if remove_temp:
            shutil.rmtree(workdir)
"""
DNFBASE = """
import logging, os
def get_dnf_base_object(installroot, sources, mirrorlists=None, repos=None, enablerepos=None,
        disablerepos=None, tempdir="/var/tmp", proxy=None, releasever="8", cachedir=None,
        logdir=None, sslverify=True{base}):
    told = dict(locals())
    assert all(os.path.isdir(place) for place in (installroot, tempdir)), "directories are made before"
    for number, url in enumerate(sources):
        if "bad" in url:
            said = "Error fetching metadata for lorax-repo-%d: Cannot download %s/repodata/repomd.xml"
            logging.getLogger({logger!r}).error(said, number, url)
            return None
    return told
"""
COMMAND = """#!{python}
import sys
sys.path.insert(0, {place!r})
import argparse, logging, os, tempfile
import pylorax
from hidden_dnfbase import get_dnf_base_object
log = logging.getLogger("lorax")
MANY = ("source", "repo", "mirrorlist", "installpkgs", "excludepkgs", "enablerepo", "disablerepo",
        "dracut-arg", "dnfplugin")

def parser():
    parser = argparse.ArgumentParser(prog="lorax", description="Create the Anaconda boot.iso")
    for name in {options!r}:
        if name in {switches!r}:
            parser.add_argument("--" + name, action="store_true")
        elif name in ("product", "version", "release"):
            parser.add_argument("-" + name[0], "--" + name, required=True)
        elif name in MANY or name[:4] == "add-":
            parser.add_argument("--" + name, action="append", default=[])
        else:
            parser.add_argument("--" + name)
    parser.add_argument("outputdir", type=os.path.abspath)
    return parser

def setup_logging(logfile):
    # the console's records have no level; Lorax.run of these has a console handler, too, without a time
    console = logging.StreamHandler()
    console.setLevel(logging.INFO)
    console.setFormatter(logging.Formatter("%(asctime)s: %(message)s"))
    place = os.path.dirname(logfile)
    others = [((name,), place + "/" + name + ".log") for name in ("program", "dnf")]
    for names, file in [(("lorax", "pylorax"), logfile)] + others:
        handler = logging.FileHandler(file, "w")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        for name in names:
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            logger.addHandler(handler)
            if file == logfile:
                logger.addHandler(console)

def main():
    found = parser()
    opts = vars(found.parse_args())
    opts = {{name.replace("-", "_"): value for name, value in opts.items()}}
    if not opts["force"] and os.path.exists(opts["outputdir"]):
        found.error("output directory %s should not exist." % opts["outputdir"])
    pylorax.note("argv", " ".join(sys.argv[1:]))
    setup_logging(opts["logfile"])
    tempdir = opts["workdir"]
    if not tempdir:
        tempfile.tempdir = opts["tmp"]
        tempdir = tempfile.mkdtemp(prefix="lorax.")
    for name in ("installtree", "dnf"):
        os.makedirs(tempdir + "/" + name)
    log.info("Fetching metadata...")
    dnfbase = get_dnf_base_object(tempdir + "/installtree", opts["source"], opts["mirrorlist"],
                                  opts["repo"], tempdir=tempdir + "/dnf", releasever=opts["version"])
    if dnfbase is None:
        print("error: unable to create the dnf base object", file=sys.stderr)
        sys.exit(1)
    lorax = pylorax.Lorax()
    lorax.configure(conf_file=opts["config"])
    lorax.conf.set("lorax", "logdir", os.path.dirname(opts["logfile"]))
    if opts["sharedir"]:
        lorax.conf.set("lorax", "sharedir", opts["sharedir"])
    variables = dict(each.split("=", 1) for each in opts["add_template_var"])
    lorax.run(dnfbase, opts["product"], opts["version"], opts["release"], opts["variant"], opts["bugurl"],
              opts["isfinal"], workdir=tempdir, outputdir=opts["outputdir"], volid=opts["volid"],
              domacboot=not opts["nomacboot"], installpkgs=opts["installpkgs"],
              size=int(opts.get("rootfs_size") or 2), add_templates=opts["add_template"],
              add_template_vars=variables, remove_temp=True)

main()
"""


def write(place: Path, version: str, behaviour: str = "") -> None:
    """Write lorax of a generation below a directory: its package, templates (`share`), and for those that
    have no library its command (`bin`).
    """
    generation = GENERATIONS[version]
    package, templates = place / "pylorax", place / "share" / "templates.d" / "99-generic"
    for directory in (package, templates, place / "bin"):
        directory.mkdir(parents=True)
    medium = str(ROOT / "tests" / "lorax_medium.py")
    told = {
        "place": str(place),
        "tail": generation.tail,
        "epoch": generation.epoch,
        "style": generation.medium,
        "medium": medium,
        "python": sys.executable,
    }
    (package / "__init__.py").write_text(PACKAGE.format(**told))
    (package / "version.py").write_text(f'num = "{version}-1"\n')
    (templates / "x86.tmpl").write_text(
        "" if generation.medium == "isolinux" else "  .discinfo=${outroot}/.discinfo \\\n"
    )
    if generation.base is not None:
        (package / "dnfbase.py").write_text(DNFBASE.format(base=generation.base, logger="pylorax.dnfbase"))
    else:
        (place / "hidden_dnfbase.py").write_text(DNFBASE.format(base="", logger="lorax"))
        options = sorted({*COMMON, *generation.more.split()})
        program = place / "bin" / "lorax"
        program.write_text(
            COMMAND.format(python=sys.executable, place=str(place), options=options, switches=SWITCHES)
        )
        program.chmod(0o755)
    (place / "behaviour").write_text(behaviour)
