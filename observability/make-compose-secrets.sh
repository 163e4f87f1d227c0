#!/bin/sh
# Random secrets for docker-compose.yml, one file each in secrets/. A file that exists is kept.
# The folder is closed; the files are readable, since containers read them as another user.
set -eu
cd "$(dirname "$0")/.."
mkdir -p -m 700 secrets
keep() { [ -e "secrets/$1" ] || { printf '%s' "$2" > "secrets/$1"; chmod 644 "secrets/$1"; }; }
random() { od -An -N"${1:-24}" -tx1 /dev/urandom | tr -d ' \n'; }
for name in postgres_password objects_password grafana_password \
    mlflow_session_key heliotrope_user_hash_secret heliotrope_feedback_token_secret heliotrope_deployer_audit_key; do
    keep "$name" "$(random)"
done
keep objects_credentials "$(printf '[default]\naws_access_key_id = heliotrope\naws_secret_access_key = %s\n' "$(cat secrets/objects_password)")"
# What `heliotrope keys rotate` keeps beside a secret in use: nothing yet.
keep heliotrope_user_hash_later_secrets ""
keep heliotrope_feedback_token_previous_secrets ""
keep heliotrope_gateway_internal_key "hk_$(random 6)_$(random 22 | cut -c1-43)"
keep heliotrope_database_url "postgresql+psycopg://heliotrope:$(cat secrets/postgres_password)@postgres:5432/heliotrope"
# Redis: ingest counts requests, the trainer's queues are the trainer's, the console keeps who is signed in; who has not logged in may ask for life and no more.
for user in ingest trainer console; do
    keep "redis_url_$user" "redis://$user:$(random)@redis:6379/0"
done
find_password() { sed 's|.*:\([0-9a-f]*\)@.*|\1|' "secrets/$1"; }
keep redis_users "user default on nopass -@all +ping
user ingest on >$(find_password redis_url_ingest) ~heliotrope:*rate:* -@all +@connection +incrby +expire
user console on >$(find_password redis_url_console) ~heliotrope:console:* -@all +@connection +get +set +del
user trainer on >$(find_password redis_url_trainer) ~_kombu* ~unacked* ~*training* ~*celery* &* +@all -@admin -@dangerous +info
"
# Kafka: a user for each service, whose rights `prepare` grants.
users=
for user in prepare ingest gateway curator trainer evaluator deployer; do
    keep "kafka_password_$user" "$(random)"
    users="$users user_$user=\"$(cat "secrets/kafka_password_$user")\""
done
keep kafka_users "org.apache.kafka.common.security.plain.PlainLoginModule required$users;"
# Ed25519 keys: the worker signs candidates, the deployer what is adopted; whoever loads a model holds the public halves.
# Without openssl they stay empty, and nothing is signed: `heliotrope keys draw` makes them elsewhere.
if [ ! -e secrets/heliotrope_manifest_public_keys ]; then
    public=
    for signer in trainer_manifest deployer_manifest deployer_routing deployer_assertion; do
        private= half=
        if openssl genpkey -algorithm ed25519 -outform DER -out secrets/.draft 2>/dev/null; then
            private=$(tail -c 32 secrets/.draft | base64)
            half=$(openssl pkey -inform DER -in secrets/.draft -pubout -outform DER | tail -c 32 | base64)
        fi
        rm -f secrets/.draft
        keep "heliotrope_${signer}_key" "$private"
        case $signer in
            *_manifest) public="$public${public:+,}$half" ;;
            *_assertion) keep heliotrope_assertion_public_keys "$half" ;;
            *) keep heliotrope_gateway_routing_public_keys "$half" ;;
        esac
    done
    keep heliotrope_manifest_public_keys "$public"
fi
# A Postgres role for each service, which `prepare` makes with these passwords.
passwords=
for role in ingest gateway curator monitor trainer evaluator deployer console mlflow; do
    database=heliotrope
    [ "$role" = mlflow ] && database=heliotrope_mlflow
    keep "database_url_$role" "postgresql+psycopg://heliotrope_$role:$(random)@postgres:5432/$database"
    password=$(find_password "database_url_$role")
    passwords="$passwords${passwords:+, }\"$role\": \"$password\""
done
printf '{%s}' "$passwords" > secrets/heliotrope_role_passwords
chmod 644 secrets/heliotrope_role_passwords
# MLflow's users: each service that writes to it, and `admin` for people.
passwords=
for user in trainer evaluator deployer admin; do
    keep "mlflow_password_$user" "$(random)"
    passwords="$passwords${passwords:+, }\"$user\": \"$(cat "secrets/mlflow_password_$user")\""
done
printf '{%s}' "$passwords" > secrets/mlflow_passwords
chmod 644 secrets/mlflow_passwords
