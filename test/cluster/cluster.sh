#!/usr/bin/env bash
# A cluster on one machine, for tests of several hosts. Each host has a file system (an overlay over this machine's), /tmp, home,
# process table, network interface and sshd of its own, and no way to the world outside. Needs root.
#
#   cluster.sh check                   says why there can be no cluster here and exits with 1, else says nothing
#   cluster.sh hold N [DIRECTORY...]   starts hosta, hostb, ... with these directories read-only at the same paths, prints "ready",
#                                      and takes everything down at the end of its standard input
#   cluster.sh parts                   names what is up, a line for each namespace, interface, mount and first process
#   cluster.sh down                    takes down what a killed "hold" has left
#   cluster.sh partition HOST [PEER]   pulls HOST's cable, or cuts it off from PEER alone: no packet, no reset
#   cluster.sh heal HOST [PEER]        puts it back
#   cluster.sh rate HOST MBIT [BYTES]  limits what HOST sends and what it receives, in Mbit/s each; 0 lifts the limit. After a rest
#                                      BYTES pass at once, what 5 ms send unless given; 1540, one packet, is most like a wire
#
# "hold" waits for its turn: one machine has one cluster at a time. To look around: ssh -F /run/shardrun-cluster/ssh_config hosta
set -euo pipefail
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
readonly DIRECTORY=/run/shardrun-cluster LOCK=/run/shardrun-cluster.lock
# A range for tests of networks (RFC 2544), so that no real one is hidden.
readonly NETWORK=198.18.77 BRIDGE=shardrun0

namespace() { echo "shardrun-$1"; }
# The end of host $1's cable that is in the bridge; the other is its eth0.
cable() { echo "shardrun-$1" | cut -c1-15; }
name() { printf "host\\x$(printf %x $((96 + $1)))"; }
address() { echo "$NETWORK.$(($(printf %d "'${1#host}") - 96))"; }

# Names of the hosts of the cluster that is up, or of what is left of one.
hosts() { find "$DIRECTORY" -mindepth 1 -maxdepth 1 -type d -name 'host?' -printf '%f\n' 2>/dev/null | sort; }

check() {
  [ "$(id -u)" = 0 ] || { echo "needs root"; return 1; }
  local command missing=()
  for command in ip tc sshd ssh ssh-keygen nsenter unshare flock pivot_root; do
    command -v "$command" >/dev/null || missing+=("$command")
  done
  [ ${#missing[@]} = 0 ] || { echo "needs ${missing[*]}"; return 1; }
  local output
  output=$(unshare --mount --net --uts --ipc --pid --fork sh -ec '
    mount --make-rprivate /
    mount -t tmpfs none /run
    mkdir /run/upper /run/work /run/root
    mount -t overlay overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work /run/root
    mount -t proc proc /run/root/proc
    ip link add bridge0 type bridge
    ip link add cable0 type veth peer name cable1
    tc qdisc add dev cable0 root tbf rate 1mbit burst 64kb latency 50ms' 2>&1) ||
    { echo "this machine lacks namespaces, overlayfs, bridges or traffic limits: ${output//$'\n'/ }"; return 1; }
}

parts() {
  { ip netns; ip -brief link; cat /proc/mounts; ps -eo args; } |
    grep -E '^shardrun(0|-host)|shardrun-cluster /run|boot-host\.sh' | grep -v grep || true
}

down() {
  local host pids
  for host in $(hosts); do
    # The end of a process namespace's first process ends all of them.
    while pids=$(ip netns pids "$(namespace "$host")" 2>/dev/null) && [ -n "$pids" ]; do
      kill -KILL $pids 2>/dev/null || true
      sleep 0.02
    done
    ip link delete "$(cable "$host")" 2>/dev/null || true
    ip netns delete "$(namespace "$host")" 2>/dev/null || true
  done
  ip link delete "$BRIDGE" 2>/dev/null || true
  # The kernel gives back what a dead host held a moment after its end.
  local _
  for _ in $(seq 100); do
    ! mountpoint -q "$DIRECTORY" || umount --recursive "$DIRECTORY" 2>/dev/null || { sleep 0.05; continue; }
    break
  done
  rm -rf "$DIRECTORY"
}

# What the hosts share: the bridge, a key that opens each of them, their names and host keys.
make_common() {
  mkdir -p "$DIRECTORY"
  mount -t tmpfs -o mode=755 shardrun-cluster "$DIRECTORY"
  mount --make-private "$DIRECTORY"
  ip link add "$BRIDGE" type bridge
  ip address add "$NETWORK.254/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  ssh-keygen -q -t ed25519 -N '' -C shardrun-cluster -f "$DIRECTORY/key"
  echo "127.0.0.1 localhost" > "$DIRECTORY/hosts"
  printf 'Host *\n  User root\n  BatchMode yes\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n' \
    "$DIRECTORY/key" "$DIRECTORY/known_hosts" > "$DIRECTORY/ssh_config"
}

# Cable and names of host $1. All hosts have theirs before the first starts.
connect() {
  local host=$1 address
  address=$(address "$host")
  mkdir -p "$DIRECTORY/$host"/{upper,work,root}
  ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$DIRECTORY/$host/key"
  echo "$host,$address $(cut -d' ' -f1,2 "$DIRECTORY/$host/key.pub")" >> "$DIRECTORY/known_hosts"
  echo "$address $host" >> "$DIRECTORY/hosts"
  printf 'Host %s\n  HostName %s\n' "$host" "$address" >> "$DIRECTORY/ssh_config"
  local namespace
  namespace=$(namespace "$host")
  ip netns add "$namespace"
  ip link add "$(cable "$host")" type veth peer name eth0 netns "$namespace"
  ip link set "$(cable "$host")" master "$BRIDGE" up
  ip -n "$namespace" link set lo up
  ip -n "$namespace" address add "$address/24" dev eth0
  ip -n "$namespace" link set eth0 up
}

# Starts host $1, with the directories $2... of this machine.
boot() {
  local host=$1
  nsenter --net="/run/netns/$(namespace "$host")" \
    unshare --mount --uts --ipc --pid --fork --kill-child=KILL \
    sh "$(dirname "$0")/boot-host.sh" "$DIRECTORY" "$@" < /dev/null > "$DIRECTORY/$host/log" 2>&1 9>&- &
  echo $! > "$DIRECTORY/$host/starter"
  disown # bash need not report its end
}

# Waits until host $1 can be reached by ssh; notes its first process.
await() {
  local directory=$DIRECTORY/$1 starter
  starter=$(cat "$directory/starter")
  until grep -qs 'Server listening' "$directory/log"; do
    [ -d "/proc/$starter" ] || { echo "$1 did not start: $(cat "$directory/log")" >&2; return 1; }
    sleep 0.02
  done
  tr -d ' ' < "/proc/$starter/task/$starter/children" > "$directory/pid"
}

hold() {
  local num_hosts=$1 i
  shift
  exec 9> "$LOCK"
  flock 9
  local found
  found=$(parts)
  down
  trap down EXIT
  trap 'exit 143' TERM
  trap 'exit 130' INT
  make_common
  echo "$found" > "$DIRECTORY/found"
  for i in $(seq "$num_hosts"); do connect "$(name "$i")"; done
  for i in $(seq "$num_hosts"); do boot "$(name "$i")" "$@"; done
  for i in $(seq "$num_hosts"); do await "$(name "$i")"; done
  echo ready
  while read -r _; do :; done
}

partition() {
  local host=$1 peer=${2:-}
  if [ -z "$peer" ]; then
    ip link set "$(cable "$host")" down
  else # an address of hardware that nobody has: packets leave and arrive nowhere, as behind a broken switch
    ip -n "$(namespace "$host")" neighbor replace "$(address "$peer")" lladdr 02:00:00:00:00:00 dev eth0 nud permanent
    ip -n "$(namespace "$peer")" neighbor replace "$(address "$host")" lladdr 02:00:00:00:00:00 dev eth0 nud permanent
  fi
}

heal() {
  local host=$1 peer=${2:-}
  if [ -z "$peer" ]; then
    ip link set "$(cable "$host")" up
  else
    ip -n "$(namespace "$host")" neighbor delete "$(address "$peer")" dev eth0
    ip -n "$(namespace "$peer")" neighbor delete "$(address "$host")" dev eth0
  fi
}

# A token bucket in each direction.
rate() {
  local host=$1 mbit=$2 burst=${3:-}
  [ -n "$burst" ] || burst=$((mbit * 625 > 65536 ? mbit * 625 : 65536))
  local towards=(dev "$(cable "$host")" root) from=(dev eth0 root)
  if [ "$mbit" = 0 ]; then
    tc qdisc delete "${towards[@]}"
    tc -n "$(namespace "$host")" qdisc delete "${from[@]}"
  else
    tc qdisc replace "${towards[@]}" tbf rate "${mbit}mbit" burst "$burst" latency 50ms
    tc -n "$(namespace "$host")" qdisc replace "${from[@]}" tbf rate "${mbit}mbit" burst "$burst" latency 50ms
  fi
}

case ${1:-} in
  check | hold | parts | down | partition | heal | rate) "$@" ;;
  *) sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2 ;;
esac
