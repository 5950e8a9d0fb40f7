#!/usr/bin/env bash
# Peak memory of keyferry while it moves one 1 GB list, one 1 GB hash and one 512 MB string, in
# both modes, against the limit that the README promises. Fails when one peak is above.
#
#   MEMORY_MAX_MIB  the limit (256)
#   SCALE_PERCENT   the sizes in percent, for a quick try (100)
#   SOURCE, TARGET  the servers (redis-7.0, valkey-8.1)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
limit=${MEMORY_MAX_MIB:-256}
percent=${SCALE_PERCENT:-100}
source=${SOURCE:-redis-7.0} target=${TARGET:-valkey-8.1}

cargo build --locked --release --bin keyferry
# shellcheck source=scripts/pair.sh
. "$root/scripts/pair.sh"
# Without compression at the source: the bytes on the wire are then as large as the values.
start "$source" source_port --rdbcompression no --client-output-buffer-limit 'replica 0 0 0'

echo "loading the huge values into $source ($percent % of their size)"
fill() { # command, key, elements of 1 KiB, whether each has a field name
  cli "$source_port" EVAL '
    local value = string.rep("v", 1000)
    for n = tonumber(ARGV[2]), tonumber(ARGV[3]) - 1 do
      local element = string.format("%024d", n) .. value
      if ARGV[4] == "field" then
        redis.call(ARGV[1], KEYS[1], "field:" .. n, element)
      else
        redis.call(ARGV[1], KEYS[1], element)
      end
    end' 1 "$2" "$1" "$3" "$4" "$5" >/dev/null
}
elements=$((1024 * 1024 * percent / 100))
step=$((elements / 8))
for part in 0 1 2 3 4 5 6 7; do
  fill RPUSH huge:list $((part * step)) $(((part + 1) * step)) plain
  fill HSET huge:hash $((part * step)) $(((part + 1) * step)) field
done
# One zero byte at the end makes the string as long as wanted.
cli "$source_port" SETRANGE huge:string $((512 * 1024 * 1024 * percent / 100 - 1)) z >/dev/null

# One run of the given mode against a target of its own; leaves the peak in `peak_kib`.
move() { # arguments of keyferry
  local target_port keyferry kib size ours theirs code began
  start "$target" target_port
  began=$SECONDS
  target/release/keyferry sync "$@" --json --spool-dir "$scratch/spool" \
    --source "redis://127.0.0.1:$source_port" --target "redis://127.0.0.1:$target_port" \
    >"$scratch/summary.json" &
  keyferry=$!
  keep "$keyferry"
  peak_kib=0
  # The kernel keeps the peak itself; it only has to be read while the process is there.
  while kib=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$keyferry/status" 2>/dev/null); do
    [[ -n $kib ]] && peak_kib=$kib
    kill -0 "$keyferry" 2>/dev/null || break
    sleep 0.05
  done
  wait "$keyferry" || { code=$?; echo "keyferry failed with $code" >&2; exit 1; }
  took=$((SECONDS - began))

  for size in LLEN:huge:list HLEN:huge:hash STRLEN:huge:string; do
    ours=$(cli "$source_port" "${size%%:*}" "${size#*:}")
    theirs=$(cli "$target_port" "${size%%:*}" "${size#*:}")
    [[ $ours == "$theirs" ]] || { echo "${size#*:}: source $ours, target $theirs" >&2; exit 1; }
  done
  # Two copies beside the source need not fit into the machine.
  cli "$target_port" SHUTDOWN NOSAVE >/dev/null 2>&1 || true
}

failed=0
for mode in '--mode full' '--mode full+incremental --until-caught-up'; do
  echo "sync $mode"
  # shellcheck disable=SC2086
  move $mode
  peak=$(((peak_kib + 1023) / 1024))
  echo "peak memory: $peak MiB of $limit MiB, $took s ($source to $target, $mode)"
  ((peak > 0 && peak <= limit)) || failed=1
done
exit "$failed"
