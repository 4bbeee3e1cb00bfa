# What a build needs and cannot install by itself: one sentence for the first thing that is missing.
set -euo pipefail
python=$1

need() {
    command -v "$1" >/dev/null || { echo "make: $1 is missing; $2" >&2; exit 1; }
}

need cargo "install a Rust toolchain (1.89 or newer) with rustup, or by your distribution"
need cc "install a C compiler, on Debian: apt-get install build-essential"
need "$python" "install Python 3.11 or newer, on Debian: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "make: $("$python" --version) is too old; Python 3.11 or newer is needed (make PYTHON=...)" >&2; exit 1; }
