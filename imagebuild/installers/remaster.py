"""Turn an installer ISO into an unattended one: a kickstart is put on it and its boot menus get an entry, without unpacking it.

Works on what lorax makes (GRUB 2 for both firmwares, isolinux before 2022), on Fedora's releases and on ours. The menu that UEFI reads
lies in the appended ESP too, and the media checksum is implanted again: forgetting one of the two is what breaks remastered ISOs.
"""

import re
from pathlib import Path

from imagebuild import steplog
from imagebuild.deploy import bootloader, prescript
from imagebuild.deploy import kickstart as language
from imagebuild.errors import BuildError, UsageError
from imagebuild.tools import command, iso, temporary

GRUB_MENUS = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg", "/EFI/BOOT/grub.cfg", "/EFI/BOOT/BOOT.conf")
ISOLINUX_MENUS = ("/isolinux/isolinux.cfg",)
ESP_MENUS = ("grub.cfg", "BOOT.conf")
ESP_DIRECTORY = "::/EFI/BOOT"
PLACE = "/ks.cfg"
# the kernel's line of an entry (GRUB manual, "linux"; linuxefi and linux16 of distributions)
KERNEL_LINE = re.compile(r"^(\s*)(linux(?:efi|16)?)(\s+)(\S+)(.*)$")
INITRD_LINE = re.compile(r"^\s*initrd(?:efi|16)?\s+\S.*$")
ENTRY = re.compile(r"^\s*(menuentry|submenu)\s")
TITLE = re.compile(r"""menuentry\s+(?:'([^']*)'|"([^"]*)")""")
# what an unattended installation must not inherit from the entry that it is a copy of
DROPPED = re.compile(r"\s(?:inst\.ks(?:\.\w+)?=\S+|ks=\S+|rd\.live\.check(?:=\S+)?|inst\.rescue|nomodeset)(?=\s|$)")
SECONDS = 10


def add_kickstart(source: Path, kickstart: Path, target: Path, *, syntax: str, default: bool = True, keep: bool = False) -> None:
    """Write a copy of an installer ISO with a kickstart on it and a boot entry for it.

    The kickstart is parsed first, in pykickstart's version `syntax`. `default` makes the entry the one that is booted after 10 seconds;
    `keep` lets `source` be changed into the target instead of keeping both. Raises BadKickstartError with file and line, UsageError, BuildError.
    """
    text = _read(kickstart)
    language.parse(prescript.without_includes(text), syntax, kickstart.name, complete=not prescript.has_scripts(text))
    if target.exists():
        raise UsageError(f"{target} exists", hint="give another name, or remove it")
    volume = iso.volume_id(source)
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with temporary.within(target.parent, "remaster") as work:
            (work / "ks.cfg").write_text(text)
            changed, esp = _change_menus(source, volume, work, default=default)
            iso.remaster(source, partial, changed=changed, added={PLACE: work / "ks.cfg"}, esp=esp)
        iso.implant_md5(partial)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    if keep:
        source.unlink()


def _read(kickstart: Path) -> str:
    try:
        return kickstart.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{kickstart} cannot be read: {error}") from error


def _change_menus(source: Path, volume: str, work: Path, *, default: bool) -> tuple[dict[str, Path], Path | None]:
    """Return the changed menus by their path in the ISO, and the changed ESP if there is one."""
    found = iso.extract(source, [*GRUB_MENUS, *ISOLINUX_MENUS], work / "menus")
    changed = {}
    for path, file in found.items():
        text = file.read_text(errors="surrogateescape")
        new = isolinux_menu(text, volume, default=default) if path in ISOLINUX_MENUS else grub_menu(text, volume, default=default)
        if new is not None:
            file.write_text(new, errors="surrogateescape")
            changed[path] = file
    if not changed:
        raise BuildError(
            f"{source.name} has no boot menu that is known here", hint=f"looked for: {', '.join((*GRUB_MENUS, *ISOLINUX_MENUS))}"
        )
    esp = appended_esp(source, work)
    if esp is not None:
        _change_esp(esp, volume, work, default=default)
    elif any(each.platform == "UEFI" for each in iso.boot_entries(source)):
        steplog.note("the ESP is a file of the ISO, not a partition: it is replaced there")
        changed |= _esp_file(source, volume, work, default=default)
    return changed, esp


def appended_esp(source: Path, work: Path) -> Path | None:
    """Return a copy of the ESP that is appended to the ISO as partition 2; None when there is none."""
    said = command.run(["xorriso", "-indev", source, "-report_system_area", "plain"], quiet=True)
    gpt = re.search(r"^GPT start and size\s*:\s+2\s+(\d+)\s+(\d+)", said, re.MULTILINE)
    mbr = re.search(r"^MBR partition\s*:\s+2\s+\S+\s+0xef\s+(\d+)\s+(\d+)", said, re.MULTILINE)
    match = gpt or mbr
    start, count = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
    # older ISOs announce a file of theirs as a partition: that one lies inside of the file system
    if not count or not _outside(source, start):
        return None
    esp = work / "esp.img"
    with source.open("rb") as stream, esp.open("wb") as copy:
        stream.seek(start * 512)
        left = count * 512
        while left and (data := stream.read(min(left, 1 << 20))):
            copy.write(data)
            left -= len(data)
    with esp.open("rb") as stream:
        return esp if stream.read(512)[510:] == b"\x55\xaa" else None


def _outside(source: Path, start: int) -> bool:
    """Whether an area of the image belongs to no file: it was appended."""
    said = command.run(["xorriso", "-indev", source, "-find", "/", "-name", "efiboot.img", "-exec", "report_lba"], quiet=True)
    places = [int(number) for number in re.findall(r"^File data lba:\s+\d+\s*,\s*(\d+)", said, re.MULTILINE)]
    return start * 512 not in [place * iso.SECTOR for place in places]


def _listing(esp: Path) -> list[str]:
    status, said = command.status(["mdir", "-b", "-i", esp, ESP_DIRECTORY], env=bootloader.MTOOLS)
    return [line.rpartition("/")[2] for line in said.splitlines()] if status == 0 else []


def _change_esp(esp: Path, volume: str, work: Path, *, default: bool) -> None:
    """Change the menu that UEFI reads. Raises BuildError when there is none: under UEFI nothing would be unattended."""
    changed = False
    names = {name.lower(): name for name in _listing(esp)}
    for wanted in ESP_MENUS:
        name = names.get(wanted.lower())
        if name is None:
            continue
        file = work / "esp-menu"
        command.run(["mcopy", "-o", "-n", "-i", esp, f"{ESP_DIRECTORY}/{name}", file], env=bootloader.MTOOLS)
        new = grub_menu(file.read_text(errors="surrogateescape"), volume, default=default)
        if new is not None:
            file.write_text(new, errors="surrogateescape")
            bootloader.copy_into_fat(esp, file, f"{ESP_DIRECTORY}/{name}")
            changed = True
    if not changed:
        raise BuildError(
            "the ESP has no boot menu that is known here: under UEFI the kickstart would not be used",
            hint=f"looked for {', '.join(ESP_MENUS)} in EFI/BOOT, with an entry that boots an installer",
        )


def _esp_file(source: Path, volume: str, work: Path, *, default: bool) -> dict[str, Path]:
    """Return the changed ESP that lies in the ISO as a file."""
    path = next((each.path for each in iso.boot_entries(source) if each.platform == "UEFI" and each.path), "/images/efiboot.img")
    found = iso.extract(source, [path], work / "esp")
    if path not in found:
        raise BuildError(f"{source.name} boots under UEFI, but its ESP cannot be found")
    _change_esp(found[path], volume, work, default=default)
    return found


# --- menus ---------------------------------------------------------------------------------------------------------------


def grub_menu(text: str, volume: str, *, default: bool) -> str | None:
    """Return a grub.cfg with one more entry: a copy of its first installing one, with the kickstart. None when it has no such entry.

    An entry that has this kickstart already is enough.
    """
    lines = text.split("\n")
    top = _top_level(lines)
    installing = [each for each in top if _installs(lines[each[0] : each[1] + 1])]
    if not installing:
        return None
    number = next((index for index, (start, end) in enumerate(top) if _ask(volume) in " ".join(lines[start:end]).split()), None)
    if number is None:
        start, end = installing[0]
        body = [
            KERNEL_LINE.sub(lambda match: "".join(match.groups()[:4]) + _arguments(match.group(5), volume), line)
            for line in lines[start + 1 : end]
        ]
        after = _last_of_row(top, installing)
        number = top.index(after) + 1
        # options of GRUB's own (classes, ids) are the first entry's; a theme shows this one without
        new = ["", f"menuentry '{_title(lines[start])}' --class os --unrestricted --hotkey=u {{", *body, lines[end]]
        lines[after[1] + 1 : after[1] + 1] = new
    return "\n".join(_with_default(lines, number) if default else lines)


def _top_level(lines: list[str]) -> list[tuple[int, int]]:
    """Return (first line, line of the closing brace) of each entry and submenu at the outermost level: that is what `default` counts."""
    found: list[tuple[int, int]] = []
    depth, begun, entry = 0, 0, False
    for number, line in enumerate(lines):
        words = line.strip()
        if words.endswith("{"):
            if depth == 0:
                begun, entry = number, ENTRY.match(line) is not None
            depth += 1
        elif words == "}" and depth:
            depth -= 1
            if depth == 0 and entry:
                found.append((begun, number))
    return found


def _installs(entry: list[str]) -> bool:
    """Whether these lines are an entry that boots an installer."""
    kernels = [line for line in entry if KERNEL_LINE.match(line)]
    return len(kernels) == 1 and "inst.rescue" not in kernels[0] and any(INITRD_LINE.match(line) for line in entry)


def _last_of_row(top: list[tuple[int, int]], installing: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the last of the installing entries that follow one another."""
    index = top.index(installing[0])
    while index + 1 < len(top) and top[index + 1] in installing:
        index += 1
    return top[index]


def _title(line: str) -> str:
    match = TITLE.search(line)
    title = next((group for group in match.groups() if group), "the system") if match else "the system"
    title = re.sub(r"^(Test this media & )?install ", "", title, flags=re.IGNORECASE).replace("'", "")
    return f"Install {title} unattended (erases the disk)"


def _ask(volume: str) -> str:
    return f"inst.ks=hd:LABEL={volume.replace(' ', chr(92) + 'x20')}:{PLACE}"


def _arguments(rest: str, volume: str) -> str:
    kept = DROPPED.sub("", rest)
    ask = f" {_ask(volume)}"
    quiet = re.search(r"\squiet\s*$", kept)
    return f"{kept[: quiet.start()]}{ask} quiet" if quiet else kept.rstrip() + ask


def _with_default(lines: list[str], number: int) -> list[str]:
    found = [re.sub(r"^(\s*set\s+default=).*$", rf'\g<1>"{number}"', line) for line in lines]
    found = [re.sub(r"^(\s*set\s+timeout=).*$", rf"\g<1>{SECONDS}", line) for line in found]
    missing = [f'set default="{number}"'] if not any(re.match(r"^\s*set\s+default=", line) for line in found) else []
    missing += [f"set timeout={SECONDS}"] if not any(re.match(r"^\s*set\s+timeout=", line) for line in found) else []
    return [*missing, *found]


def _end_of_label(lines: list[str], start: int) -> int:
    """Return the line after the last directive of an isolinux label: blank lines, comments and what shapes the menu are not its own."""
    end = start + 1
    for number in range(start + 1, len(lines)):
        words = lines[number].lower().split()
        if words[:1] == ["label"] or words[:2] in (["menu", "begin"], ["menu", "end"], ["menu", "separator"]):
            break
        end = number + 1 if words and not words[0].startswith("#") else end
    return end


def isolinux_menu(text: str, volume: str, *, default: bool) -> str | None:
    """Return an isolinux.cfg with one more label: a copy of its first one that has a kernel. None when it has none."""
    lines = text.split("\n")
    starts = [index for index, line in enumerate(lines) if re.match(r"^\s*label\s", line, re.IGNORECASE)]
    for position, start in enumerate(starts):
        end = starts[position + 1] if position + 1 < len(starts) else len(lines)
        body = [
            line
            for line in lines[start + 1 : end]
            if line.strip() and not re.match(r"^\s*(menu end|menu begin|menu separator)", line, re.IGNORECASE)
        ]
        if not any(re.match(r"^\s*append\s", line, re.IGNORECASE) and "initrd=" in line and "inst.rescue" not in line for line in body):
            continue
        copy = ["label unattended", "  menu label Install ^unattended (erases the disk)"]
        for line in body:
            if re.match(r"^\s*menu\s", line, re.IGNORECASE):
                continue
            match = re.match(r"^(\s*append)(\s.*)$", line, re.IGNORECASE)
            copy.append(f"{match.group(1)}{_arguments(match.group(2), volume)}" if match else line)
        copy += ["  menu default"] if default else []
        lines = [line for line in lines if not (default and line.strip().lower() == "menu default")]
        labels = [index for index, line in enumerate(lines) if re.match(r"^\s*label\s", line, re.IGNORECASE)]
        # one that nobody asked to be the default stands behind what it is a copy of: the first is booted where no default is named
        at = labels[0] if default else _end_of_label(lines, labels[position])
        lines[at:at] = [*copy, ""] if default else ["", *copy]
        if default:
            lines = [re.sub(r"(?i)^(\s*timeout\s+)\d+", rf"\g<1>{SECONDS * 10}", line) for line in lines]
            lines = [re.sub(r"(?i)^(\s*default\s+)(?!.*\.c32)\S+", r"\g<1>unattended", line) for line in lines]
        return "\n".join(lines)
    return None
