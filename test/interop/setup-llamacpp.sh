#!/usr/bin/env bash
# Sets up what `npm run test:interop` needs: llama.cpp's own server, built from the sources that come with its Python
# package; a tiny model with random weights; and OpenAI's Python client. Some ten minutes on two cores.
#
# Needs python3 (3.10 or newer, with venv), cmake, a C++ compiler, and PyPI. Everything goes to .interop/, or to
# $SWITCHYARD_INTEROP_DIR; delete it to begin anew.
set -euo pipefail

PACKAGE_VERSION="${LLAMA_CPP_PYTHON_VERSION:-0.3.36}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${SWITCHYARD_INTEROP_DIR:-$here/../../.interop}"
mkdir -p "$cache"
cache="$(cd "$cache" && pwd)"

for tool in python3 cmake c++; do
  command -v "$tool" > /dev/null || { echo "setup-llamacpp: \`$tool\` is missing" >&2; exit 1; }
done

if [ ! -x "$cache/venv/bin/python" ]; then python3 -m venv "$cache/venv"; fi
"$cache/venv/bin/pip" install --quiet "gguf>=0.19,<1" "numpy>=1.26" "openai>=1.60"

if [ ! -x "$cache/llama-server" ] || [ "$(cat "$cache/version" 2> /dev/null)" != "llama-cpp-python $PACKAGE_VERSION" ]; then
  sources="$cache/sources"
  rm -rf "$sources" "$cache/build"
  mkdir -p "$sources"
  echo "setup-llamacpp: downloading llama-cpp-python $PACKAGE_VERSION"
  "$cache/venv/bin/pip" download --quiet --no-deps --no-binary llama-cpp-python --dest "$sources" "llama-cpp-python==$PACKAGE_VERSION"
  tar -xzf "$sources"/llama_cpp_python-*.tar.gz -C "$sources" --strip-components=1
  echo "setup-llamacpp: building llama-server"
  cmake -S "$sources/vendor/llama.cpp" -B "$cache/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF > "$cache/cmake.log" 2>&1 ||
    { tail -20 "$cache/cmake.log" >&2; exit 1; }
  cmake --build "$cache/build" --target llama-server --parallel "${INTEROP_JOBS:-2}" > "$cache/build.log" 2>&1 ||
    { tail -20 "$cache/build.log" >&2; exit 1; }
  cp "$cache/build/bin/llama-server" "$cache/llama-server"
  echo "llama-cpp-python $PACKAGE_VERSION" > "$cache/version"
  rm -rf "$sources" "$cache/build"
fi

"$cache/venv/bin/python" "$here/make_tiny_model.py" "$cache/tiny.gguf"
"$cache/llama-server" --version 2>&1 | head -1
echo "setup-llamacpp: ready in $cache; now: npm run test:interop"
