"""What the host says of Secure Boot: its firmware's variables, and the kernel's lockdown."""

import re

from imagebuild.smoke.host.files import Files

# EFI_GLOBAL_VARIABLE (UEFI 2.10, 3.3)
GLOBAL_VARIABLE = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
# kernel_lockdown.7: what is in brackets is in force
LOCKED = re.compile(r"\[(integrity|confidentiality)\]")


class SecureBoot(Files):
    """Whether only signed programs run."""

    def reason_insecure(self) -> str | None:
        """Return why Secure Boot is not in force, firmware and kernel; None when it is."""
        if self._efi_variable("SetupMode") != 0:
            return "the firmware has no keys of its own (SetupMode is not 0): whatever it finds, it starts"
        if self._efi_variable("SecureBoot") != 1:
            return "the firmware did not check what it started (SecureBoot is not 1)"
        modes = self.read("/sys/kernel/security/lockdown")
        if modes is None:
            return "the kernel has no lockdown: root may put into it what nobody signed"
        if not LOCKED.search(modes):
            return f"the kernel is not locked down, as it is to be under Secure Boot: {modes.strip()!r}"
        return None

    def _efi_variable(self, name: str) -> int | None:
        """Return a global variable of one byte (UEFI 2.10, 3.3); None where there is none."""
        place = f"/sys/firmware/efi/efivars/{name}-{GLOBAL_VARIABLE}"
        answer = self.run("od", "-A", "n", "-t", "u1", place)
        # efivarfs puts four bytes of attributes in front (Documentation/filesystems/efivarfs.rst)
        numbers = answer.output.split()
        return int(numbers[4]) if answer.status == 0 and len(numbers) == 5 else None
