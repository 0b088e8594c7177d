#!/bin/sh
# grub-mkconfig of an OSTree host: turns the Boot Loader Specification entries that libostree wrote beside
# the requested file into plain GRUB menu entries, newest first. One menu for BIOS and UEFI, no probing, so
# cheap. libostree calls it as `grub-mkconfig -o /boot/loader.N/grub.cfg` (ostree(1), bootloaders;
# ostree-bootloader-grub2.c).
set -eu
out=
while [ $# -gt 0 ]; do
    case $1 in
        -o) out=$2; shift ;;
        --output=*) out=${1#--output=} ;;
    esac
    shift
done
if [ -z "$out" ]; then echo 'grub-mkconfig: -o FILE is needed' >&2; exit 1; fi
entries=${out%/*}/entries
if [ ! -d "$entries" ]; then
    # libostree before 2023 may hand over the new menu's name while the entries already lie in the other
    # loader directory
    entries=/boot/loader/entries
fi
# as grub-mkconfig: the kickstart's time-out; who edits entries needs the password that grub2-setpassword or
# the kickstart set
timeout=${GRUB_TIMEOUT:-$(sed -n 's/^GRUB_TIMEOUT=//p' /etc/default/grub 2>/dev/null | tail -n 1)}
{
    echo "set timeout=${timeout:-1}"
    echo 'set default=0'
    cat <<'END'
# the entry that grub-reboot(8) chose for the next boot only
if [ -f ${prefix}/grubenv ]; then
  load_env next_entry
fi
if [ -n "${next_entry}" ]; then
  set default="${next_entry}"
  set next_entry=
  save_env next_entry
fi
if [ -f ${prefix}/user.cfg ]; then
  source ${prefix}/user.cfg
  if [ -n "${GRUB2_PASSWORD}" ]; then
    set superusers="root"
    export superusers
    password_pbkdf2 root ${GRUB2_PASSWORD}
  fi
fi
END
    for entry in "$entries"/ostree-*.conf; do
        version=$(sed -n 's/^version //p' "$entry")
        printf '%s %s\n' "$version" "$entry"
    done | sort -rn | while read -r _ entry; do
        title=$(sed -n 's/^title //p' "$entry" | tr -d "'")
        name=${entry##*/}
        printf "menuentry '%s' --unrestricted --id '%s' {\n" "$title" "${name%.conf}"
        # characters that GRUB's shell would take for its own
        options=$(sed -n 's/^options //p' "$entry" | sed 's/[|&;<>{}$]/\\&/g')
        printf '  linux %s %s\n' "$(sed -n 's/^linux //p' "$entry")" "$options"
        sed -n 's/^initrd /  initrd /p' "$entry"
        echo '}'
    done
} > "$out.imagebuild"
mv "$out.imagebuild" "$out"
