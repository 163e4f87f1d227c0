"""The columns that Langfuse's own exports have; any other one in a table of its UI is a score's."""

from functools import lru_cache

OWN = frozenset({
    "id", "timestamp", "name", "userid", "sessionid", "release", "version", "environment", "tags", "public",
    "bookmarked", "latency", "totalcost", "htmlpath", "metadata", "input", "output", "scores", "observations",
    "comments", "createdat", "updatedat", "projectid", "externalid", "level", "statusmessage", "errorcount",
    "warningcount", "defaultcount", "debugcount", "levelcounts", "observationcount", "inputtokens", "outputtokens",
    "totaltokens", "prompttokens", "completiontokens", "usage", "usagedetails", "costdetails", "inputcost",
    "outputcost", "calculatedinputcost", "calculatedoutputcost", "calculatedtotalcost", "inputusage", "outputusage",
    "totalusage", "traceid", "type", "parentobservationid", "starttime", "endtime", "completionstarttime", "model",
    "modelid", "internalmodelid", "providedmodelname", "modelparameters", "promptid", "promptname", "promptversion",
    "prompt", "unit", "usageunit", "inputprice", "outputprice", "totalprice", "timetofirsttoken", "tokenspersecond",
    "traceusers", "traceuserid", "tracename", "tracetags", "tracetimestamp", "tracesessionid", "traceversion",
    "tracerelease", "traceenvironment", "usagepricingtierid", "usagepricingtiername", "pricingtiername",
    "isbookmarked", "ispublic", "isdeleted", "eventts", "observationid",
})  # fmt: skip
"""In small letters, without underscores: exports of the API, of blob storage and of the UI write them differently."""
CALLS = "tool"
"""Columns about the calls of tools begin so."""
MOST_NAMES = 10_000


@lru_cache(MOST_NAMES)
def is_own_column(name: str) -> bool:
    """Say whether Langfuse names a column so itself, and a user's score cannot be called so."""
    plain = name.replace("_", "").replace(" ", "").casefold()
    return plain in OWN or plain.startswith(CALLS)
