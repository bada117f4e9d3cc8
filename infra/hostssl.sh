#!/bin/bash
# Run once by the image when it makes the database: who comes over the network must speak TLS.
set -euo pipefail
sed -i 's/^host all all all /hostssl all all all /' "$PGDATA/pg_hba.conf"
grep -q '^hostssl all all all ' "$PGDATA/pg_hba.conf"
