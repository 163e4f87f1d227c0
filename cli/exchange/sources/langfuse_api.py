"""Langfuse's public API: where its records are listed. Version 4 has no traces: the outermost observation is one."""

from cli.exchange.ports import Api, Listing

TIMES = ("fromTimestamp", "toTimestamp")

API = Api(
    user_variable="LANGFUSE_PUBLIC_KEY",
    secret_variable="LANGFUSE_SECRET_KEY",
    stages=(
        (
            Listing(
                "/api/public/v2/observations",
                {"fields": "core,basic,io,model", "limit": "50"},
                ("fromStartTime", "toStartTime"),
            ),
            Listing("/api/public/traces", {"orderBy": "timestamp.asc", "limit": "50"}, TIMES, "number"),
        ),
        (
            Listing("/api/public/v3/scores", {"fields": "details,subject,annotation", "limit": "100"}, TIMES),
            Listing("/api/public/v2/scores", {"limit": "100"}, TIMES, "number"),
        ),
        (Listing("/api/public/comments", {"limit": "100"}, None, "number"),),
    ),
)
