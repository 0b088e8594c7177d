#!/bin/sh
# Turns a freshly installed Debian root file system ($1) into the content of an OSTree commit.
# Run by mmdebstrap as its customize hook: as root or inside its user namespace, with /proc, /sys and /dev
# mounted. mmdebstrap's own cleaning is off (--skip=cleanup): it expects a Debian layout, which is gone at the
# end of this script.
# Idea by idea, following "Adapting existing mainstream distributions" of the OSTree manual: kernel and
# initramfs in /usr/lib/modules, /etc as /usr/etc, nothing in /var that tmpfiles.d cannot make again,
# top-level writable directories as links into /var.
set -eu
root=$1
drivers='virtio_blk virtio_scsi virtio_pci virtio_net virtio_rng sd_mod sr_mod ahci ata_piix nvme'
drivers="$drivers mptspi mptsas vmw_pvscsi hv_storvsc xen-blkfront dm_mod dm_thin_pool"
drivers="$drivers xfs ext4 vfat overlay squashfs isofs loop"
kernel=$(basename "$(ls -d "$root"/usr/lib/modules/*)")

# --- things packages do at boot that an image of a fixed tree does not want ---------------------------------
chroot "$root" systemctl --quiet disable \
    docker.service containerd.service apparmor.service \
    podman.service podman-auto-update.service podman-auto-update.timer podman-restart.service \
    e2scrub_reap.service e2scrub_all.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    fstrim.timer lvm2-monitor.service sshd-keygen.service grub-common.service 2>/dev/null || true
chroot "$root" systemctl --quiet mask \
    apt-daily.service apt-daily-upgrade.service dpkg-db-backup.service systemd-pcrphase.service
# container storage of the older release lines: a unit of ours with the upstream name, which runs only where
# an image is configured for it
install -D -m 0755 "${0%/*}/storage_setup.sh" "$root/usr/libexec/imagebuild-demo/storage-setup"
cat > "$root/usr/lib/systemd/system/docker-storage-setup.service" <<'END'
[Unit]
Description=Docker Storage Setup
Documentation=file:/usr/libexec/imagebuild-demo/storage-setup
ConditionPathExists=/etc/sysconfig/docker-storage-setup
After=cloud-init.service cloud-init-network.service
Before=docker.service

[Service]
Type=oneshot
ExecStart=/usr/libexec/imagebuild-demo/storage-setup

[Install]
WantedBy=multi-user.target
END
mkdir -p "$root/usr/lib/systemd/system/docker.service.d" "$root/etc/sysconfig"
cat > "$root/usr/lib/systemd/system/docker.service.d/10-storage.conf" <<'END'
[Unit]
After=docker-storage-setup.service

[Service]
EnvironmentFile=-/etc/sysconfig/docker-storage
ExecStart=
ExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock \
    $DOCKER_OPTS $DOCKER_STORAGE_OPTIONS
END
# a host key without cloud-init (in a Vagrant box it is masked), of the kind that is quick to make
cat > "$root/usr/lib/systemd/system/ssh-host-key.service" <<'END'
[Unit]
Description=Make the SSH host key at first boot
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
After=cloud-init.service cloud-init-network.service
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key

[Install]
WantedBy=ssh.service
END
chroot "$root" systemctl --quiet enable docker-storage-setup.service ssh-host-key.service
if [ -e "$root/usr/lib/systemd/system/docker.socket" ]; then
    chroot "$root" systemctl --quiet enable docker.socket
fi
chroot "$root" systemctl --quiet enable \
    podman.socket systemd-networkd.service systemd-resolved.service ssh.service
rm -f "$root"/etc/systemd/system/*.wants/podman*.service "$root"/etc/systemd/system/*.wants/e2scrub*

# --- byte code that stays valid -----------------------------------------------------------------------------
# OSTree sets every mtime to 0, which would make Python compile all of it on each start.
# The suite's own Python; /usr/lib/python3 is what all its versions share
python=$(chroot "$root" python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
find "$root/usr" -name __pycache__ -type d -prune -exec rm -rf {} +
chroot "$root" python3 -m compileall -q -j 2 --invalidation-mode checked-hash \
    "$python" /usr/lib/python3/dist-packages || true

# --- what ostree makes of / at boot: the initramfs has a copy of that file ----------------------------------
prepare_root=${0%/*}/prepare-root.conf
if [ -s "$prepare_root" ]; then
    asks() { grep -qx "$1" "$prepare_root"; }
    features=$(chroot "$root" ostree --version)
    lacks() { ! printf '%s\n' "$features" | grep -qw -- "$1"; }
    if asks 'enabled=.*' && lacks composefs; then
        echo "compose.root.composefs: this suite's ostree is built without composefs:" \
            "choose composefs: no" >&2
        exit 1
    fi
    if asks enabled=signed && lacks sign-ed25519; then
        echo "compose.root.composefs: this suite's ostree is built without ed25519 signatures:" \
            "choose composefs: verity" >&2
        exit 1
    fi
    install -D -m 0644 "$prepare_root" "$root/usr/lib/ostree/prepare-root.conf"
fi

# --- boot: kernel, initramfs, a menu generator in place of grub-mkconfig ------------------------------------
depmod -b "$root" "$kernel"
# forky's package has it there already, and a link in /boot
cp -L "$root/boot/vmlinuz-$kernel" "$root/usr/lib/modules/$kernel/vmlinuz.new"
mv "$root/usr/lib/modules/$kernel/vmlinuz.new" "$root/usr/lib/modules/$kernel/vmlinuz"
# dracut modules that most hosts do without; those that the configuration asks for stay (INITRAMFS, words),
# with what they need
omit='network network-legacy network-manager systemd-networkd systemd-network-management connman'
omit="$omit iscsi nfs nbd cifs fcoe fcoe-uefi multipath mdraid dmraid plymouth bluetooth url-lib"
omit="$omit kernel-network-modules systemd-resolved systemd-timesyncd dbus dbus-daemon dbus-broker qemu-net"
omit="$omit lunmask resume biosdevname nvmf warpclock pcsc rngd virtiofs memstrack squash"
# where the journal's module needs users made (dracut 105 and newer, and a TPM's), nothing boots without
sysusers() {
    cat "$root"/usr/lib/dracut/modules.d/*systemd-journald/module-setup.sh | grep -qw systemd-sysusers
}
case " ${INITRAMFS:-} " in *' tpm2-tss '*) ;; *) sysusers || omit="$omit systemd-sysusers" ;; esac
for name in btrfs crypt tpm2-tss; do
    case " ${INITRAMFS:-} " in *" $name "*) ;; *) omit="$omit $name" ;; esac
done
chroot "$root" dracut --force --quiet --no-hostonly --reproducible --zstd \
    --add "ostree systemd lvm dm ${INITRAMFS:-}" \
    --omit "$omit" \
    --drivers "$drivers" \
    "/usr/lib/modules/$kernel/initramfs.img" "$kernel"
# dracut leaves out what it cannot have, and ends well: an initramfs that does not know that it is one boots
# nothing
if ! chroot "$root" lsinitrd "/usr/lib/modules/$kernel/initramfs.img" | grep -q initrd-release; then
    echo "dracut made no initramfs that systemd takes for one: see above which modules it left out" >&2
    exit 1
fi
find "$root/boot" -mindepth 1 -delete
rm -f "$root"/vmlinuz* "$root"/initrd.img*
install -D -m 0755 "${0%/*}/grub_menu.sh" "$root/usr/libexec/ostree-grub-menu"
ln -sf ../libexec/ostree-grub-menu "$root/usr/sbin/grub-mkconfig"

# --- first-boot state ---------------------------------------------------------------------------------------
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/.pwd.lock" \
    "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow- \
    "$root"/etc/subuid- "$root"/etc/subgid-
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
: > "$root/etc/machine-id"
printf '# made by the installer\n' > "$root/etc/fstab"
rm -rf "$root/var/lib/dbus"
rm -f "$root/etc/apt/apt.conf.d/00mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*

# --- /var: the package database moves to /usr, the rest becomes tmpfiles.d ----------------------------------
mkdir -p "$root/usr/lib/sysimage"
rm -rf "$root"/var/lib/dpkg/*-old "$root/var/lib/dpkg/lock" "$root/var/lib/dpkg/lock-frontend" \
    "$root/var/lib/dpkg/triggers/Lock"
mv "$root/var/lib/dpkg" "$root/usr/lib/sysimage/dpkg"
rm -rf "$root"/var/cache/* "$root"/var/log/* "$root"/var/lib/apt "$root"/var/lib/systemd/* \
    "$root"/var/backups "$root"/var/tmp/*
{
    printf '# Directories that packages had in /var, made again at boot\n'
    printf 'L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg\n'
    for name in home opt srv mnt; do printf 'd /var/%s 0755 root root -\n' "$name"; done
    printf 'd /var/usrlocal 0755 root root -\n'
    printf 'd /var/roothome 0700 root root -\n'
    printf 'd /run/media 0755 root root -\n'
    (
        cd "$root/var" &&
            find . -mindepth 1 -type d \( -name 'lib' -o -path './lib/*' -o -path './cache' -o -path './log' \
                -o -path './spool*' -o -path './mail' -o -path './local' -o -path './tmp' \) \
                -printf '%P %m %u %g\n' | sort
    ) |
        while read -r path mode user group; do
            printf 'd /var/%s %s %s %s -\n' "$path" "0$mode" "$user" "$group"
        done
    (cd "$root/var" && find . -mindepth 1 -type l -printf '%P %l\n' | sort) |
        while read -r path target; do printf 'L /var/%s - - - - %s\n' "$path" "$target"; done
} > "$root/usr/lib/tmpfiles.d/zz-ostree-var.conf"
rm -rf "${root:?}"/var/* "${root:?}"/run/* "${root:?}"/tmp/*

# --- the shape of an OSTree root ----------------------------------------------------------------------------
rm -rf "$root/usr/etc"
mv "$root/etc" "$root/usr/etc"
for name in home opt srv mnt root media tmp; do rm -rf "${root:?}/$name"; done
rm -rf "${root:?}/usr/local"
ln -s var/home "$root/home"
ln -s var/opt "$root/opt"
ln -s var/srv "$root/srv"
ln -s var/mnt "$root/mnt"
ln -s var/roothome "$root/root"
ln -s run/media "$root/media"
if grep -qsx -e readonly=true -e 'enabled=.*' "$root/usr/lib/ostree/prepare-root.conf"; then
    # nothing can be written below /sysroot: a file system in memory (systemd's tmp.mount leaves a link alone)
    mkdir -m 1777 "$root/tmp"
    mkdir -p "$root/usr/lib/systemd/system/local-fs.target.wants"
    ln -sf ../tmp.mount "$root/usr/lib/systemd/system/local-fs.target.wants/tmp.mount"
else
    ln -s sysroot/tmp "$root/tmp"
fi
ln -s ../var/usrlocal "$root/usr/local"
ln -s sysroot/ostree "$root/ostree"
mkdir -p "$root/sysroot"
find "$root" -xdev \( -type p -o -type s -o -type c -o -type b \) \
    -not -path "$root/dev/*" -not -path "$root/proc/*" -not -path "$root/sys/*" -delete
