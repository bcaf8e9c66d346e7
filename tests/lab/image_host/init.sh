#!/bin/sh
# First process of a lab server: makes the container look like a machine (writable /sys, /proc/sys and cgroups), then hands over to systemd.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -o remount,rw,bind /sys 2>/dev/null || mount -o remount,rw /sys
for path in /proc/sys /proc/sysrq-trigger /proc/bus /proc/fs /proc/irq; do
    [ -e "$path" ] && mount -o remount,rw,bind "$path" 2>/dev/null
done
for path in /proc/acpi /proc/kcore /proc/keys /proc/timer_list /proc/scsi /sys/firmware; do
    umount "$path" 2>/dev/null
done
mount -o remount,rw,bind /sys/fs/cgroup 2>/dev/null
for path in /sys/fs/cgroup/*/; do
    mount -o remount,rw,bind "$path" 2>/dev/null
done
mount --make-rshared /
ssh-keygen -A >/dev/null
exec /sbin/init
