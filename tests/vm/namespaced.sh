#!/bin/sh
# Starts an installed system's own systemd in namespaces of its own, below a toolbox that has its disk at
# /sysroot: $1 the toolbox's root directory, $2 the deployment there, $3 its stateroot, $4 its kernel's
# arguments.
#
# What ostree-prepare-root does in an initramfs (ostree 2022.7, src/switchroot/ostree-prepare-root.c): the
# deployment is the root directory, /usr read only, the stateroot's /var and the disk's own root in it. What a
# container manager gives its systemd: https://systemd.io/CONTAINER_INTERFACE.
set -eu
top=$1 root=$1$2 stateroot=$1$3 arguments=$4
hostname localhost
ip link set lo up
ip link add eth0 type veth peer name far
ip link set far up
mount --bind "$root" "$root"
mount --bind "$stateroot/var" "$root/var"
mount --bind "$root/usr" "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount --rbind "$top/sysroot" "$root/sysroot"
mount --bind "$top/sysroot/boot" "$root/boot"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
for each in sys sysrq-trigger irq bus; do
    [ -e "$root/proc/$each" ] || continue
    mount --bind "$root/proc/$each" "$root/proc/$each"
    mount -o remount,bind,ro,nosuid,nodev,noexec "$root/proc/$each"
done
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=0755,nosuid tmpfs "$root/dev"
set -- null 1 3 zero 1 5 full 1 7 random 1 8 urandom 1 9 tty 5 0
while [ $# -gt 0 ]; do
    mknod -m 0666 "$root/dev/$1" c "$2" "$3"
    shift 3
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mkdir "$root/run/host" "$root/run/systemd" "$root/run/systemd/network" "$root/run/ostree"
: > "$root/run/ostree-booted"
printf '%s\n' "$arguments" > "$root/run/host/cmdline"
mount --bind "$root/run/host/cmdline" "$root/proc/cmdline"
# the addresses that QEMU gives
printf '%s\n' '[Match]' 'Name=eth0' '[Network]' 'Address=10.0.2.15/24' 'Gateway=10.0.2.2' 'DNS=10.0.2.3' \
    > "$root/run/systemd/network/01-bench.network"
cd "$root"
pivot_root . .
umount -l .
cd /
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog,-wake_alarm,-mac_admin,-mac_override \
    env -i container=bench container_uuid=c0ffee00000000000000000000000000 PATH=/usr/sbin:/usr/bin \
    /usr/lib/systemd/systemd --log-target=console --log-level=info --show-status=no
