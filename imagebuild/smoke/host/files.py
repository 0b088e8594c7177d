"""Files and programs of the host under test."""

from imagebuild.smoke.host.programs import Programs


class Files(Programs):
    """What is there, what is in it, and what is written there."""

    def write(self, path: str, text: str) -> None:
        """Write a file, and the directories it lies in."""
        self.succeeds("mkdir", "-p", path.rpartition("/")[0])
        # not tee: what it prints would be in the evidence twice
        self.succeeds("sh", "-c", 'cat > "$1"', "sh", path, stdin=text.encode())

    def read(self, path: str) -> str | None:
        """Return a file's text, or None when there is no such file."""
        answer = self.run("cat", path)
        return answer.output if answer.status == 0 else None

    def has(self, program: str) -> bool:
        """Whether a program is installed."""
        return self.run("sh", "-c", 'command -v "$1"', "sh", program).status == 0

    def is_there(self, path: str) -> bool:
        """Whether there is something at a path."""
        return self.run("test", "-e", path).status == 0
