#!/bin/busybox sh
# The first program of the machine: makes a root of the host's files, on which what is written goes to a disk of its own, and hands
# over to /start. Where that fails the machine ends, and its console says why.
set -e
/bin/busybox mkdir -p /proc /sys /dev /lower /disk /new
/bin/busybox --install -s /bin
export PATH=/bin
trap 'echo "init failed"; poweroff -f' EXIT
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod "$module"; done
mount -t virtiofs -o ro host /lower
mount -o bind /dev /lower/dev
chroot /lower /bin/sh -c 'PATH=/usr/sbin:/sbin:$PATH; mke2fs -q -t ext4 /dev/vda'
umount /lower/dev
mount -t ext4 /dev/vda /disk
mkdir /disk/changed /disk/work
mkdir -m 1777 /disk/tmp
mount -t overlay -o lowerdir=/lower,upperdir=/disk/changed,workdir=/disk/work overlay /new
mount -t tmpfs -o mode=755 tmpfs /new/run
mount -o bind /disk/tmp /new/tmp
# what of the host lies below /tmp and is asked for
. /shared
for path in $shared; do
  mkdir -p "/new$path"
  mount -o bind "/lower$path" "/new$path"
done
mkdir -p /new/lib/modules
mount -o bind "/lower$modules" /new/lib/modules
mount -t proc proc /new/proc
mount -t sysfs sysfs /new/sys
mount -t devtmpfs devtmpfs /new/dev
mkdir -p /new/dev/pts /new/dev/shm /new/dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /new/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /new/dev/shm
mount -t mqueue mqueue /new/dev/mqueue
mount -t securityfs securityfs /new/sys/kernel/security || true
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
ln -sf /proc/self/fd /new/dev/fd
ln -sf /proc/self/fd/0 /new/dev/stdin
ln -sf /proc/self/fd/1 /new/dev/stdout
ln -sf /proc/self/fd/2 /new/dev/stderr
# what the kernel loads modules with finds its libraries by this
printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$modprobe" > /new/run/modprobe
chmod 755 /new/run/modprobe
echo /run/modprobe > /proc/sys/kernel/modprobe
ip link set lo up
cp /start /new/run/start
trap - EXIT
exec switch_root /new /bin/sh /run/start
