#!/bin/busybox sh
# shellcheck disable=SC2154  # udhcpc sets interface, ip, router, dns
# What udhcpc calls with what it was told (busybox, udhcpc(8)): only as much as fetching a file needs.
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ifconfig "$interface" "$ip" netmask "${subnet:-255.255.255.0}"
for each in $router; do ip route add default via "$each"; break; done
: > /etc/resolv.conf
for each in $dns; do echo "nameserver $each" >> /etc/resolv.conf; done
