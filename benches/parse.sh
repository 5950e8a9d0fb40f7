#!/usr/bin/env bash
# How long keyferry and redis-check-rdb take to read one file that a real server wrote: small
# strings, packed hashes, large hashes and a large sorted set. They read it in turns, several
# times; the medians and their ratios are printed.
#
#   SERVER    who writes the file and whose redis-check-rdb reads it (redis-8.0)
#   SIZE_MIB  about how large the file is (300)
#   ROUNDS    how often each of them reads it (7)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
server=${SERVER:-redis-8.0} size=${SIZE_MIB:-300} rounds=${ROUNDS:-7}

cargo build --locked --release --bin keyferry --example walk
# shellcheck source=scripts/pair.sh
. "$root/scripts/pair.sh"
start "$server" server_port

echo "$server writes a file of about $size MiB"
# One batch is about 1 MiB of the file: 8000 strings, 1000 small hashes, a part of a sorted set and
# of hashes that are too large to be packed.
for ((batch = 0; batch < size; batch++)); do
  cli "$server_port" EVAL '
    local batch = tonumber(ARGV[1])
    for n = batch * 8000, batch * 8000 + 7999 do
      redis.call("SET", string.format("session:%010d", n), "user-" .. redis.sha1hex(n):sub(1, 24))
    end
    for n = batch * 1000, batch * 1000 + 999 do
      local fields = {}
      for field = 1, 8 do
        fields[#fields + 1] = "field-" .. field
        fields[#fields + 1] = redis.sha1hex(n .. ":" .. field):sub(1, 20)
      end
      redis.call("HSET", string.format("object:%010d", n), unpack(fields))
    end
    for n = batch * 8000, batch * 8000 + 7999 do
      redis.call("ZADD", "leaderboard", n * 1.25, "player:" .. redis.sha1hex(n):sub(1, 16))
    end
    for n = 1, 3000 do
      redis.call("HSET", "table:" .. batch, "field:" .. n, redis.sha1hex(batch * 3000 + n):sub(1, 20))
    end' 0 "$batch" >/dev/null
done
cli "$server_port" SAVE >/dev/null
file=$scratch/$server/dump.rdb
keys=$(cli "$server_port" DBSIZE)
cli "$server_port" SHUTDOWN NOSAVE >/dev/null 2>&1 || true
# Both find it in memory.
bytes=$(cat "$file" | wc -c)
echo "$((bytes >> 20)) MiB, $keys keys"

names=(redis-check-rdb 'keyferry rdb check' 'walk by element' 'walk raw')
run() { # which of the names
  case $1 in
  0) "$root/.servers/$server/redis-check-rdb" "$file" ;;
  1) target/release/keyferry rdb check "$file" ;;
  2) target/release/examples/walk "$file" elements ;;
  3) target/release/examples/walk "$file" raw ;;
  esac
}

declare -A times
for ((round = 1; round <= rounds; round++)); do
  for which in "${!names[@]}"; do
    began=$(date +%s%N)
    run "$which" >"$scratch/output" 2>&1 || { cat "$scratch/output" >&2; exit 1; }
    times[$which]+="$(($(date +%s%N) - began)) "
  done
done

median() { # times in nanoseconds
  printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"
}

# shellcheck disable=SC2086
theirs=$(median ${times[0]})
printf '%-20s %9s %12s %12s %9s\n' '' seconds MB/s 'keys/s' ratio
for which in "${!names[@]}"; do
  # shellcheck disable=SC2086
  awk -v name="${names[which]}" -v ns="$(median ${times[$which]})" -v theirs="$theirs" \
    -v bytes="$bytes" -v keys="$keys" 'BEGIN {
      printf "%-20s %9.3f %12.0f %12.0f %9.1f\n", name, ns / 1e9, bytes / ns * 1e3, keys / ns * 1e9, theirs / ns
    }'
done
