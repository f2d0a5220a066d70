#!/usr/bin/env bash
# Makes .venv and installs Weft there with the extra named as $1 ("train" or "dev"); `make` calls it when that is stale.
set -euo pipefail
cd "$(dirname "$0")/.."
extra=$1
python=${PYTHON:-python3}

command -v "$python" >/dev/null || {
  echo "weft: error: no '$python' here; install Python 3.10 or newer, or name one: make ... PYTHON=/path/to/python" >&2
  exit 2
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "weft: error: $("$python" --version) is too old: Weft needs 3.10 or newer; name one: make ... PYTHON=python3.12" >&2
  exit 2
}
if [ ! -x .venv/bin/python ]; then
  "$python" -m venv .venv || {
    echo "weft: error: '$python -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 2
  }
fi

echo "Installing Weft [$extra] and its libraries into .venv; torch alone is some hundred MB, so this takes minutes once."
start=$SECONDS
.venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[$extra]"
.venv/bin/python - "$((SECONDS - start))" <<'PY'
import sys
from importlib.metadata import version

print(f"Installed weft-lm {version('weft-lm')} with torch {version('torch')} in {sys.argv[1]} s.")
PY

touch .venv/.ready-train  # both extras hold what the demo needs
[ "$extra" = train ] || touch ".venv/.ready-$extra"
