#!/bin/sh
# serve-verified.sh NAME [VLLM'S ARGUMENTS]: starts vLLM, at each start only if the base model's files are those that
# were placed. HELIOTROPE_BASE_FILES is the folder that `heliotrope model place` filled, HELIOTROPE_BASE_SUMS what it
# printed: the SHA-256 of the folder's SHA256SUMS. Without the folder NAME is served as vLLM finds it, unverified.
set -eu
name=$1

refuse() {
    echo "$name is not served: $1" >&2
    exit 1
}

if [ -z "${HELIOTROPE_BASE_FILES:-}" ]; then
    echo "$name is served unverified: HELIOTROPE_BASE_FILES names no folder" >&2
    exec vllm serve "$@"
fi
cd "$HELIOTROPE_BASE_FILES" || refuse "there is no folder $HELIOTROPE_BASE_FILES"
printf '%s  SHA256SUMS\n' "${HELIOTROPE_BASE_SUMS:-}" | sha256sum --check --strict --status - 2>/dev/null ||
    refuse "its SHA256SUMS is not the one that HELIOTROPE_BASE_SUMS names"
sha256sum --check --strict --quiet SHA256SUMS >&2 || refuse "a file is missing or is not the one that was placed"
[ "$(find . ! -type d | wc -l)" -eq "$(($(wc -l <SHA256SUMS) + 1))" ] || refuse "there is a file that nobody placed"
[ -z "$(find . ! -type d ! -type f)" ] || refuse "there is something that is no file"
exec vllm serve "$HELIOTROPE_BASE_FILES" --served-model-name "$@"
