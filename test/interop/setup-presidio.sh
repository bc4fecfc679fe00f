#!/usr/bin/env bash
# Sets up what `presidio.interop.ts` needs: Microsoft Presidio's analyzer and anonymizer from PyPI, in an environment of
# their own (about 700 MB). No language model is downloaded. Everything goes to .interop/, or to $SWITCHYARD_INTEROP_DIR.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${SWITCHYARD_INTEROP_DIR:-$here/../../.interop}"
mkdir -p "$cache"

command -v python3 > /dev/null || { echo "setup-presidio: \`python3\` is missing" >&2; exit 1; }
if [ ! -x "$cache/presidio/bin/python" ]; then python3 -m venv "$cache/presidio"; fi
"$cache/presidio/bin/pip" install --quiet "presidio-analyzer>=2.2.360,<3" "presidio-anonymizer>=2.2.360,<3"
echo "setup-presidio: done"
