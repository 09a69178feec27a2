# Becomes the first process of a host of cluster.sh, in namespaces that it finds ready: builds the host's file system, moves into it
# and runs its sshd.     sh boot-host.sh CLUSTER_DIRECTORY HOST [DIRECTORY...]
set -eu
cluster=$1 host=$2
shift 2
root=$cluster/$host/root
node=$(dirname "$(readlink -f "$(command -v node)")")
path=$node:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mount --make-rprivate /
hostname "$host"
mount -t overlay overlay -o "lowerdir=/,upperdir=$cluster/$host/upper,workdir=$cluster/$host/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${stream%:*}" "$root/dev/${stream#*:}"; done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
for directory in "$@"; do
  mkdir -p "$root$directory"
  mount --bind -o ro "$directory" "$root$directory"
done

# A home and a configuration that know nothing of this machine's.
home=/home/shardrun
mkdir -p "$root$home/.ssh" "$root/run/sshd"
sed -i "s|^root:[^:]*:\(.*\):[^:]*:[^:]*$|root:x:\1:$home:/bin/sh|" "$root/etc/passwd"
sed -i 's|^root:[^:]*:|root:*:|' "$root/etc/shadow" # a locked account may not log in
echo "$host" > "$root/etc/hostname"
cp "$cluster/hosts" "$root/etc/hosts"
cp "$cluster/key" "$root$home/.ssh/id_ed25519"
cp "$cluster/key.pub" "$root$home/.ssh/authorized_keys"
cp "$cluster/known_hosts" "$root$home/.ssh/known_hosts"
cp "$cluster/$host/key" "$root/run/sshd/key"
cat > "$root/run/sshd/config" <<CONFIG
HostKey /run/sshd/key
PidFile none
PasswordAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PrintMotd no
MaxStartups 100
SetEnv PATH=$path
Subsystem sftp internal-sftp
CONFIG
chmod -R go= "$root$home" "$root/run/sshd/key"

mkdir "$root/run/machine"
cd "$root"
pivot_root . run/machine
cd /
umount -l /run/machine
exec env -i PATH="$path" HOME="$home" /usr/sbin/sshd -D -e -f /run/sshd/config
