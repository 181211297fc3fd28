#!/usr/bin/env bash
# Step 2 of the suite: runs what is not done yet, each part with a limit of its own, and puts one JSON together.
#
#   run.sh                 on CUDA0
#   DEVICE=cpu run.sh      on the CPU
#   WORK=DIR OUT=FILE      where weights go (the 8B base: 16 GB) and where the result
#   PYTHON=python3         with torch, transformers, peft; without them that part says that it was left out
#   REPEAT=1               again, though it was done before
#   LIMIT=360              seconds for all of it
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/build}
device=${DEVICE:-CUDA0}
work=${WORK:-$here/work}
out=${OUT:-$here/result.json}
python=${PYTHON:-python3}
mkdir -p "$work/parts"
[ -z "${REPEAT:-}" ] || rm -f "$work"/parts/*
suite=$(find "$build" -maxdepth 2 -name gpu_suite -type f 2>/dev/null | head -1)
if [ -z "$suite" ]; then
  echo "run.sh: no gpu_suite in $build: run build.sh first" >&2
  exit 1
fi
failed=0
limit=${LIMIT:-360}

# part NAME SECONDS COMMAND...: its standard output is the part, and its end is said where it has none.
part() {
  local name=$1 most=$2 file=$work/parts/$1.json started=$SECONDS code
  shift 2
  [ "$most" -lt $((limit - SECONDS)) ] || most=$((limit - SECONDS))
  if [ -e "$file" ]; then
    echo "$name: done before"
    return
  fi
  code=124
  if [ "$most" -gt 0 ]; then
    timeout "$most" "$@" >"$file.new" 2>"$work/parts/$name.log"
    code=$?
  fi
  if [ $code = 0 ]; then
    mv "$file.new" "$file"
    echo "$name: $((SECONDS - started)) s"
  else
    failed=1
    echo "$name: failed with $code after $((SECONDS - started)) s; the end of $work/parts/$name.log:"
    tail -5 "$work/parts/$name.log"
    printf '{"failed": %d}' $code >"$work/parts/$name.failed"
  fi
}

part self-check 90 "$suite" "$here/prepared" "$work" "$device" self-check
part oracles 60 "$suite" "$here/prepared" "$work" "$device" oracles
part weights 120 "$suite" "$here/prepared" "$work" "$device" weights
part checkpoint 150 "$suite" "$here/prepared" "$work" "$device" checkpoint
if "$python" -c 'import torch, transformers, peft' 2>"$work/parts/python.log"; then
  part reference "${REFERENCE_SECONDS:-180}" "$python" "$here/gpu_reference.py" --prepared "$here/prepared" --work "$work" \
    --device "$([ "$device" = cpu ] && echo cpu || echo cuda)"
else
  printf '{"leftOut": "no torch, transformers and peft in %s"}' "$python" >"$work/parts/reference.failed"
  echo "reference: left out, $(tail -1 "$work/parts/python.log")"
fi

{
  printf '{"device": "%s", "when": "%s", "card": "%s"' "$device" "$(date -u +%FT%TZ)" \
    "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -1)"
  for name in self-check oracles weights checkpoint reference; do
    file=$work/parts/$name.json
    [ -e "$file" ] || file=$work/parts/$name.failed
    printf ',\n"%s": ' "$name"
    cat "$file"
  done
  printf '}\n'
} >"$out.new"
mv "$out.new" "$out"
echo "$out"
exit $failed
