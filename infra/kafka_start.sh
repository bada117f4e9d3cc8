#!/bin/bash
# Starts the container's Kafka: formats its data once, with the two superusers, then becomes the broker.
set -euo pipefail
user() { echo "SCRAM-SHA-512=[name=$1,password=$(cat "/run/secrets/kafka_$1")]"; }
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id "$(cat /run/secrets/kafka_cluster_id)" \
  --config /run/secrets/kafka_properties --add-scram "$(user broker)" --add-scram "$(user setup)"
exec /opt/kafka/bin/kafka-server-start.sh /run/secrets/kafka_properties
