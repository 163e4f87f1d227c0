"""Formats of keys and tokens, as their providers publish them (November 2026).

Each is found by the few characters that it begins with and matched from there, within a bound: a text's cost is linear
in its length whatever it holds. Sources: the providers' pages, GitHub's secret scanning list, gitleaks' and
detect-secrets' rules.
"""

import re
from collections.abc import Iterator

ALNUM = "[A-Za-z0-9]"
WORD = "[A-Za-z0-9_-]"
HEX = "[0-9a-f]"
BASE64 = "[A-Za-z0-9+/=]"
UUID = f"{HEX}{{8}}-(?:{HEX}{{4}}-){{3}}{HEX}{{12}}"

_FORMATS: dict[str, str] = {
    # model providers
    "sk-": rf"(?:proj-|svcacct-|admin-|None-|ant-(?:[a-z]{{3,6}}\d\d-)?|or-v1-|lf-|cp-)?{WORD}{{16,220}}+",
    "pk-lf-": UUID,
    "AIza": rf"{WORD}{{35}}",
    "AQ.": rf"{WORD}{{40,120}}+",
    "gsk_": rf"{ALNUM}{{40,60}}+",
    "xai-": rf"{ALNUM}{{60,100}}+",
    "pplx-": rf"{ALNUM}{{40,64}}+",
    "hf_": rf"{ALNUM}{{30,40}}+",
    "api_org_": rf"{ALNUM}{{30,40}}+",
    "r8_": rf"{ALNUM}{{30,44}}+",
    "nvapi-": rf"{WORD}{{60,80}}+",
    "tvly-": rf"(?:dev-|prod-)?{ALNUM}{{24,40}}+",
    "lsv2_": rf"(?:pt|sk)_{HEX}{{32}}_{HEX}{{8,12}}+",
    "pcsk_": rf"{WORD}{{40,90}}+",
    "csk-": rf"{ALNUM}{{40,60}}+",
    "fw_": rf"{ALNUM}{{22,32}}+",
    "jina_": rf"{WORD}{{40,80}}+",
    "wandb_v1_": rf"{WORD}{{40,120}}+",
    # clouds
    **dict.fromkeys(
        ("AKIA", "ASIA", "ABIA", "ACCA", "AGPA", "AIDA", "AROA", "AIPA", "ANPA", "ANVA"), r"[A-Z0-9]{16}(?![a-z])"
    ),
    "A3T": r"[A-Z0-9]{17}(?![a-z])",
    "ABSK": rf"{BASE64}{{100,160}}+",
    "GOCSPX-": rf"{WORD}{{28}}",
    "ya29.": rf"{WORD}{{20,500}}+",
    "1//0": rf"{WORD}{{30,110}}+",
    "AccountKey=": rf"{BASE64}{{80,96}}+",
    "SharedAccessKey=": rf"{BASE64}{{40,96}}+",
    "LTAI": rf"{ALNUM}{{12,26}}+",
    "AKID": rf"{ALNUM}{{32}}",
    **dict.fromkeys(("dop_v1_", "doo_v1_", "dor_v1_"), rf"{HEX}{{64}}"),
    "HRKU-": rf"{WORD}{{36,64}}+",
    "pscale_": rf"(?:tkn|pw|oauth)_{WORD}{{32,64}}+",
    "sbp_": rf"{HEX}{{40}}",
    "sb_secret_": rf"{WORD}{{22,60}}+",
    "fm2_": rf"{BASE64}{{40,400}}+",
    "dapi": rf"{HEX}{{32}}(?:-\d)?",
    "tskey-": rf"[a-z]{{3,10}}-{WORD}{{16,80}}+",
    "hvs.": rf"{WORD}{{20,200}}+",
    "hvb.": rf"{WORD}{{60,300}}+",
    "dp.": rf"(?:pt|st|ct|sa|scim|audit)\.{WORD}{{36,80}}+",
    # code and packages
    **dict.fromkeys(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), rf"{ALNUM}{{36,255}}+"),
    "github_pat_": r"\w{22,255}+",
    "glpat-": r"[A-Za-z0-9_.-]{20,80}+",
    **dict.fromkeys(
        ("gldt-", "glrt-", "glptt-", "glagent-", "glcbt-", "glimt-", "glsoat-", "glft-", "gloas-", "glffct-"),
        rf"{WORD}{{20,80}}+",
    ),
    "GR1348941": rf"{WORD}{{20,40}}+",
    "ATATT3": r"[A-Za-z0-9_=-]{60,260}+",
    "ATCTT3": r"[A-Za-z0-9_=-]{60,260}+",
    "npm_": rf"{ALNUM}{{36}}",
    "_authToken=": r"[^\s\"']{16,200}+",
    "pypi-AgE": rf"{WORD}{{50,255}}+",
    "rubygems_": rf"{HEX}{{48}}",
    "cio": rf"{ALNUM}{{32}}",
    "oy2": r"[a-z0-9]{43}",
    **dict.fromkeys(("dckr_pat_", "dckr_oat_"), rf"{WORD}{{24,64}}+"),
    "lin_api_": rf"{ALNUM}{{32,64}}+",
    "figd_": rf"{WORD}{{38,60}}+",
    "PMAK-": rf"{HEX}{{24}}-{HEX}{{34}}",
    "NRAK-": r"[A-Z0-9]{27}",
    "glsa_": rf"{ALNUM}{{32}}_[0-9a-fA-F]{{8}}",
    "glc_": rf"{BASE64}{{32,400}}+",
    "sntrys_": rf"{WORD}{{40,400}}+",
    "sntryu_": rf"{HEX}{{64}}",
    "phx_": rf"{ALNUM}{{40,60}}+",
    # messages, money, shops
    **dict.fromkeys(
        ("xoxb-", "xoxp-", "xoxa-", "xoxo-", "xoxr-", "xoxs-", "xoxc-", "xoxd-"), r"[A-Za-z0-9%-]{20,300}+"
    ),
    "xoxe": r"[.-][A-Za-z0-9.-]{20,300}+",
    "xapp-": rf"\d-{WORD}{{20,200}}+",
    "hooks.slack.com/": r"(?:services|workflows|triggers)/[A-Za-z0-9_/-]{20,120}+",
    "discord.com/api/webhooks/": rf"\d{{15,21}}/{WORD}{{50,80}}+",
    **dict.fromkeys(("sk_live_", "sk_test_", "rk_live_", "rk_test_"), rf"{ALNUM}{{16,247}}+"),
    "whsec_": rf"{BASE64}{{24,80}}+",
    "sk_": rf"{HEX}{{48}}",
    "SG.": rf"{WORD}{{16,32}}\.{WORD}{{16,64}}+",
    "key-": rf"{HEX}{{32}}",
    "xkeysib-": rf"{HEX}{{64}}-{ALNUM}{{16}}",
    "SK": rf"{HEX}{{32}}",
    "EAA": rf"{ALNUM}{{40,400}}+",
    "sq0": rf"(?:atp|csp|idp)-{WORD}{{22,50}}+",
    **dict.fromkeys(("shpat_", "shpca_", "shppa_", "shpss_"), r"[0-9a-fA-F]{32}"),
    "ntn_": rf"{ALNUM}{{40,60}}+",
    "secret_": rf"{ALNUM}{{43}}",
    "re_": rf"{ALNUM}{{6,12}}_{ALNUM}{{20,32}}+",
    "AGE-SECRET-KEY-1": r"[0-9A-Z]{58}",
    "hk_": rf"{HEX}{{12}}_{WORD}{{43}}",
    # a JSON Web Token, its signature perhaps missing
    "eyJ": r"[A-Za-z0-9_-]{8,8000}+\.[A-Za-z0-9_-]{8,100000}+(?:\.[A-Za-z0-9_-]{0,8000}+)?",
}
_MATCHERS = {prefix: re.compile(rest) for prefix, rest in _FORMATS.items()}

# longest first: `sk_live_` before `sk_`
_PREFIX = re.compile(
    r"(?<![A-Za-z0-9])(?:" + "|".join(map(re.escape, sorted(_FORMATS, key=lambda prefix: (-len(prefix), prefix)))) + ")"
)
_BEGIN = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----((?:[A-Za-z0-9+/=\s\\,:.\"']|-(?!----)){0,16000}+)"
    r"(-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_KEY_LINE = re.compile(r"[A-Za-z0-9+/]{40,}+={0,2}")
_PASSWORD_IN_URL = re.compile(r"://[^\s:/?#@\[\]{}<>$\"']{0,64}+:([^\s:/?#@\[\]{}<>$\"']{1,256}+)@")
_STAND_INS = frozenset({"", "pass", "passwd", "password", "pwd", "secret", "token", "x-oauth-basic"})
_ASSIGNED = re.compile(
    r"(?i:api[ _-]{0,2}key|secret|token|passwd|password|passphrase|access_?-?key|private_?-?key|credentials?"
    r"|authorization)[A-Za-z_]{0,16}[\"']?(?:\s{0,3}(?:[:=]|=>|:=)\s{0,3}|\sis\s)[\"']?(?:(?i:bearer|basic|token)\s{1,3})?"
    r"([A-Za-z0-9+/_.~=-]{16,512}+)(?!\()"
)

_KEYED = re.compile(
    r"(?<![A-Za-z0-9_-])([A-Za-z][A-Za-z0-9_-]{0,40}[_-](?i:key))[\"']?\s{0,3}(?:[:=]|=>|:=)\s{0,3}[\"']?"
    r"([A-Za-z0-9+/_~=-]{20,512}+)(?![(.])"
)
_NO_SECRETS = re.compile(
    r"primary|foreign|sort|cache|partition|object|public|idempotency|unique|hash|dict|lookup|session|content|group|row|map"
    r"|routing|storage|s3|message|state|site|index|dedup|item|file|query",
    re.IGNORECASE,
)
"""Before `key`: what is looked up by it."""
PASSWORD_WORDS = ("passw", "passphrase", "pwd", "kennwort", "contrase", "mot de passe", "пароль", "密码")
"""One of them stands, in whatever case, where a password is called one."""
_PASSWORD = re.compile(
    r"(?i:passwd|password|passphrase|passwort|kennwort|contrase[ñn]a|mot de passe|пароль|密码|(?<![A-Za-z])pwd)"
    r"[A-Za-z_]{0,8}[\"']?(?:\s{0,3}[:=：]\s{0,3}|\s{1,3}(?:is|ist|es|est)\s{1,3})[\"']?([^\s\"'<>{}()\[\]$;,\\]{8,64}+)(?!\()"
)
_ALONE = (
    re.compile(r"(?:(?<=bot)|(?<![0-9A-Za-z_]))[0-9]{8,10}:AA[A-Za-z0-9_-]{32,33}(?![A-Za-z0-9_-])"),  # Telegram's bots
    re.compile(r"(?<![\w.-])[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}(?![\w.-])"),  # Discord's
)


def find_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Yield spans of keys, tokens and private keys; some may overlap."""
    yield from _find_private_keys(text)
    yield from _find_keys(text)
    for match in _ASSIGNED.finditer(text):
        if is_random(match[1]) and not _is_name(match[1]):
            yield match.span(1)
    for match in _KEYED.finditer(text):
        if is_random(match[2]) and not _is_name(match[2]) and not _NO_SECRETS.search(match[1]):
            yield match.span(2)
    for pattern in _ALONE:
        yield from (match.span() for match in pattern.finditer(text))


def find_passwords(text: str) -> Iterator[tuple[int, int]]:
    """Yield spans of passwords in URLs, before the `@`."""
    for match in _PASSWORD_IN_URL.finditer(text):
        if match[1].lower().strip("*x") not in _STAND_INS:
            yield match.span(1)


def find_named_passwords(text: str) -> Iterator[tuple[int, int]]:
    """Yield spans of what is called a password and mixes three kinds of characters."""
    for match in _PASSWORD.finditer(text):
        if _count_kinds(match[1]) >= 3 and "://" not in match[1] and not _is_attribute(match[1]):
            yield match.span(1)


def _is_attribute(word: str) -> bool:
    return "." in word and all(map(str.isidentifier, word.split(".")))


def _count_kinds(word: str) -> int:
    """Of small and capital letters, digits and signs; names in code have two, and the sign `_` or `.`."""
    signs = any(not (character.isalnum() or character in "_.-") for character in word)
    return sum((word.lower() != word, word.upper() != word, any(map(str.isdigit, word)), signs))


def _find_private_keys(text: str) -> Iterator[tuple[int, int]]:
    """From a header to its end; of a key that was cut off, to its last whole line."""
    for match in _BEGIN.finditer(text):
        lines = [line.end() for line in _KEY_LINE.finditer(match[1])]
        if match[2] or lines:
            yield match.start(), match.end() if match[2] else match.start(1) + lines[-1]


def _find_keys(text: str) -> Iterator[tuple[int, int]]:
    for prefix in _PREFIX.finditer(text):
        start = prefix.start()
        if prefix[0] == "eyJ" and text[max(0, start - 1) : start] in {"-", "_"}:
            continue  # within a token: from each such place its rest would be read again
        found = _MATCHERS[prefix[0]].match(text, prefix.end())
        if found is not None and _is_whole(text, found.end()) and is_random(text[start : found.end()]):
            yield start, found.end()


def _is_whole(text: str, end: int) -> bool:
    """A longer word of letters and digits is none of the provider's keys."""
    return end == len(text) or not (text[end].isascii() and text[end].isalnum())


_RUN = re.compile(r"[A-Za-z0-9]{10,}+")


def is_random(text: str) -> bool:
    """Tell whether letters and digits mix within one run, as no word, slug or path has them; or a long run of mixed
    case.
    """
    return any(_is_mixed(run[0]) for run in _RUN.finditer(text))


def _is_mixed(run: str) -> bool:
    digits = sum(map(str.isdigit, run))
    if digits:
        return digits < len(run) and not _SLUG.fullmatch(run)
    return len(run) >= 20 and sum(map(str.isupper, run)) >= 4 and sum(map(str.islower, run)) >= 4


_SLUG = re.compile(r"[A-Za-z]?[a-z]{1,24}+[0-9]{1,4}")


def _is_name(value: str) -> bool:
    """A dotted path is where a secret is read from, a word without a digit a class, a UUID a record's name."""
    return ("." in value and not value.startswith("eyJ")) or value.isalpha() or re.fullmatch(UUID, value) is not None
