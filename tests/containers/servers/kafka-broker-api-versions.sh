#!/bin/sh
# Asks whether the broker listens, without the JVM that Kafka's own tool starts: two cores run everything here.
exec python3 -c 'import socket; socket.create_connection(("127.0.0.1", 9094), 5).close()'
