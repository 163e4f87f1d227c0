"""What is personal is told from what only looks like it, in texts with which nothing was tuned."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.unit.curator.redaction.personal_data_report as report
import tests.unit.curator.redaction.personal_data_tuning as tuning
from services.curator.evidence.adapters.redaction import Redaction, redact_text
from tests.unit.curator.redaction.personal_data_texts import LabelledText, judge, write_texts
from tests.unit.curator.redaction.personal_data_values import NBSP, ZERO_WIDTH

KINDS = ("secret", "email", "iban", "card", "ssn", "ip", "phone")
TEXTS = write_texts(report.TEMPLATES, report.POSITIVES, report.NEGATIVES, seed=11, rounds=10)


def find(text: str) -> list[tuple[int, int, str]]:
    return Redaction().find(text)


def test_the_labelled_texts_are_many_and_their_halves_share_no_sentence():
    score = judge(TEXTS, find)
    assert score.personal >= 300
    assert score.look_alikes >= 600
    assert not set(report.TEMPLATES) & set(tuning.TEMPLATES)


def test_precision_and_recall_are_high():
    score = judge(TEXTS, find)
    assert score.recall >= 0.95, score.missed[:5]
    assert score.precision >= 0.95, score.false[:5]


@pytest.mark.parametrize("kind", KINDS)
def test_recall_of_each_kind_is_high(kind: str):
    of_kind = [text for text in TEXTS if any(span[2] == kind for span in text.personal)]
    score = judge(of_kind, find)
    missed = sum(1 for missed in score.missed if missed[0] == kind)
    assert score.told[kind] / (score.told[kind] + missed) >= 0.9


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-15 10",
        "Order 2125551234 is late.",
        "git clone git@github.com:acme/lamp.git",
        "npm i pkg@20.1.0",
        "Mozilla/5.0 Chrome/112.0.5615.49 Safari/537.36",
        "Chrome/112.0.0.0",
        "https://cdn.jsdelivr.net/cdn/npm/@scope/pkg@1.2.3/dist/index.js",
        "Read registers 40001-40010 and 400101-400120.",
        "2024-01-15 10:30:00.123 INFO worker 1234567890 done",
        "Document 48293-22-1971 replaces 48293-22-1970.",
        "server 127.0.0.1 and 0.0.0.0 and ::1",
        "upgrade from version 1.20.3.1 to 1.20.3.2",
        "self.embed_tokens = Gemma2TextScaledWordEmbedding(config)",
        "W@x.to(device) + q@k.mT",
        "<Buffer 01 02 03 04 05 06>",
        "GPIO 02 03 04 17 27",
        "Foundation, Inc., 51 Franklin Street, Boston, MA 02110-1301 USA",
        "0031 2044 0034",
        "// 20.8.2.6 shared_ptr",
        "c.96-.82 1.52-.87 2.83-2.12 3.51.98.32 2.03.5 3.11.5",
        "password: str = getpass()",
        "password: process.env.DB_PASSWORD",
        "password: Settings.field_name1",
        "cache_key: 8f14e45fceea167a5a36dedd4bea2543",
    ],
)
def test_code_logs_and_numbers_stay_whole(text: str):
    assert redact_text(text, Counter()) == text


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"4111{NBSP}1111{NBSP}1111{NBSP}1111", "[CARD]"),
        ("4111.1111.1111.1111", "[CARD]"),
        (f"a.silva{ZERO_WIDTH}@exam{ZERO_WIDTH}ple.com!", "[EMAIL]!"),
        (f"+351{NBSP}912{NBSP}345{NBSP}678", "[PHONE]"),
        ("+49.30.1234567", "[PHONE]"),
        ("SSN 078-05-1120", "SSN [SSN]"),
        ("sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1vW4" * 3, "[SECRET]"),
        ("sk-ant-api03-" + "aB3dE6gH9jK2mN5pQ8sT1vW4" * 4, "[SECRET]"),
        ("AIzaSy" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3", "[SECRET]"),
        ("postgres://app:hunter2@db.example.com/x", "postgres://app:[SECRET]@db.example.com/x"),
        ("06.12.34.56.78", "[PHONE]"),
        ("Appelez 06-12-34-56-78 demain", "Appelez [PHONE] demain"),
        ("John@Example.Com", "[EMAIL]"),
        ("иван@почта.рф", "[EMAIL]"),
        ("AZURE_OPENAI_KEY=3f2504e04f8911d39a0c0305e82c3301", "AZURE_OPENAI_KEY=[SECRET]"),
        ("my api key is 3f2504e04f8911d39a0c0305e82c3301", "my api key is [SECRET]"),
        ("my password is Tr0ub4dor&3 thanks", "my password is [SECRET] thanks"),
        ('DB_PASSWORD="S3cr3t!pw"', 'DB_PASSWORD="[SECRET]"'),
        ("bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawX/getMe", "bot[SECRET]/getMe"),
        ("MT" + "k4N2YyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs", "[SECRET]"),
        ("我的电话是13812345678，邮箱是li@qq.com。", "我的电话是[PHONE]，邮箱是[EMAIL]。"),
    ],
)
def test_odd_spaces_hidden_characters_and_todays_keys_hide_nothing(text: str, redacted: str):
    assert redact_text(text, Counter()) == redacted


PIECES = sorted(
    {labelled.text[start:end] for labelled in TEXTS[:400] for start, end, _ in labelled.personal + labelled.look_alikes}
)
GLUE = st.text(alphabet=" .,:;-_@/+()[]=\n\u00a0\u200b0a中", max_size=4)


@given(st.lists(st.tuples(st.one_of(st.sampled_from(PIECES), st.text(max_size=12)), GLUE), max_size=6))
def test_redacting_again_changes_nothing(parts: list[tuple[str, str]]):
    once = redact_text("".join(piece + glue for piece, glue in parts), Counter())
    again: Counter[str] = Counter()
    assert redact_text(once, again) == once
    assert not again


@given(st.lists(st.tuples(st.sampled_from(PIECES), GLUE), max_size=6))
def test_spans_are_in_order_and_apart_and_all_else_stays(parts: list[tuple[str, str]]):
    text = "".join(piece + glue for piece, glue in parts)
    spans = find(text)
    edges = [edge for start, end, _ in spans for edge in (start, end)]
    assert edges == sorted(edges)
    assert all(start < end for start, end, _ in spans)
    counts: Counter[str] = Counter()
    redacted = redact_text(text, counts)
    assert all(redacted.count(f"[{kind.upper()}]") >= count for kind, count in counts.items())


def test_a_score_knows_misses_and_false_alarms():
    labelled = LabelledText("a b", personal=[(0, 1, "email")])
    score = judge([labelled], lambda _: [(2, 3, "ip")])
    assert (score.recall, score.precision) == (0.0, 0.0)
