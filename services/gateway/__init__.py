"""OpenAI-compatible proxy: picks champion or canary per user, records each interaction."""
