# Sourced by system_00X.sh. It parses DATASET RUN [--smoke] [more arguments for the trainings], and
# defines two functions:
#
#   run SCRIPT ...      trains; with --smoke, one epoch at 32 px on 32 samples
#   score RUN KIND ...  evaluates the best weights of RUN as mask, depth or both

if [[ $# -lt 2 ]]; then
    echo "usage: $0 DATASET RUN [--smoke] [more arguments for the trainings]" >&2
    exit 2
fi
DATA=$1 RUN=$2
shift 2
SMOKE=()
if [[ ${1:-} == --smoke ]]; then
    SMOKE=(--img-sizes 32 --epochs 1 --batch-size 8 --limit-samples 32)
    shift
fi
MORE=("$@")
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-python}

run() {
    "$PYTHON" "$HERE/$1" --data "$DATA" "${@:2}" "${SMOKE[@]}" "${MORE[@]}"
}

score() {
    local run=$1 weights kind
    weights=$(find "$run" -maxdepth 2 -name best.safetensors | sort | tail -1) # a chain has several; use the last
    for kind in "${@:2}"; do
        "$PYTHON" "$HERE/evaluate_$kind.py" --data "$DATA" --checkpoint "$weights" \
            --output "$run/$kind.json" --grid "$run/$kind.png"
    done
}
