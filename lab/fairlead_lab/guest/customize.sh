#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Hook of mmdebstrap: makes a fresh Debian root ($1) a guest of the lab. From the environment:
# LAB_MODULES (folder of the kernel's modules), LAB_KEY (public ssh key), LAB_GUEST (folder with
# the guest's files), LAB_DEBS (folder for packages), LAB_PACKAGES (their names).
#
# Nothing of Fairlead's is in here: that is what the playbooks bring.
set -eu
root=$1
version=$(basename "$LAB_MODULES")

# What the guests will install is fetched now, resolved against exactly this image.
# shellcheck disable=SC2086
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get install -y -q --no-install-recommends --download-only \
    -o Dir::Cache::Archives="$LAB_DEBS" -o APT::Sandbox::User=root $LAB_PACKAGES

mkdir -p "$root/lib/modules"
cp -a "$LAB_MODULES" "$root/lib/modules/"
depmod -b "$root" "$version"

mkdir -m 0700 -p "$root/root/.ssh"
cp "$LAB_KEY" "$root/root/.ssh/authorized_keys"
chmod 0600 "$root/root/.ssh/authorized_keys"
rm -f "$root"/etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C lab -f "$root/etc/ssh/ssh_host_ed25519_key"
cp "$LAB_GUEST/sshd.conf" "$root/etc/ssh/sshd_config.d/lab.conf"

: >"$root/etc/fstab"
# An unreachable name server costs every Ansible task ten seconds.
rm -f "$root/etc/resolv.conf" && : >"$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
rm -f "$root/etc/hostname"
printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n' >"$root/etc/apt/apt.conf.d/90lab"
rm -f "$root"/etc/apt/sources.list.d/* && : >"$root/etc/apt/sources.list"
printf 'force-unsafe-io\n' >"$root/etc/dpkg/dpkg.cfg.d/lab"

install -m 0755 "$LAB_GUEST/lab-guest" "$root/usr/local/sbin/lab-guest"
install -m 0644 "$LAB_GUEST/lab-guest.service" "$root/etc/systemd/system/lab-guest.service"
for unit in lab-guest.service ssh.service; do
    chroot "$root" systemctl enable -q "$unit"
done
# Nobody sits at the console, nothing hangs on a cable: what a guest's boot can do without. Each of
# these costs up to a second there.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer man-db.timer logrotate.timer getty@.service \
    serial-getty@.service console-getty.service systemd-pcrphase.service modprobe@.service \
    systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount systemd-sysusers.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-pstore.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -f "$root/etc/systemd/system/getty.target.wants/"*
for unit in systemd-udev-trigger ssh; do
    mkdir -p "$root/etc/systemd/system/$unit.service.d"
    install -m 0644 "$LAB_GUEST/$unit.conf" "$root/etc/systemd/system/$unit.service.d/lab.conf"
done
# Comes by D-Bus when somebody asks for it.
rm -f "$root/lib/systemd/system/multi-user.target.wants/systemd-logind.service"
