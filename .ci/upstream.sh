#!/usr/bin/env bash
# The smoke path on upstream's packages (mmengine, mmcv, mmsegmentation): train, resume, load, test, names.
#
#     .ci/upstream.sh [FOLDER]
#
# mmcv 2.1.0 is compiled once, an hour on a core that does other work too; FOLDER keeps it (work_dirs/upstream).
# Needs a C++ compiler. The last line says where the package was run from.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p "${1:-work_dirs/upstream}"
folder=$(realpath "${1:-work_dirs/upstream}")
bin=$folder/venv/bin
rm -rf "$folder/venv" "$folder/dist" "$folder/empty"
python3 -m venv "$folder/venv"
"$bin/pip" install --quiet torch==2.13.0

if ! compgen -G "$folder/mmcv-2.1.0-*.whl" >/dev/null; then
    "$bin/pip" install --quiet setuptools==69.5.1 wheel ninja psutil # newer ones lack what its setup.py imports
    MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-1}" nice "$bin/pip" wheel --quiet --no-build-isolation --no-deps \
        --wheel-dir "$folder" mmcv==2.1.0
fi
"$bin/pip" install --quiet "$folder"/mmcv-2.1.0-*.whl
"$bin/pip" wheel --quiet --no-deps --wheel-dir "$folder/dist" .
"$bin/pip" install --quiet "$(echo "$folder"/dist/mmseg_sr-*.whl)[openmmlab]"

mkdir "$folder/empty"
check=$PWD/.ci/installed.py
cd "$folder/empty"
"$bin/python" "$check"
