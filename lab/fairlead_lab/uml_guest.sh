#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Init of the one-command guest (uml.py). The kernel passes FL_* from its command line.
#
# The root is this machine's, read-only, so a new root is put together on a tmpfs: everything bound
# from the old one, but /tmp, /run, /out and the kernel's own file systems, which are the guest's.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
die() { echo "guest: $*"; halt_now; }
halt_now() { sync; mount -t proc none /proc 2>/dev/null; echo o >/proc/sysrq-trigger; sleep 10; }

new=/mnt
mount -t proc none /proc
mount -t tmpfs none $new || die "no tmpfs"
for entry in /*; do
    case $entry in
        /proc | /sys | /dev | /tmp | /run | /mnt | /out | /lost+found) continue ;;
    esac
    if [ -L "$entry" ]; then
        cp -P "$entry" $new/
    elif [ -d "$entry" ]; then
        mkdir "$new$entry" && mount --bind "$entry" "$new$entry"
    fi
done
mkdir -m 1777 $new/tmp && mkdir $new/proc $new/sys $new/dev $new/run $new/out $new/mnt $new/tmp/home
mount -t proc none $new/proc
mount -t sysfs none $new/sys
mount -t devtmpfs none $new/dev
mkdir -p $new/dev/pts $new/dev/shm
mount -t devpts none $new/dev/pts
mount -t tmpfs none $new/dev/shm
for pair in fd: stdin:/0 stdout:/1 stderr:/2; do
    ln -sf "/proc/self/fd${pair#*:}" "$new/dev/${pair%%:*}"
done
mkdir -p $new/run/lock $new/run/netns $new/run/job
mount -t hostfs none $new/run/job -o "$FL_WORK" || die "no hostfs"
[ -z "$FL_OUT" ] || mount -t hostfs none $new/out -o "$FL_OUT" || die "no /out"
# Folders that the tmpfs mounts above would hide.
for kept in "$FL_TREE" "$FL_CWD" "${0%/*}"; do
    case $kept in
        /tmp/* | /run/* | /mnt/*) mkdir -p "$new$kept" && mount -t hostfs none "$new$kept" -o "$kept" ;;
    esac
done

# Modules come on demand, from the indexed tree, in whatever way they are asked for.
export MODPROBE_OPTIONS="-d $FL_TREE"
helper=$FL_WORK/modprobe
mkdir -p "$new$FL_WORK" && mount --bind $new/run/job "$new$FL_WORK"
echo "$helper" >/proc/sys/kernel/modprobe
modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_wlc ip_vs_lc ip_vs_mh ip_vs_sh || die "no ip_vs"
ip link set lo up

stty -opost 2>/dev/null
echo @fairlead-begin@
{
    chroot $new /bin/sh /run/job/job </dev/null
    echo $? >$new/run/job/status
} 2>&1 | cat
echo @fairlead-end@
halt_now
