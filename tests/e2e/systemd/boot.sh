#!/usr/bin/env bash
# Boots a systemd of its own that knows the unit of this repository and nothing else: in namespaces and control groups of
# its own, over a root in memory that shows the host's /usr for reading and one directory for writing. The network is the
# host's. Ends with whoever started it.
#
# $1: a directory that holds `root`, which is empty, `enclos.toml`, and what accounts and state lie in. $2: the binary.
# $3: the unit.
set -euo pipefail
kept=$1 binary=$2 unit=$3

# Outside: control groups, and the namespaces.
if [ -z "${BOOT_INSIDE:-}" ]; then
    groups=()
    for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        if [ -e "$hierarchy/cgroup.procs" ]; then
            before=$(awk -F: -v v1="${hierarchy##*/}" '(v1 == "systemd" ? $2 == "name=systemd" : $1 == 0) { print $3 }' /proc/self/cgroup)
            mkdir "$hierarchy/enclos-boot-$$"
            echo $$ > "$hierarchy/enclos-boot-$$/cgroup.procs"
            groups+=("$hierarchy:$before")
        fi
    done
    BOOT_INSIDE=yes unshare --fork --kill-child --pid --mount --ipc --uts --cgroup "$0" "$@" &
    booted=$!
    trap 'kill -KILL "$booted"' TERM INT
    wait "$booted" || true
    for group in "${groups[@]}"; do
        hierarchy=${group%%:*}
        echo $$ > "$hierarchy${group#*:}/cgroup.procs"
        # What was killed leaves its groups a moment later.
        for _ in $(seq 100); do
            find "$hierarchy/enclos-boot-$$" -depth -type d -exec rmdir {} + 2> /dev/null && break
            sleep 0.1
        done
    done
    exit 0
fi

# Inside. Nothing of the host may be written from here on: systemd tidies up wherever it boots.
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$kept/root"
cd "$kept/root"
mkdir -p usr proc sys dev/shm dev/pts run tmp var/lib root etc/systemd/system etc/enclos opt old ".$kept"
mount --bind /usr usr
mount -o remount,bind,ro usr
for link in bin sbin lib lib64; do
    ln -s "usr/$link" "$link"
done
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
fi
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount --bind "$kept" ".$kept"
touch opt/enclos
mount --bind "$binary" opt/enclos
cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache etc/
cp "$kept/enclos.toml" etc/enclos/
sed 's|/usr/bin/enclos|/opt/enclos|' "$unit" > etc/systemd/system/enclos.service
cp /usr/lib/systemd/system/systemd-journald{.service,.socket,-dev-log.socket} etc/systemd/system/
for target in basic network nss-user-lookup shutdown sysinit umount; do
    printf '[Unit]\nDescription=%s\n' "$target" > "etc/systemd/system/$target.target"
done
printf 'Wants=systemd-journald.service\nAfter=systemd-journald.service\n' >> etc/systemd/system/sysinit.target
tr -d - < /proc/sys/kernel/random/uuid > etc/machine-id
pivot_root . old
cd /
umount --lazy /old
exec env -i container=test PATH=/usr/sbin:/usr/bin SYSTEMD_UNIT_PATH=/etc/systemd/system \
    /usr/lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no
