#!/bin/sh
# Makes the virtual environment DIRECTORY (kept if it is there) and installs the pinned torch in it,
# before anything else can pull in another build. A wheel that pip finds on this machine comes first
# (find-links); then, without an NVIDIA GPU, the CPU build; then whatever the default index has.
#
#   environment.sh DIRECTORY        PYTHON: the interpreter; TORCH_INDEX: the index of CPU builds
set -eu

directory=$1
constraints=$(dirname "$0")/../constraints.txt
torch_index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_supported "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 to 3.13 that runs."
        python=$PYTHON
        return
    fi
    for python in python3.11 python3.12 python3.13 python3; do
        if is_supported "$python"; then
            return
        fi
    done
    die "No Python 3.11 to 3.13 on PATH. Install one, or name it: make PYTHON=/path/to/python" \
        "  Debian, Ubuntu:  sudo apt-get install python3 python3-venv" \
        "  macOS:           brew install python@3.12"
}

make_environment() {
    find_python
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "Python $version cannot make virtual environments. Install the missing package:" \
            "  sudo apt-get install python$version-venv"
    "$python" -m venv "$directory"
}

is_reachable() {
    "$directory/bin/python" -c \
        'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=5)' "$1" 2>/dev/null
}

install() {
    "$directory/bin/python" -m pip install --constraint "$constraints" "$@"
}

has_gpu() {
    nvidia-smi --list-gpus 2>/dev/null | grep -q GPU
}

install_torch() {
    torch=$(grep '^torch==' "$constraints")
    quiet=--quiet
    if ! install --quiet --no-index --no-deps "$torch" 2>/dev/null; then
        if ! has_gpu && is_reachable "$torch_index/torch/"; then
            install --no-deps --index-url "$torch_index" "$torch"
        else
            quiet= # a long download
        fi
    fi
    install $quiet "$torch" # what it depends on, or all of it
}

if ! "$directory/bin/python" -m pip --version >/dev/null 2>&1; then
    make_environment
fi
install_torch
