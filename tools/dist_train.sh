#!/usr/bin/env bash
# Train in several processes, one a GPU; without a GPU, on the CPU (gloo).
#
#     tools/dist_train.sh CONFIG GPUS [arguments of train.py]
#     NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh CONFIG GPUS
#
# GPUS counts the processes of each machine. PORT is a free one, or 29500 where there are several machines.
# SIGTERM saves, as with train.py; the exit status is then that of torch.distributed.run, 1. It waits 30 seconds.
#
# Where a process dies the others end within seconds, on other machines too, and its launcher names it; one that hangs
# is given up after env_cfg.dist_cfg.timeout seconds, 1800 by default. The same command with --resume goes on, also with
# another number of processes; with as many images in all (train_dataloader.batch_size is that of a process) the steps
# are the same ones then, but for rounding, random augmentation, dropout and batch norm without SyncBN.
#
# Between machines without GPUs set GLOO_SOCKET_IFNAME to the network interface that they share.
set -euo pipefail

if [[ $# -lt 2 || ! $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2

tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if [[ ${NNODES:-1} -eq 1 && -z ${PORT:-} ]]; then
    meeting=(--standalone)
else
    meeting=(--node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
fi

export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec python -m torch.distributed.run --nnodes="${NNODES:-1}" --nproc_per_node="$gpus" "${meeting[@]}" \
    "$tools/train.py" "$config" --launcher pytorch "$@"
