# Resolve pyproject.toml to exact versions with hashes, for every platform and any Python from 3.11 on.
set -euo pipefail
uv=$1

compile() {
    "$uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url "$@"
}

compile pyproject.toml -o requirements/run.txt
compile --group build -o requirements/build.txt
compile pyproject.toml --group dev -c requirements/run.txt -o requirements/dev.txt
