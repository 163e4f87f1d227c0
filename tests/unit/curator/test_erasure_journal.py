"""The journal of erased users, which outlives a restored database."""

from pathlib import Path

from services.curator.erasure.adapters import ErasureJournal, JournalEntry

INES, TOMAS, WANDA = (JournalEntry(f"{number:032x}", "admin") for number in range(3))


def test_a_user_is_entered_once_and_stays(tmp_path: Path) -> None:
    assert list(ErasureJournal(tmp_path / "datasets").read()) == []
    for entry in (INES, TOMAS, INES):
        ErasureJournal(tmp_path / "datasets").append(entry)
    assert list(ErasureJournal(tmp_path / "datasets").read()) == [INES, TOMAS]
    assert (tmp_path / "datasets" / "erasures.jsonl").stat().st_mode & 0o077 == 0


def test_a_line_that_a_crash_tore_takes_no_other_with_it(tmp_path: Path) -> None:
    journal = ErasureJournal(tmp_path)
    journal.append(INES)
    with journal.path.open("ab") as file:
        file.write(b'{"user": "00')
    journal.append(WANDA)
    assert list(journal.read()) == [INES, WANDA]
