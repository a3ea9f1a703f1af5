#!/bin/bash
# The containers for real: build, run to the end twice, compare with the same plan and hospitals in one process, remove all.
# Needs a running Docker engine with Compose. Exit status 0 only if sums were secure and all models are the same bits.
set -euo pipefail
cd "$(dirname "$0")/../.."
export COMPOSE_PROJECT_NAME=consilium-e2e-$$ ROUNDS=4
OUT=$(mktemp -d)
say() { echo "[compose +${SECONDS}s] $*"; }
finish() {
  status=$?
  if [ "$status" != 0 ]; then docker compose logs --tail 40 2>&1 || true; fi
  docker compose down --volumes --timeout 5 >/dev/null 2>&1 || true
  rm -rf "$OUT"
  exit "$status"
}
trap finish EXIT

docker compose build --quiet
say "built, $(docker image inspect consilium:local --format '{{.Size}}' | awk '{printf "%.2f GB", $1 / 1e9}')"
# Twice with one plan: the hospitals know the first run's sessions as ended, and allow the repetition (deploy/compose/setup.py).
RUNS=()
for number in 1 2; do
  docker compose up --no-color --exit-code-from run run
  RUN=$(docker compose logs --no-color --no-log-prefix run | sed -n 's|.* \(/runs/[0-9-]*\) of the volume.*|\1|p' | tail -1)
  say "run $number ended: $RUN"
  RUNS+=("$RUN")
  for file in result.json model.safetensors report.html; do
    docker compose cp "run:$RUN/$file" "$OUT/$file" >/dev/null 2>&1
    test -s "$OUT/$file"
  done
done
test "${RUNS[0]}" != "${RUNS[1]}"

# Each machine has its own private keys, and nobody else's.
keys_of() { docker compose run --rm --no-deps --no-TTY "$1" find "$2" -name '*.key' 2>/dev/null | sort | tr '\n' ' '; }
for site in north harbour valley; do
  test "$(keys_of "site-$site" /site)" = "/site/keys/at-rest.key /site/keys/signing.key /site/node.key "
done
test "$(keys_of superexec /coordinator)" = "/coordinator/coordinator.key "
test "$(keys_of superlink /link)" = "/link/server.key "
say "keys are where they belong"

# Every hospital can say what left it and what that cost, and nothing in its ledger was changed.
at_site() { docker compose exec --no-TTY "site-$1" consilium site "${@:2}" /site; }
for site in north harbour valley; do
  at_site "$site" ledger | tee "$OUT/ledger"
  grep -q "no overall epsilon" "$OUT/ledger" # this plan has no noise
  at_site "$site" receipts verify
done
say "ledgers are whole"

COMPARE=$PWD/tests/e2e/compare.py
docker compose run --rm --no-deps --no-TTY --volume "$COMPARE:/compare.py:ro" run python /compare.py "${RUNS[@]}"

# A hospital that has put the brake on stops the next run, and the coordinator is told a code.
at_site north pause
if docker compose up --no-color --exit-code-from run run >"$OUT/paused" 2>&1; then
  echo "a run ended well although a hospital was paused"
  exit 1
fi
grep -q ": paused)" "$OUT/paused" || { cat "$OUT/paused"; exit 1; }
at_site north resume
say "a paused hospital stops a run"
say "done"
