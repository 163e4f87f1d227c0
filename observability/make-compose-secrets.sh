#!/bin/sh
# Random secrets for docker-compose.yml, one file each in secrets/. A file that exists is kept.
# The folder is closed; the files are readable, since containers read them as another user.
set -eu
cd "$(dirname "$0")/.."
mkdir -p -m 700 secrets
keep() { [ -e "secrets/$1" ] || { printf '%s' "$2" > "secrets/$1"; chmod 644 "secrets/$1"; }; }
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
for name in postgres_password redis_password objects_password grafana_password \
    heliotrope_user_hash_secret heliotrope_feedback_token_secret heliotrope_deployer_audit_key; do
    keep "$name" "$(random)"
done
postgres=$(cat secrets/postgres_password)
keep heliotrope_database_url "postgresql+psycopg://heliotrope:$postgres@postgres:5432/heliotrope"
keep mlflow_database_url "postgresql+psycopg://heliotrope:$postgres@postgres:5432/heliotrope_mlflow"
keep heliotrope_redis_url "redis://:$(cat secrets/redis_password)@redis:6379/0"
