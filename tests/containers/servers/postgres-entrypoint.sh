# Of the official image's entrypoint what docker-compose.yml uses: user, password file, database, and the init folder.
set -eu
data=/var/lib/postgresql/data
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
if [ ! -s "$data/PG_VERSION" ]; then
    chown postgres:postgres "$data"
    cp "$POSTGRES_PASSWORD_FILE" /tmp/password && chown postgres /tmp/password
    as_postgres initdb -D "$data" -U "$POSTGRES_USER" --auth-host=scram-sha-256 --auth-local=trust \
        --pwfile=/tmp/password -E UTF8 --locale=C
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    as_postgres pg_ctl -D "$data" -o "-c listen_addresses='' -k /tmp" -w start
    as_postgres createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        as_postgres psql -h /tmp -U "$POSTGRES_USER" -v ON_ERROR_STOP=1 -f "$script" "$POSTGRES_DB"
    done
    as_postgres pg_ctl -D "$data" -w stop
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres -D "$data" -c listen_addresses='*' -k /tmp
