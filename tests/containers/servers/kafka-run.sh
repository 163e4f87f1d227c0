#!/bin/sh
# Of the official image's start what docker-compose.yml uses: each KAFKA_SOME_NAME is the property some.name.
set -eu
env | sed -n 's/^KAFKA_//p' | while IFS='=' read -r name value; do
    printf '%s=%s\n' "$(echo "$name" | tr 'A-Z_' 'a-z.')" "$value"
done > /tmp/server.properties
run() { java -Xmx384m -cp '/opt/kafka/libs/*' "$@"; }
run kafka.tools.StorageTool format --ignore-formatted -t aGVsaW90cm9wZS10ZXN0cw -c /tmp/server.properties
exec java -Xmx384m -cp '/opt/kafka/libs/*' kafka.Kafka /tmp/server.properties
