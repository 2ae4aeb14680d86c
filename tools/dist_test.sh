#!/usr/bin/env bash
# Evaluate in several processes, one a GPU; without a GPU, on the CPU (gloo).
#
#     tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
#     NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_test.sh CONFIG CHECKPOINT GPUS
#
# GPUS counts the processes of each machine. PORT is a free one, or 29500 where there are several machines.
# The metrics are those of one process, whatever the number of images.
#
# Between machines without GPUs set GLOO_SOCKET_IFNAME to the network interface that they share.
set -euo pipefail

if [[ $# -lt 3 || ! $3 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of test.py]" >&2
    exit 2
fi
config=$1
checkpoint=$2
gpus=$3
shift 3

tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if [[ ${NNODES:-1} -eq 1 && -z ${PORT:-} ]]; then
    meeting=(--standalone)
else
    meeting=(--node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
fi

export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec python -m torch.distributed.run --nnodes="${NNODES:-1}" --nproc_per_node="$gpus" "${meeting[@]}" \
    "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
