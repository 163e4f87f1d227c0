# The broker of tests/containers with its libraries inside: a cluster's nodes have no folder of this machine.
FROM heliotrope-test/kafka
COPY libs /opt/kafka/libs
