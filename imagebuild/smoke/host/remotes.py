"""OSTree remotes of the host: where its upgrades come from."""

import configparser
import io

from imagebuild.smoke.host.files import Files

REMOTES = "/etc/ostree/remotes.d"


class Remotes(Files):
    """The remotes' settings, and how the test's server takes the place of one."""

    def remote(self, name: str) -> dict[str, str]:
        """Return the settings of an OSTree remote: of /etc/ostree/remotes.d, or of the repository itself
        (ostree.repo-config(5)); empty for none.
        """
        _, config = self._remote(name)
        return dict(config[f'remote "{name}"']) if config else {}

    def _remote(self, name: str) -> tuple[str, configparser.ConfigParser | None]:
        for path in (f"{REMOTES}/{name}.conf", "/sysroot/ostree/repo/config"):
            config = configparser.ConfigParser(interpolation=None)
            config.read_string(self.read(path) or "")
            if config.has_section(f'remote "{name}"'):
                return path, config
        return "", None

    def point_remote(self, name: str, url: str, key: str) -> None:
        """Let upgrades come from the test's server, and trust its key besides the release's; nothing else of
        the remote changes.
        """
        path, config = self._remote(name)
        assert config is not None, f"the host has no remote {name}: no upgrade will ever be found"
        section = config[f'remote "{name}"']
        section["url"] = url
        for elsewhere in ("contenturl", "metalink"):
            section.pop(elsewhere, None)
        if section.get("gpg-verify", "true") == "true":
            file = "/etc/ostree/imagebuild-test.asc"
            self.write(file, key)
            # a keyring of the remote counts beside gpgkeypath, but instead of the global one, whose keys it
            # must have then
            alone = section.get("gpgkeypath") or self.is_there(f"/sysroot/ostree/repo/{name}.trustedkeys.gpg")
            # (a tree without global keys has nothing there)
            more = (
                []
                if alone
                else self.run("find", "/usr/share/ostree/trusted.gpg.d", "-name", "*.gpg").output.split()
            )
            keys = [word for each in (file, *more) for word in ("-k", each)]
            self._in_sysroot("ostree", "remote", "gpg-import", name, *keys)
        text = io.StringIO()
        config.write(text, space_around_delimiters=False)
        if path.startswith("/sysroot/"):
            self._in_sysroot("sh", "-c", 'cat > "$1"', "sh", path, stdin=text.getvalue().encode())
        else:
            self.write(path, text.getvalue())

    def _in_sysroot(self, *argv: str, stdin: bytes = b"") -> None:
        """Run a program that writes into /sysroot, which is read-only on newer hosts: in a mount namespace,
        as ostree itself does it.
        """
        self.succeeds(
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount -o remount,rw /sysroot; exec "$@"',
            "sh",
            *argv,
            stdin=stdin,
        )
