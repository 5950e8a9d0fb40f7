# Two servers for a script, gone with it. To be sourced; expects `root`.
#
#   start NAME PORT_VARIABLE [ARGUMENT...]   starts .servers/NAME on a free port of loopback
#   keep PID                                 ends this process with the script, too
#   cli PORT [ARGUMENT...]                   a client of that port

scratch=$(mktemp -d)
pids=()

finish() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

keep() { pids+=("$1"); }

cli() {
  local port=$1
  shift
  "$root/.servers/redis-7.0/redis-cli" -p "$port" "$@"
}

start() {
  local name=$1 variable=$2 port try
  shift 2
  mkdir -p "$scratch/$name"
  for try in 1 2 3 4 5 6 7 8; do
    port=$((20000 + RANDOM % 10000))
    # A free port refuses a connection.
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue; fi
    "$root/.servers/$name/redis-server" --bind 127.0.0.1 --port "$port" --dir "$scratch/$name" \
      --save '' --repl-diskless-sync-delay 0 "$@" >"$scratch/$name/log" 2>&1 &
    keep $!
    until [[ $(cli "$port" PING 2>/dev/null) == PONG ]]; do
      kill -0 "${pids[-1]}" 2>/dev/null || continue 2
      sleep 0.05
    done
    printf -v "$variable" %s "$port"
    return
  done
  cat "$scratch/$name/log" >&2
  echo "$name does not start" >&2
  exit 1
}

# A field of INFO replication.
replication() {
  cli "$1" INFO replication | tr -d '\r' | sed -n "s/^$2://p"
}
