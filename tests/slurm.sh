#!/usr/bin/env bash
# Runs a batch as a job array of Slurm, on this machine: 4 tasks over 2,000 lines against `langspan sandbox`. One task is
# killed with SIGKILL in the middle of its lines and requeued. Then each line must be there once, each trace once, in one
# session, and `langspan merge` must have joined the outputs.
#
# Run it by hand, as root: it installs Debian's slurm-wlm and munge where they are missing, and starts munged, slurmctld
# and slurmd on loopback, with files in a folder that goes with the script. The head of tests/servers.sh says what may be
# set. LINES_TOTAL, TASKS and DELAY (of the model, in ms) may be set too.
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

lines_total="${LINES_TOTAL:-2000}"
tasks="${TASKS:-4}"
delay="${DELAY:-100}"
# The task that is killed.
victim=2

install_slurm() {
  command -v slurmctld slurmd munged sbatch >/dev/null && return
  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    slurm-wlm munge >/dev/null
}

if [[ $EUID -ne 0 ]] || ! install_slurm; then
  echo "SKIPPED $0: it needs root, slurm-wlm and munge"
  exit 0
fi
build
prepare
say() { printf '\n== %s\n' "$*"; }

## The cluster

read -r sandbox_port controller_port node_port < <(free_ports 3)
sandbox="http://127.0.0.1:$sandbox_port"
node="$(hostname -s)"
mkdir "$work/munge" "$work/controller" "$work/node" "$work/job"
export SLURM_CONF="$work/slurm.conf"
cat >"$SLURM_CONF" <<CONF
ClusterName=langspan
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$work/controller
SlurmdSpoolDir=$work/node
SlurmctldPidFile=$work/controller.pid
SlurmdPidFile=$work/node.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
JobRequeue=1
ReturnToService=2
MpiDefault=none
NodeName=$node NodeAddr=127.0.0.1 CPUs=$tasks State=UNKNOWN
PartitionName=night Nodes=$node Default=YES MaxTime=30 State=UP
CONF

say "munged, slurmctld, slurmd and langspan sandbox"
head -c 1024 /dev/urandom >"$work/munge/key"
chmod 600 "$work/munge/key"
set -m
munged --foreground --key-file="$work/munge/key" --socket="$work/munge/socket" --seed-file="$work/munge/seed" \
  --pid-file="$work/munge/pid" --log-file="$work/munge/log" --force >"$work/munge/out" 2>&1 </dev/null &
set +m
servers+=($!)
for _ in {1..100}; do [[ -S $work/munge/socket ]] && break; sleep 0.1; done
start "$controller_port" "SLURM_CONF=$SLURM_CONF" slurmctld -D
start "$node_port" "SLURM_CONF=$SLURM_CONF" slurmd -D
start "$sandbox_port" XDG_STATE_HOME="$work/sandbox" "$langspan" sandbox --port "$sandbox_port" --delay "$delay"
slurmctld -V
for _ in {1..300}; do [[ $(sinfo -h -o %T) == idle ]] && break; sleep 0.2; done
sinfo

## The job

settings=("SLURM_CONF=$SLURM_CONF" "LANGSPAN=$langspan" "OPENAI_BASE_URL=$sandbox/v1" "LANGFUSE_BASE_URL=$sandbox"
  LANGFUSE_PUBLIC_KEY=pk-lf-sandbox LANGFUSE_SECRET_KEY=sk-lf-sandbox)
"$python" tests/cluster.py input "$lines_total" >"$work/job/questions.jsonl"
cat >"$work/job/job.sh" <<JOB
#!/bin/sh
#SBATCH --array=1-$tasks
#SBATCH --cpus-per-task=1
#SBATCH --requeue
#SBATCH --open-mode=append
exec "\$LANGSPAN" batch questions.jsonl --shard auto --run night-1 \\
  --out "answers-\$SLURM_ARRAY_TASK_ID.jsonl" --resume -j 8
JOB
cat "$work/job/job.sh"
outs=()
for task in $(seq "$tasks"); do outs+=("answers-$task.jsonl"); done

# merge OUT OPTION...: joins the outputs of all tasks; leaves $code, stdout and stderr like `run`.
merge() {
  local out=$1
  shift
  code=0
  (cd "$work/job" && "${clean[@]}" "${settings[@]}" "$langspan" merge "${outs[@]}" --out "$out" "$@") \
    >"$work/stdout" 2>"$work/stderr" </dev/null || code=$?
  cat "$work/stderr"
}

written() { wc -l 2>/dev/null <"$work/job/answers-$1.jsonl" || echo 0; }

say "sbatch job.sh"
job="$(cd "$work/job" && "${clean[@]}" "${settings[@]}" sbatch --parsable job.sh)"
echo "job $job"
share=$((lines_total / tasks))
for _ in {1..1200}; do [[ $(written $victim) -ge $((share / 4)) ]] && break; sleep 0.1; done
squeue

say "scancel --signal=KILL --batch ${job}_$victim, after $(written $victim) of its $share lines"
scancel --signal=KILL --batch "${job}_$victim"
for _ in {1..300}; do
  state="$(scontrol show job "${job}_$victim" | grep -o 'JobState=[A-Z]*')"
  [[ $state != JobState=RUNNING && $state != JobState=COMPLETING ]] && break
  sleep 0.2
done
killed_at="$(written $victim)"
echo "$state with $killed_at lines"
about="the killed task"
verdict "it was in the middle of its lines" "$([[ $killed_at -gt 0 && $killed_at -lt $share ]] || echo "$killed_at of $share")"

about="merge while a task is missing"
merge some.jsonl
expect_code 8

say "scontrol requeue ${job}_$victim"
scontrol requeue "${job}_$victim"
for _ in {1..3000}; do [[ -z $(squeue -h) ]] && break; sleep 0.2; done
scontrol show job "$job" | grep -E 'ArrayTaskId|JobState|Restarts' | sed 's/^ *//'
(cd "$work/job" && wc -l "${outs[@]}")
about="the array"
verdict "all tasks completed" "$(scontrol show job "$job" | grep -o 'JobState=[A-Z]*' | grep -v COMPLETED || true)"
verdict "the killed task was started twice" "$(same 2 "$(grep -c '"started"' "$work/job/answers-$victim.jsonl.acks")")"

## The result

say "langspan merge answers-[0-9]*.jsonl --out answers.jsonl --verify --summary summary.json"
about="merge"
merge answers.jsonl --verify --summary summary.json
expect_code 0
expect_stderr "merged $lines_total lines of $tasks outputs"
expect_stderr "traces: $lines_total accepted, $lines_total readable"
verdict "each line once, in order" "$(ask tests/cluster.py lines "$work/job/answers.jsonl" "$lines_total")"
verdict "each trace once, in one session" "$(ask tests/cluster.py traces "$sandbox" "$lines_total" night-1)"

about="a lost line"
sed -i 7d "$work/job/answers-3.jsonl"
merge lost.jsonl
expect_code 8
expect_stderr "answers-3.jsonl lacks 1 line"

closing
