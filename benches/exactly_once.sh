#!/usr/bin/env bash
# What it costs to apply every command exactly once: a stream of commands in transactions of the
# default size that carry the checkpoint, beside the same commands by plain pipelining, by turns
# against one real server. Prints the medians and their ratio.
#
#   SERVERS   the servers that are written to (redis-8.0 valkey-9.1)
#   COMMANDS  how many commands (500000)
#   ROUNDS    how often they are applied each way (7)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

cargo build --locked --release --example exactly_once
# shellcheck source=scripts/pair.sh
. "$root/scripts/pair.sh"
for server in ${SERVERS:-redis-8.0 valkey-9.1}; do
  start "$server" server_port
  echo "$server:"
  target/release/examples/exactly_once "redis://127.0.0.1:$server_port" "${COMMANDS:-500000}" "${ROUNDS:-7}"
done
