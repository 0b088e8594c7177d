#!/bin/busybox sh
# The first program of the live installer: finds the medium, checks it when asked to, and boots the tree on it
# with a writable overlay. Runs in an initramfs of busybox, a few modules of the tree, and what
# installers/live/initramfs.py packs beside it.
#   /volume-id     label of the ISO file system          /sums     sha256 of what may be fetched over HTTP
#   inst.stage2=, inst.repo=   hd:LABEL=…[:path], hd:UUID=…, hd:/dev/…, cdrom[:/dev/…], http://…
#   rd.live.check   ip=
# What it leaves: /run/install/repo (the medium), /run/install/tree (the squashfs), /run/imagebuild-live (the
# marker without which no disk is ever written, deploy/local.py).
export PATH=/bin

say() { for tty in $consoles; do echo "imagebuild: $*" > "/dev/$tty"; done 2>/dev/null; }
fail() {
    say "$1"
    say "The machine cannot go on. It restarts in 5 minutes, or switch it off."
    [ -n "$debug" ] && sh </dev/console >/dev/console 2>&1
    sleep 300
    reboot -f
}

# --- what the kernel was told -----------------------------------------------------------------------------
stage2='' check='' debug='' address='' consoles=console
read_arguments() {
    for word in $(cat /proc/cmdline); do
        case $word in
            inst.stage2=*) stage2=${word#*=} ;;
            inst.repo=*) [ -n "$stage2" ] || stage2=${word#*=} ;;
            rd.live.check | rd.live.check=1) check=yes ;;
            rd.live.check=0) check='' ;;
            rd.shell) debug=yes ;;
            ip=*) address=${word#*=} ;;
        esac
    done
    stage2=$(printf %s "$stage2" | sed 's/\\x20/ /g')
    [ -n "$stage2" ] || stage2="hd:LABEL=$(cat /volume-id)"
}

# --- the medium -------------------------------------------------------------------------------------------
coldplug() {
    find /sys/devices -name modalias -exec cat {} + 2>/dev/null |
        sort -u | xargs modprobe -a -b -q 2>/dev/null
}

is_iso() { [ -e "$1" ] && [ "$(dd if="$1" bs=1 skip=32769 count=5 2>/dev/null)" = CD001 ]; }

find_device() {
    case $1 in
        LABEL=* | UUID=*) findfs "$1" 2>/dev/null ;;
        '') for each in /dev/sr*; do is_iso "$each" && echo "$each" && break; done ;;
        /dev/*) [ -b "$1" ] && echo "$1" ;;
        *) [ -b "/dev/$1" ] && echo "/dev/$1" ;;
    esac
}

wait_for_device() {
    tries=0
    until device=$(find_device "$1") && [ -n "$device" ]; do
        tries=$((tries + 1))
        [ "$tries" -le 240 ] || fail "the installation medium ($2) was not found"
        sleep 0.25
        [ $((tries % 8)) != 0 ] || coldplug
    done
}

# A hybrid image on a stick shows its file system twice: on the disk, and on a partition that begins later.
# The disk is the medium.
whole_disk() {
    place=$(readlink -f "/sys/class/block/${1##*/}")
    parent=${place%/*}
    parent=/dev/${parent##*/}
    if [ -e "$place/partition" ] && is_iso "$parent"; then echo "$parent"; else echo "$1"; fi
}

# The checksum that implantisomd5(1) wrote into the application area of the primary volume descriptor: MD5 of
# everything but the last sectors, with that area blank (isomd5sum, libcheckisomd5.c)
check_medium() {
    area=$(dd if="$1" bs=1 skip=33651 count=512 2>/dev/null)
    wanted=$(expr "$area" : '.*ISO MD5SUM = \([0-9a-f]*\)')
    skip=$(expr "$area" : '.*SKIPSECTORS = *\([0-9]*\)')
    [ -n "$wanted" ] && [ -n "$skip" ] || fail "the medium has no checksum to be checked"
    # volume space size, little-endian, in sectors of 2048 bytes (ECMA-119, 8.4.8)
    sectors=$(dd if="$1" bs=1 skip=32848 count=4 2>/dev/null | hexdump -e '1/4 "%u"')
    end=$(((sectors - skip) * 2048))
    say "checking the medium: $((end / 1048576)) MiB"
    found=$({
        dd if="$1" bs=33651 count=1 iflag=fullblock
        printf '%512s' ''
        dd if="$1" bs=1M iflag=skip_bytes,count_bytes,fullblock skip=34163 count=$((end - 34163))
    } 2>/dev/null | md5sum | cut -d' ' -f1)
    [ "$found" = "$wanted" ] || fail "THE MEDIUM IS DAMAGED: its checksum is $found, not $wanted. \
Nothing was changed; write or download it again."
    say "the medium is whole"
}

number_of() { stat -c '%t %T' "$1" | { read -r major minor; echo "$((0x$major)):$((0x$minor))"; }; }

open_medium() {
    where=${stage2#*:}
    case $stage2 in
        hd:*) device=${where%%:*}; path=/; case $where in *:*) path=${where#*:} ;; esac ;;
        cdrom*) device=''; path=/; case $stage2 in cdrom:*) device=$where ;; esac ;;
        http://*) fetch_medium "$stage2"; return ;;
        *) fail "inst.stage2=$stage2 is not a place that this installer knows (hd:, cdrom, http://)" ;;
    esac
    say "looking for the medium ($stage2)"
    wait_for_device "$device" "$stage2"
    device=$(whole_disk "$device")
    medium=$(number_of "$device")
    case $path in
        *.iso)
            mkdir -p /run/install/source
            mount -o ro "$device" /run/install/source || fail "$device cannot be mounted"
            [ -z "$check" ] || check_medium "/run/install/source$path"
            mount -t iso9660 -o ro,loop "/run/install/source$path" /run/install/repo ||
                fail "$path on $device is not an ISO"
            path=/
            ;;
        *)
            [ -z "$check" ] || check_medium "$device"
            mount -o ro "$device" /run/install/repo || fail "$device cannot be mounted"
            ;;
    esac
    images=/run/install/repo${path%/}/images
    [ -f "$images/install.img" ] || fail "$device has no images/install.img"
    say "medium: $device"
}

# --- over the network -------------------------------------------------------------------------------------
# dracut.cmdline(7): ip=dhcp, ip=IFACE:dhcp, ip=CLIENT:[PEER]:[GATEWAY]:NETMASK:[HOSTNAME]:[IFACE]:none
start_network() {
    tries=0
    until set -- /sys/class/net/[!l]*; [ -e "$1" ]; do
        tries=$((tries + 1)); [ "$tries" -le 60 ] || fail "there is no network card"
        sleep 0.5; coldplug
    done
    interface=${1##*/}
    case $address in
        '' | dhcp | on | any) ;;
        *:dhcp | *:on | *:any) interface=${address%%:*} ;;
        *)
            IFS=: read -r own _ gateway netmask _ named _ <<END
$address
END
            [ -z "$named" ] || interface=$named
            ip link set "$interface" up
            ifconfig "$interface" "$own" netmask "${netmask:-255.255.255.0}"
            [ -z "$gateway" ] || ip route add default via "$gateway"
            return
            ;;
    esac
    ip link set "$interface" up
    udhcpc -i "$interface" -n -q -t 10 -s /udhcpc.sh >/dev/null 2>&1 ||
        fail "no address by DHCP on $interface"
}

fetch_medium() {
    start_network
    images=/run/install/fetched
    mkdir -p "$images"
    for name in install.img product.img; do
        say "fetching $1/images/$name"
        wget -q -O "$images/$name" "${1%/}/images/$name" || fail "$1/images/$name cannot be fetched"
    done
    # plain HTTP says nothing about what it delivers: the initramfs knows
    (cd "$images" && sha256sum -c -s /sums) ||
        fail "what $1 delivered does not belong to this kernel and initramfs"
    medium=''
}

# --- the root file system ---------------------------------------------------------------------------------
mount_image() {
    loop=$(losetup -f)
    losetup -r "$loop" "$1" && mkdir -p "$2" && mount -t squashfs -o ro "$loop" "$2" ||
        fail "$1 cannot be mounted"
}

make_root() {
    mount_image "$images/product.img" /run/install/product
    mount_image "$images/install.img" /run/install/tree
    mkdir -p /run/install/overlay /newroot
    mount -t tmpfs -o mode=0755,size=50% tmpfs /run/install/overlay
    mkdir /run/install/overlay/upper /run/install/overlay/work
    layers=lowerdir=/run/install/product:/run/install/tree
    layers=$layers,upperdir=/run/install/overlay/upper,workdir=/run/install/overlay/work
    mount -t overlay -o "$layers" overlay /newroot || fail "the overlay cannot be mounted"
    # in a commit /etc has its defaults only, and is a link in the squashfs
    rm -f /newroot/etc
    cp -a /newroot/usr/etc /newroot/etc
    cp -a /newroot/usr/lib/imagebuild-live/etc/. /newroot/etc/
    # file:///ostree/repo is the embedded repository, as under Anaconda
    mkdir -p /newroot/sysroot/tmp /newroot/sysroot/ostree/repo
    chmod 1777 /newroot/sysroot/tmp
    mount --bind /run/install/tree/imagebuild/repo /newroot/sysroot/ostree/repo
    printf '{"boot_id": "%s", "tree": "%s", "medium": [%s], "label": "%s"}\n' \
        "$(cat /proc/sys/kernel/random/boot_id)" "$loop" "${medium:+\"$medium\"}" "$(cat /volume-id)" \
        > /run/imagebuild-live
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs /run
exec </dev/null
mkdir -p /run/install/repo
consoles=$(cat /sys/class/tty/console/active)
read_arguments
# file systems too: the kernel has no modprobe to call here
modprobe -a -q loop isofs squashfs overlay nls_cp437 nls_ascii nls_iso8859-1 nls_utf8 vfat crc32c_generic ext4
coldplug
open_medium
make_root
say "starting the tree"
for each in /dev /proc /sys /run; do mount --move "$each" "/newroot$each"; done
exec switch_root /newroot /usr/lib/systemd/systemd
