# The servers and clients that tests use beside our own: installed where that is possible, else tests that need one
# are skipped and say so.
set -euo pipefail

declare -A packages=([nginx]=nginx-core [curl]=curl [wrk]=wrk [h2load]=nghttp2-client [openssl]=openssl [nats-server]=nats-server)
missing=()
for command in "${!packages[@]}"; do
    command -v "$command" >/dev/null || [ -x "/usr/sbin/$command" ] || missing+=("${packages[$command]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "make: tests that need these packages will be skipped: ${missing[*]}" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
