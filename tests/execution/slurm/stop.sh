#!/usr/bin/env bash
# Stop what start.sh started in DIR, by the process ids it left there.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: stop.sh DIR" >&2; exit 2; }
SLURM_CONF="$1/slurm.conf" scancel --user="$(id -un)" 2> /dev/null || true
sleep 1
for name in slurmd slurmctld munge; do
  if [ -s "$1/$name.pid" ]; then kill "$(cat "$1/$name.pid")" 2> /dev/null || true; fi
done
