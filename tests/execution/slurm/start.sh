#!/usr/bin/env bash
# Start SLURM on this one machine, without systemd or cgroups, to test wsikit on it. Run as root.
#
#     apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
#     tests/execution/slurm/start.sh DIR
#     export SLURM_CONF=DIR/slurm.conf
#     tests/execution/slurm/stop.sh DIR
#
# Everything lies in DIR: keys, sockets, spool, logs, process ids. Ports 26817 and 26818 on loopback.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: start.sh DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
mkdir -p "$dir/state" "$dir/spool" "$dir/munge"
chmod 700 "$dir/munge"
cores=$(getconf _NPROCESSORS_ONLN)
memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
host=$(hostname -s)

head -c 256 /dev/urandom > "$dir/munge/key"
chmod 600 "$dir/munge/key"
cat > "$dir/slurm.conf" <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CryptoType=crypto/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
ReturnToService=2
KillWait=2
MinJobAge=10
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=short Nodes=$host Default=YES MaxTime=01:00:00 State=UP
CONF
export SLURM_CONF="$dir/slurm.conf"
munged --force --key-file "$dir/munge/key" --socket "$dir/munge/socket" \
  --pid-file "$dir/munge.pid" --log-file "$dir/munge.log" --seed-file "$dir/munge/seed"
slurmctld -c -f "$SLURM_CONF"
slurmd -c -N "$host" -f "$SLURM_CONF"
for _ in $(seq 60); do
  if sinfo --noheader --states=idle --format=%t 2> /dev/null | grep -q idle; then
    echo "SLURM_CONF=$SLURM_CONF"
    exit 0
  fi
  sleep 0.5
done
echo "SLURM did not come up: see the logs in $dir" >&2
exit 1
