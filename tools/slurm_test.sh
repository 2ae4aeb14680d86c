#!/usr/bin/env bash
# Evaluate in a Slurm job, one process a GPU.
#
#     tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]
#     GPUS=8 GPUS_PER_NODE=4 SRUN_ARGS='--time=10:00:00' tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT
#
# Environment: GPUS (4) in all, GPUS_PER_NODE (4), CPUS_PER_TASK (5), SRUN_ARGS (more arguments of srun).
set -euo pipefail

if [[ $# -lt 4 ]]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" >&2
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
    python -u "$tools/test.py" "$@" --launcher slurm
