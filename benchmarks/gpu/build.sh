#!/usr/bin/env bash
# Step 1 of the suite: compiles it with ggml's CUDA backend, for one architecture. A run that was cut off continues.
#
#   build.sh            CUDA, for the GPU that is there
#   ARCH=90 build.sh    CUDA, for that compute capability
#   CUDA=OFF build.sh   the CPU alone
#   JOBS=8 BUILD=DIR    how many compilers, and where to
#   LIMIT=300           seconds for all of it
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/build}
cuda=${CUDA:-ON}
started=$SECONDS

[ -e "$here/llama.cpp/include/llama.h" ] || tar xzf "$here/llama.cpp.tar.gz" -C "$here"

# Another compiler may warn of what ours does not.
flags=(-DCMAKE_BUILD_TYPE=Release -DTRAITSCOPE_WERROR=OFF "-DTRAITSCOPE_LLAMA_CPP=$here/llama.cpp" "-DTRAITSCOPE_CUDA=$cuda")
if [ "$cuda" = ON ]; then
  # A compiler that is installed is not always on the path.
  for folder in /usr/local/cuda/bin /opt/cuda/bin; do
    if ! command -v nvcc >/dev/null && [ -x "$folder/nvcc" ]; then PATH="$folder:$PATH"; fi
  done
  if ! command -v nvcc >/dev/null; then
    echo "build.sh: nvcc was not found: install the CUDA toolkit, or build with CUDA=OFF" >&2
    exit 1
  fi
  export CUDACXX=${CUDACXX:-$(command -v nvcc)}
  if [ -z "${ARCH:-}" ]; then
    ARCH=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d '. ' || true)
  fi
  # Machine code alone: nothing is left for the driver to compile at the first start.
  flags+=("-DCMAKE_CUDA_ARCHITECTURES=${ARCH:-90}-real" -DGGML_CUDA_NCCL=OFF)
  echo "nvcc $("$CUDACXX" --version | sed -n 's/.*release //p'), architecture ${ARCH:-90}"
fi
if command -v ninja >/dev/null; then flags+=(-G Ninja); fi

configure() { cmake -S "$here/source" -B "$build" "${flags[@]}" "$@" >"$build.configure.log" 2>&1; }
if [ ! -e "$build/configured" ]; then
  mkdir -p "$build"
  # Without the driver's library to link against, memory is taken in the older way.
  if ! configure; then
    rm -rf "$build" && mkdir -p "$build"
    if [ "$cuda" != ON ] || ! configure -DGGML_CUDA_NO_VMM=ON; then
      tail -40 "$build.configure.log" >&2
      exit 1
    fi
    echo "configured without virtual memory (the first attempt failed)"
  fi
  touch "$build/configured"
fi
if ! timeout "${LIMIT:-300}" cmake --build "$build" --target gpu_suite --parallel "${JOBS:-$(nproc)}" >"$build.log" 2>&1; then
  grep -nE 'error|Error|undefined' "$build.log" | head -40 >&2 || true
  tail -20 "$build.log" >&2
  exit 1
fi
echo "built $(find "$build" -maxdepth 2 -name gpu_suite -type f) in $((SECONDS - started)) s"
