#!/bin/bash
# The containers for real: build, run to the end twice, look at every wall between them, remove all.
# Needs a running Docker engine with Compose, and an otherwise idle machine: the second start is timed. Exit status 0 only if sums were secure and all models are the same bits.
set -euo pipefail
cd "$(dirname "$0")/../.."
export COMPOSE_PROJECT_NAME=consilium-e2e-$$ ROUNDS=4 PAGE_PORT=${PAGE_PORT:-18080}
OUT=$(mktemp -d)
SITES="north harbour valley"
say() { echo "[compose +${SECONDS}s] $*"; }
finish() {
  status=$?
  if [ "$status" != 0 ]; then docker compose logs --tail 40 2>&1 || true; fi
  docker compose down --volumes --timeout 5 >/dev/null 2>&1 || true
  rm -rf "$OUT"
  exit "$status"
}
trap finish EXIT

# The override files make sense to Compose, and give each hospital a GPU of its own; one is not needed for that.
docker compose -f docker-compose.yml -f compose.gpu.yml config --quiet
test "$(docker compose -f docker-compose.yml -f compose.gpu.yml config | grep -A1 device_ids | grep -o '"[0-9]"' | sort | tr -d '\n"')" = 012
mkdir "$OUT/site" "$OUT/tables"
export SITE_DIR=$OUT/site TABLES_DIR=$OUT/tables
docker compose -f compose.site.yml config --quiet
docker compose -f compose.site.yml -f compose.site.gpu.yml config | grep -q 'device_ids' # a site is run by test_hospital.py
say "the override files are whole"

docker compose build --quiet
say "built, $(docker image inspect consilium:local --format '{{.Size}}' | awk '{printf "%.2f GB", $1 / 1e9}')"
# Twice with one plan: the hospitals know the first run's sessions as ended, and allow the repetition (deploy/compose/setup.py).
RUNS=()
for number in 1 2; do
  started=$SECONDS
  docker compose up --no-color --exit-code-from run run
  took=$((SECONDS - started))
  RUN=$(docker compose logs --no-color --no-log-prefix run | sed -n 's|.*Model, report and result are in \(/[A-Za-z0-9/-]*\)\..*|\1|p' | tail -1)
  say "run $number ended after $took s: $RUN"
  RUNS+=("$RUN")
  for file in result.json model.safetensors report.html; do
    docker compose cp "superexec:$RUN/$file" "$OUT/$file" >/dev/null 2>&1
    test -s "$OUT/$file"
  done
  curl --silent --show-error --fail "http://127.0.0.1:$PAGE_PORT/" | cmp - "$OUT/report.html"
  if [ "$number" = 1 ]; then docker compose down --timeout 40; fi # the second one starts from nothing but the volumes
done
[ "$took" -le 90 ] || { echo "the second start and its run took $took s; 90 are allowed"; exit 1; }
health() { docker inspect --format '{{.State.Health.Status}}' "$(docker compose ps --quiet "$1")"; }
for service in superlink gateway superexec page site-north site-harbour site-valley; do
  for _ in $(seq 150); do [ "$(health "$service")" = healthy ] && break; sleep 1; done
  test "$(health "$service")" = healthy
done
say "every part says that it is healthy"
test "${RUNS[0]}" != "${RUNS[1]}"
test "$(curl --silent --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$PAGE_PORT/model.safetensors")" = 404
say "the page shows the last run's report, and nothing else of it"

# No root, nothing writable but volumes and /tmp, no capabilities; nothing but the page is published.
for container in $(docker compose ps --all --quiet); do
  docker inspect --format '{{.Name}} {{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} {{.HostConfig.Privileged}} {{.HostConfig.SecurityOpt}}' "$container"
done | tee "$OUT/inspected"
test "$(grep -c ' 10001:10001 true \[ALL\] \[\] false \[no-new-privileges:true\]$' "$OUT/inspected")" = "$(wc -l <"$OUT/inspected")"
say "every container is without root, capabilities and a writable system"

# Each machine has its own private keys, and nobody else's.
keys_of() { docker compose exec --no-TTY "$1" find "$2" -name '*.key' | sort | tr '\n' ' '; }
for site in $SITES; do
  test "$(keys_of "site-$site" /site)" = "/site/keys/at-rest.key /site/keys/signing.key /site/network/node.key /site/network/tls.key "
done
test "$(keys_of superexec /coordinator)" = "/coordinator/keys/coordinator.key "
test "$(keys_of superlink /link)" = "/link/keys/link.key "
test "$(keys_of gateway /gateway)" = "/gateway/keys/gateway.key "
say "keys are where they belong"

# From a hospital: the gateway's port and nothing else, tried for real.
reach() { docker compose exec --no-TTY "$1" python -c "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)" "$2" "$3" 2>/dev/null; }
reach site-north gateway 9443
for place in "superlink 9092" "superexec 9092" "site-harbour 9100" "site-valley 22" "page 8080" "1.1.1.1 443"; do
  # shellcheck disable=SC2086
  if reach site-north $place; then
    echo "site-north reaches $place"
    exit 1
  fi
done
docker compose cp tests/e2e/walls.py site-north:/site/walls.py >/dev/null 2>&1
docker compose exec --no-TTY site-north python /site/walls.py /site
say "a hospital reaches the gateway's ten paths and nothing else"

# Every hospital can say what left it and what that cost, and nothing in its ledger was changed.
at_site() { docker compose exec --no-TTY "site-$1" consilium site "${@:2}" /site; }
for site in $SITES; do
  at_site "$site" ledger | tee "$OUT/ledger"
  grep -q "no overall epsilon" "$OUT/ledger" # this plan has no noise
  at_site "$site" receipts verify
  at_site "$site" status
done
say "ledgers are whole"

COMPARE=$PWD/tests/e2e/compare.py
docker compose run --rm --no-deps --no-TTY --volume "$COMPARE:/compare.py:ro" run python /compare.py "${RUNS[@]}"

# A hospital that has put the brake on pauses the run, the coordinator is told a code, and it goes on afterwards.
at_site north pause
set +e
docker compose run --rm --no-deps --no-TTY run consilium server run /coordinator --out /coordinator/runs/braked --wait-s 5 >"$OUT/paused" 2>&1
status=$?
set -e
{ [ "$status" = 3 ] && grep -q "paused" "$OUT/paused"; } || { cat "$OUT/paused"; exit 1; }
at_site north resume
docker compose run --rm --no-deps --no-TTY run consilium server run /coordinator --out /coordinator/runs/braked
say "a paused hospital pauses the run, and it goes on"

# Who is not enrolled, not registered, revoked, certified by another authority or for a time that is over stays outside.
with_all_volumes() { docker compose run --rm --no-deps --no-TTY --volume "$PWD/tests/e2e/impostors.py:/impostors.py:ro" setup python /impostors.py "$@"; }
docker compose cp tests/e2e/impostors.py site-valley:/site/impostors.py >/dev/null 2>&1
at_valley() { docker compose exec --no-TTY site-valley python /site/impostors.py "$@"; }
with_all_volumes make /kits/valley/cases
at_valley try /site/cases
with_all_volumes revoke valley
at_valley outside /site
status=0
at_site valley status || status=$?
[ "$status" = 3 ] || { echo "status of a revoked hospital is $status, not 3"; exit 1; }
at_site north status
say "strangers, a revoked hospital, a wrong authority and an expired certificate stay outside"
say "done"
