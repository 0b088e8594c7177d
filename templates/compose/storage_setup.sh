#!/bin/sh
# Part of imagebuild's demo tree only. Debian has no container-storage-setup, so this does the same LVM work
# from the same keys of /etc/sysconfig/docker-storage-setup (container-storage-setup(1), 0.11), as far as
# the demo's profiles use them. Like there: what is set up once stays; a failed GROWPART or ROOT_SIZE is not
# fatal.
set -eu
input=/etc/sysconfig/docker-storage-setup
output=/etc/sysconfig/docker-storage
say() { echo "docker-storage-setup: $*"; }
fail() { echo "docker-storage-setup: ERROR: $*" >&2; exit 1; }

STORAGE_DRIVER=devicemapper
CONTAINER_THINPOOL=docker-pool
DATA_SIZE=40%FREE
MIN_DATA_SIZE=2G
CHUNK_SIZE=512K
GROWPART=false
ROOT_SIZE=
CONTAINER_ROOT_LV_NAME=
CONTAINER_ROOT_LV_MOUNT_PATH=
CONTAINER_ROOT_LV_SIZE=40%FREE
# shellcheck disable=SC1090
. "$input"

root=$(findmnt -n -o SOURCE /sysroot)
group=$(lvs --noheadings -o vg_name "$root" | tr -d ' ')
bytes() { numfmt --from=iec "$(echo "$1" | tr '[:lower:]' '[:upper:]' | sed 's/I\{0,1\}B$//')"; }
free() { vgs --noheadings --nosuffix --units b -o vg_free "$group" | tr -d ' '; }
size() { case $1 in *%*) echo "--extents=$1" ;; *[0-9]) echo "--size=${1}m" ;; *) echo "--size=$1" ;; esac; }
# /sysroot may be read-only: in a mount namespace of its own, as ostree writes there
on_writable_sysroot() { unshare --mount sh -c 'mount -o remount,rw /sysroot && exec "$@"' sh "$@"; }
has() { lvs "$group/$1" >/dev/null 2>&1; }

# --- the group takes what the disk has grown by -----------------------------------------------------------
if [ "$GROWPART" = true ]; then
    command -v growpart >/dev/null || fail "GROWPART=true, but there is no growpart"
    physical=$(pvs --noheadings -o pv_name -S "vg_name=$group" | tr -d ' ')
    name=${physical##*/}
    if [ -e "/sys/class/block/$name/partition" ]; then
        growpart "/dev/$(lsblk -n -d -o PKNAME "$physical")" \
            "$(cat "/sys/class/block/$name/partition")" || true
        pvresize "$physical"
    fi
fi
if [ -n "$ROOT_SIZE" ]; then
    lvextend "$(size "$ROOT_SIZE")" "$root" || true
    case $(findmnt -n -o FSTYPE /sysroot) in
        xfs) on_writable_sysroot xfs_growfs /sysroot ;;
        ext4) on_writable_sysroot resize2fs "$root" ;;
    esac || true
fi

# --- the driver that was set up first stays ---------------------------------------------------------------
before=$(sed -n 's/.*--storage-driver \([a-z0-9]*\).*/\1/p' "$output" 2>/dev/null || true)
if [ -n "$before" ] && [ "$before" != "$STORAGE_DRIVER" ]; then
    say "INFO: storage is set up with $before already, not with $STORAGE_DRIVER;" \
        "remove $output to start again"
    exit 0
fi

thin_pool() {
    [ -n "$CONTAINER_THINPOOL" ] || fail "devicemapper needs CONTAINER_THINPOOL"
    if ! has "$CONTAINER_THINPOOL"; then
        least=$(bytes "$MIN_DATA_SIZE")
        [ "$(free)" -ge "$least" ] ||
            fail "volume group $group has $(free) bytes free, less than MIN_DATA_SIZE=$MIN_DATA_SIZE ($least)"
        wanted=$(size "$DATA_SIZE")
        case $DATA_SIZE in
            *%FREE)
                [ "$(($(free) * ${DATA_SIZE%\%FREE} / 100))" -ge "$least" ] || wanted="--size=${least}b"
                ;;
        esac
        lvcreate --yes --type=thin-pool --zero=n --chunksize="$CHUNK_SIZE" "$wanted" \
            --name="$CONTAINER_THINPOOL" "$group"
    fi
    pool=/dev/mapper/$(echo "$group" | sed 's/-/--/g')-$(echo "$CONTAINER_THINPOOL" | sed 's/-/--/g')
    options="--storage-driver devicemapper --storage-opt dm.fs=xfs --storage-opt dm.thinpooldev=$pool"
    options="$options --storage-opt dm.use_deferred_removal=true --storage-opt dm.use_deferred_deletion=true "
}

volume() {
    if [ -z "$CONTAINER_ROOT_LV_NAME" ] && [ -z "$CONTAINER_ROOT_LV_MOUNT_PATH" ]; then return; fi
    [ -n "$CONTAINER_ROOT_LV_NAME" ] && [ -n "$CONTAINER_ROOT_LV_MOUNT_PATH" ] ||
        fail "CONTAINER_ROOT_LV_NAME and CONTAINER_ROOT_LV_MOUNT_PATH go together"
    if ! has "$CONTAINER_ROOT_LV_NAME"; then
        lvcreate --yes --wipesignatures=y "$(size "$CONTAINER_ROOT_LV_SIZE")" \
            --name="$CONTAINER_ROOT_LV_NAME" "$group"
        mkfs.xfs -q -f -n ftype=1 "/dev/$group/$CONTAINER_ROOT_LV_NAME"
    fi
    unit=$(systemd-escape --path --suffix=mount "$CONTAINER_ROOT_LV_MOUNT_PATH")
    cat > "/etc/systemd/system/$unit" <<END
[Unit]
Description=Container storage
Before=docker.service

[Mount]
What=/dev/$group/$CONTAINER_ROOT_LV_NAME
Where=$CONTAINER_ROOT_LV_MOUNT_PATH
Type=xfs
Options=pquota

[Install]
WantedBy=docker-storage-setup.service
END
    mkdir -p "$CONTAINER_ROOT_LV_MOUNT_PATH"
    systemctl daemon-reload
    systemctl --quiet enable "$unit"
    systemctl --no-block start "$unit"
    for _ in $(seq 60); do mountpoint -q "$CONTAINER_ROOT_LV_MOUNT_PATH" && break; sleep 1; done
    mountpoint -q "$CONTAINER_ROOT_LV_MOUNT_PATH" || fail "$CONTAINER_ROOT_LV_MOUNT_PATH could not be mounted"
}

case $STORAGE_DRIVER in
    '') say "STORAGE_DRIVER is empty: nothing to do"; exit 0 ;;
    devicemapper) thin_pool ;;
    overlay | overlay2) volume; options="--storage-driver $STORAGE_DRIVER " ;;
    *) fail "STORAGE_DRIVER=$STORAGE_DRIVER is none of devicemapper, overlay, overlay2" ;;
esac
printf 'DOCKER_STORAGE_OPTIONS="%s"\n' "$options" > "$output"
say "$STORAGE_DRIVER is set up"
