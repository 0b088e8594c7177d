#!/bin/busybox sh
# Stands for Anaconda on the medium of lorax_medium.py: takes the kickstart that the kernel was told, writes
# a disk, and logs to the virtio port what Anaconda 29.24.7 logs there, in the lines of lorax' rsyslog.conf
# (imagebuild/tools/anaconda_log.py says where that is written). It says nothing on a serial console.
# Without a kickstart it waits for somebody, as Anaconda does.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
modprobe -a -q isofs nls_utf8 virtio_pci virtio_blk ahci sr_mod cdrom
for file in /console-modules/*.ko; do insmod "$file" 2>/dev/null; done

asked=''
for word in $(cat /proc/cmdline); do case $word in inst.ks=*) asked=${word#inst.ks=} ;; esac; done
if [ -z "$asked" ]; then
    echo "which disk?" >/dev/tty0
    while :; do sleep 60; done
fi
port=''
tries=0
while [ -z "$port" ] && [ "$tries" -lt 100 ]; do
    for each in /sys/class/virtio-ports/*; do
        [ "$(cat "$each/name" 2>/dev/null)" = org.fedoraproject.anaconda.log.0 ] && port=/dev/${each##*/}
    done
    tries=$((tries + 1))
    [ -n "$port" ] || sleep 0.2
done
log() { echo "06:12:01,123 INFO anaconda:anaconda: $*" >"$port"; }

log "main: anaconda called with cmdline = ['/sbin/anaconda']"
where=${asked#hd:}
path=${where#*:}
tries=0
until device=$(findfs "${where%%:*}" 2>/dev/null) || [ "$tries" -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.2
done
mkdir -p /run/install
mount -o ro "$device" /run/install
# each phase lasts as long as the test takes to look
sleep 3
log "startup_utils: Parsing kickstart: /run/install$path"
log "threading: Running Thread: AnaInstallThread (139785)"
log "installation: Task started: Install the payload (21/24)"
log "rpmostreepayload: executing ostreesetup=<pykickstart.commands.ostreesetup>"
{
    [ -d /sys/firmware/efi ] && echo "installed under UEFI" || echo "installed under BIOS"
    echo "told $(cat /proc/cmdline)"
    sha256sum <"/run/install$path"
} >/dev/vda
sync
log "rpmostreepayload: ostree admin deploy complete"
sleep 3
log "threading: Thread Done: AnaInstallThread (139785)"
log "threading: Running Thread: AnaConfigurationThread (139786)"
log "kickstart.script: Running kickstart %%post script(s)"
log "kickstart.script: All kickstart %%post script(s) have been run"
log "threading: Thread Done: AnaConfigurationThread (139786)"
if busybox grep -q '^poweroff' "/run/install$path"; then busybox poweroff -f; else reboot -f; fi
