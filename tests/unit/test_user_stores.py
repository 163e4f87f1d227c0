"""The list of places that may hold a user is whole: whoever adds a table says there what an erasure does to it."""

import re

from shared.bus.access import list_raw_topics, plan_dead_letter_topics
from shared.tables import Base
from shared.user_stores import OTHERS, TABLES, WITHOUT_USERS, list_retained


def test_every_table_is_looked_at_or_said_to_hold_no_users():
    tables = {table.fullname for table in Base.metadata.tables.values()}
    mentioned = set(re.findall(r"\b\w+\.\w+\b", " ".join(store.place for store in OTHERS)))
    assert tables <= {store.table for store in TABLES} | mentioned
    assert {name for name in WITHOUT_USERS if name not in tables} == set()


def test_no_table_is_both_searched_and_said_to_hold_no_users():
    assert {store.table for store in TABLES} & set(WITHOUT_USERS) == set()


def test_a_table_without_users_has_no_column_for_them():
    for name in WITHOUT_USERS:
        columns = {column.name for column in Base.metadata.tables[name].columns}
        assert columns & {"user", "user_id", "messages", "answer", "chosen", "completion"} == set(), name


def test_raw_topics_are_those_with_words_and_their_dead_letters_under_their_prefix():
    topics = list_raw_topics("shop.")
    assert topics[:2] == ["shop.interaction.recorded", "shop.feedback.received"]
    letters = {name for name, source, _ in plan_dead_letter_topics("shop.") if source in topics}
    assert set(topics[2:]) == letters
    assert {f"Kafka: {topic}" for topic in topics} <= {store.place for store in list_retained(topics)}


def test_what_does_not_expire_by_itself_says_until_when_it_stays():
    assert all(store.how for store in list_retained([]))
    assert any(not store.expires for store in list_retained([]))
