"""The worlds of `make bench-data`: each draws its own parameters from a seed."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.data.story import Story
from bench.data.texts import CHINESE, CODE, ENGLISH, Writer
from bench.noise.world import Item
from shared.events import IMPORT_KEY_ID

HELD_OUT = 2_000
ANSWER_WORDS = 24
OWN = 50_000
"""Numbers of prompts that only some people were asked."""
ADVERT = ["zeta", "moro", "plinx", "kavu", "seldo", "brint", "urma", "galt", "niro", "pexu", "toma", "vild", "rusk"]
FILLERS = [
    f"{one}{two}{end}"
    for one in ("ha", "ri", "so", "cu")
    for two in ("mel", "dor", "vix")
    for end in ("a", "o", "i", "u")
]


@dataclass(frozen=True)
class Shop:
    """What differs from seed to seed: the size of the shop, how often its users meet, how careful the good ones are."""

    users: int
    prompts: int
    shared: float
    overlap: int
    error: float
    hidden_worth: float

    @classmethod
    def draw(cls, rng: random.Random) -> "Shop":
        return cls(
            users=rng.randint(60, 180),
            prompts=rng.randint(450, 800),
            shared=rng.uniform(0.25, 0.6),
            overlap=rng.randint(2, 4),
            error=rng.uniform(0.0, 0.12),
            hidden_worth=rng.uniform(0.5, 3.0),
        )


def open_story(rng: random.Random, shop: Shop, vocabulary: Sequence[str] = ENGLISH, joint: str = " ") -> Story:
    words = ANSWER_WORDS if joint != "\n" else 12
    story = Story(rng, Writer(rng, vocabulary, joint, words, shop.hidden_worth))
    story.held_out = [story.writer.make_item(1_000_000 + number) for number in range(HELD_OUT)]
    return story


def list_users(shop: Shop) -> list[str]:
    return [f"user-{number:03d}" for number in range(shop.users)]


def cast_votes(
    story: Story,
    shop: Shop,
    users: Sequence[str],
    errors: Mapping[str, float],
    first: int = 0,
    count: int | None = None,
) -> list[Item]:
    """Let users drawn at random vote on `count` items; `errors` names unreliable ones, who are not honest."""
    items = [story.writer.make_item(first + number) for number in range(count or shop.prompts)]
    for item in items:
        voters = shop.overlap if story.rng.random() < shop.shared else 1
        for user in story.rng.sample(list(users), min(voters, len(users))):
            right = story.rng.random() >= errors.get(user, shop.error)
            story.vote(user, item, right=right, honest=user not in errors)
    return items


def tell_unreliable(seed: int, kinds: Mapping[float, tuple[float, float]], audited: float = 0.0) -> Story:
    """Tell of users who are wrong with a given probability: error -> the least and the greatest share of all users."""
    rng = random.Random(seed)
    shop = Shop.draw(rng)
    story, users = open_story(rng, shop), list_users(shop)
    story.audited = audited
    errors: dict[str, float] = {}
    for error, (least, greatest) in kinds.items():
        left = [user for user in users if user not in errors]
        errors |= dict.fromkeys(rng.sample(left, round(rng.uniform(least, greatest) * len(users))), error)
    cast_votes(story, shop, users, errors)
    return story


CARELESS = {0.5: (0.1, 0.5)}
CONTRARY = {0.8: (0.1, 0.4)}
MIXED = {0.8: (0.05, 0.2), 0.5: (0.1, 0.3)}


def collude(
    story: Story, shop: Shop, group: Sequence[str], votes: int, shared: Sequence[Item], overlap: float, *, honest: bool
) -> None:
    """Let a group vote as often as others do, `overlap` of it on prompts that others judged too.

    A dishonest group says the opposite of the truth; on its own prompts three of them judge each.
    """
    meeting, alone = round(overlap * votes), votes - round(overlap * votes)
    own = [story.writer.make_item(OWN + number) for number in range(max(len(group) * alone // 3, 1) if alone else 0)]
    for user in group:
        for item in story.rng.sample(list(shared), min(meeting, len(shared))) if meeting else []:
            say(story, shop, user, item, honest=honest)
    for item in own:
        for user in story.rng.sample(list(group), min(3, len(group))):
            say(story, shop, user, item, honest=honest)


def say(story: Story, shop: Shop, user: str, item: Item, *, honest: bool) -> None:
    right = story.rng.random() >= shop.error if honest else False
    story.vote(user, item, right=right, honest=honest, colludes=not honest)


def tell_colluding(seed: int, overlap: tuple[float, float], share: tuple[float, float] = (0.02, 0.35)) -> Story:
    """Tell of a group of a share of all users who agree on what is wrong."""
    rng = random.Random(seed)
    shop = Shop.draw(rng)
    story, users = open_story(rng, shop), list_users(shop)
    group = rng.sample(users, round(rng.uniform(*share) * len(users)))
    rest = [user for user in users if user not in set(group)]
    items = cast_votes(story, shop, rest, {})
    votes = max(round(shop.prompts * (1 + shop.shared * (shop.overlap - 1)) / len(rest)), 3)
    collude(story, shop, group, votes, items, rng.uniform(*overlap), honest=False)
    return story


def tell_apart(seed: int, share: float, *, honest: bool) -> Story:
    """Tell of a group on prompts of its own, in words of its own: nobody else can say whether it is right."""
    rng = random.Random(seed)
    shop = Shop.draw(rng)
    story, users = open_story(rng, shop, ENGLISH[: len(ENGLISH) // 2]), list_users(shop)
    group, rest = users[: round(share * len(users))], users[round(share * len(users)) :]
    cast_votes(story, shop, rest, {})
    votes = max(round(shop.prompts * (1 + shop.shared * (shop.overlap - 1)) / len(rest)), 3)
    known, story.writer = story.writer, Writer(rng, ENGLISH[len(ENGLISH) // 2 :], " ", ANSWER_WORDS, shop.hidden_worth)
    collude(story, shop, group, votes, [], 0.0, honest=honest)
    known.words |= story.writer.words
    known.vocabulary = ENGLISH
    story.writer = known
    return story


def tell_edits(story: Story, shop: Shop, users: Sequence[str], count: int) -> list[Item]:
    """Let users edit `count` answers, mostly for the better."""
    items = [story.writer.make_item(2 * OWN + number) for number in range(count)]
    for item in items:
        right = story.rng.random() >= shop.error
        story.edit(story.rng.choice(list(users)), item, story.writer.edit(item.worse, better=right), right=right)
    return items


def tell_pushed(seed: int, write: Callable[[Story, random.Random, Item], str], who: str) -> Story:
    """Tell of edits that push one text: by a brigade (`member`), by nobody known (`anonymous`), by `invented` users.

    They hold 2% to 40% of all edits; a brigade has 3 to 40 members.
    """
    rng = random.Random(seed)
    shop = Shop.draw(rng)
    story, users = open_story(rng, shop), list_users(shop)
    cast_votes(story, shop, users, {})
    count = rng.randint(150, 600)
    edits = tell_edits(story, shop, users, count)
    share, members = rng.uniform(0.02, 0.4), rng.randint(3, 40)
    for number in range(round(count * share / (1 - share))):
        user = {"member": f"member-{number % members}", "anonymous": None, "invented": f"invented-{number}"}[who]
        item = rng.choice(edits)
        text = write(story, rng, item)
        story.edit(user, item, text, right=False, honest=False, colludes=True)
    return story


def copy(story: Story, rng: random.Random, item: Item) -> str:
    return story.writer.compose([*story.writer.rank()[-8:], *ADVERT])


def paraphrase(story: Story, rng: random.Random, item: Item) -> str:
    """Write the advert's phrases in another order, with other fillers between them."""
    halves = [ADVERT[:7], ADVERT[7:]]
    rng.shuffle(halves)
    words = [*rng.sample(FILLERS, 4), *halves[0], *rng.sample(FILLERS, 3), *halves[1], *rng.sample(FILLERS, 4)]
    return story.writer.compose(words)


def put_fillers_between(story: Story, rng: random.Random, item: Item) -> str:
    """Write the advert's words with a filler after every second to fifth."""
    words: list[str] = []
    left = rng.randint(2, 5)
    for word in ADVERT:
        words.append(word)
        left -= 1
        if not left:
            words.append(rng.choice(FILLERS))
            left = rng.randint(2, 5)
    return story.writer.compose(words)


def tell_canned(seed: int, teams: tuple[int, int], members: tuple[int, int]) -> Story:
    """Tell of honest teams, each with an answer of its own to paste, beside 200 to 500 other users."""
    rng = random.Random(seed)
    shop = replace(Shop.draw(rng), users=rng.randint(200, 500))
    story, users = open_story(rng, shop), list_users(shop)
    cast_votes(story, shop, users, {})
    items = tell_edits(story, shop, users, shop.users)
    most = rng.randint(3, 8)
    for team in range(rng.randint(*teams)):
        canned = story.writer.compose(rng.sample(story.writer.rank()[:40], rng.randint(10, 24)))
        for member in range(rng.randint(*members)):
            for item in rng.sample(items, rng.randint(2, most)):
                story.edit(f"team-{team}-{member}", item, canned, right=True)
    return story


def tell_lazy(seed: int) -> Story:
    """Tell of a front end that names the winner first, whatever was shown first."""
    rng = random.Random(seed)
    shop = Shop.draw(rng)
    story, users = open_story(rng, shop), list_users(shop)
    story.winner_first = True
    errors = dict.fromkeys(rng.sample(users, round(rng.uniform(0.1, 0.4) * len(users))), 0.5)
    cast_votes(story, shop, users, errors)
    return story


def tell_script(seed: int, vocabulary: Sequence[str], joint: str) -> Story:
    """Tell of careless and contrary users who judge another script."""
    rng = random.Random(seed)
    shop = Shop.draw(rng)
    story, users = open_story(rng, shop, vocabulary, joint), list_users(shop)
    errors = dict.fromkeys(rng.sample(users, round(rng.uniform(0.1, 0.3) * len(users))), rng.choice([0.5, 0.8]))
    cast_votes(story, shop, users, errors)
    return story


def tell_import(seed: int) -> Story:
    """Tell of rows from a file: few annotators, many rows each, one time."""
    rng = random.Random(seed)
    shop = Shop.draw(rng)
    story, users = open_story(rng, shop), [f"annotator-{number}" for number in range(rng.randint(5, 12))]
    story.key_id = IMPORT_KEY_ID
    cast_votes(story, shop, users, dict.fromkeys(rng.sample(users, 2), 0.5))
    return story


WORLDS: dict[str, Callable[[int], Story]] = {
    "careless": lambda seed: tell_unreliable(seed, CARELESS),
    "careless, audited": lambda seed: tell_unreliable(seed, CARELESS, 0.2),
    "contrary": lambda seed: tell_unreliable(seed, CONTRARY),
    "contrary, audited": lambda seed: tell_unreliable(seed, CONTRARY, 0.2),
    "mixed": lambda seed: tell_unreliable(seed, MIXED),
    "mixed, audited": lambda seed: tell_unreliable(seed, MIXED, 0.2),
    "colluding, meeting others": lambda seed: tell_colluding(seed, (0.15, 1.0)),
    "colluding, prompts of their own": lambda seed: tell_colluding(seed, (0.0, 0.0)),
    "brigade, copies": lambda seed: tell_pushed(seed, copy, "member"),
    "brigade, paraphrases": lambda seed: tell_pushed(seed, paraphrase, "member"),
    "canned honest teams": lambda seed: tell_canned(seed, (20, 60), (3, 8)),
    "winner always first": tell_lazy,
    "anonymous flood": lambda seed: tell_pushed(seed, copy, "anonymous"),
    "invented users": lambda seed: tell_pushed(seed, put_fillers_between, "invented"),
    "Chinese": lambda seed: tell_script(seed, CHINESE, ""),
    "code": lambda seed: tell_script(seed, CODE, "\n"),
    "imports": tell_import,
}
