#!/bin/bash
# The containers for real: build, run to the end, compare with the same plan and hospitals in one process, remove all.
# Needs a running Docker engine with Compose. Exit status 0 only if the run ended well and the two models agree.
set -euo pipefail
cd "$(dirname "$0")/../.."
export COMPOSE_PROJECT_NAME=consilium-e2e-$$
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
docker compose up --no-color --exit-code-from run run
say "run ended"
RUN=$(docker compose logs --no-color --no-log-prefix run | sed -n 's|.* \(/runs/[0-9-]*\) of the volume.*|\1|p')
for file in result.json model.safetensors report.html; do
  docker compose cp "run:$RUN/$file" "$OUT/$file" >/dev/null 2>&1
  test -s "$OUT/$file"
done
docker compose run --rm --no-deps --no-TTY --volume "$PWD/tests/e2e/compare.py:/compare.py:ro" run python /compare.py "$RUN"
say "done"
