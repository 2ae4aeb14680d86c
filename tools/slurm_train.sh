#!/usr/bin/env bash
# Train in a Slurm job, one process a GPU.
#
#     tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of train.py]
#     GPUS=8 GPUS_PER_NODE=4 SRUN_ARGS='--time=10:00:00' tools/slurm_train.sh PARTITION JOB_NAME CONFIG
#
# Environment: GPUS (4) in all, GPUS_PER_NODE (4), CPUS_PER_TASK (5), SRUN_ARGS (more arguments of srun).
# Before Slurm ends a job it sends SIGTERM: the training saves and exits with 143. For more time than the cluster's
# KillWait: SRUN_ARGS='--signal=TERM@120'. With --resume among the arguments a requeued job goes on where it was.
set -euo pipefail

if [[ $# -lt 3 ]]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of train.py]" >&2
    exit 2
fi
partition=$1
job_name=$2
shift 2

tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck disable=SC2086 # SRUN_ARGS is a list of words
exec srun -p "$partition" \
    --job-name="$job_name" \
    --gres=gpu:"${GPUS_PER_NODE:-4}" \
    --ntasks="${GPUS:-4}" \
    --ntasks-per-node="${GPUS_PER_NODE:-4}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    python -u "$tools/train.py" "$@" --launcher slurm
