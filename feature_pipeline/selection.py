"""The checked rows in, a decision for each out: its split, or why it is dropped. What needs the whole corpus.

The rows' facts (no audio) lie in one SQLite file, so that memory does not grow with the corpus. Every choice comes
from a hash of seed and name, never from chance or order of arrival. Knows nothing of audio or Parquet shards.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from feature_pipeline.config import Config, LabelCheck
from feature_pipeline.names import over_frequent_names, words_of
from feature_pipeline.rows import SPLITS
from feature_pipeline.text import own_scripts, script_share, sentence_key, usual_scripts
from shared.errors import UserError
from shared.languages import language_name
from shared.tables import fold, read_file

WRONG_SCRIPT = "wrong script"
SAME_ID = "same id twice"
SAME_AUDIO = "same audio twice"
SAME_SENTENCE = "repeated sentence"
SAME_NAME = "over-frequent name"
SENTENCE_LEAK = "sentence also in {}"
SPEAKER_LEAK = "speaker also in {}"
OVER_WEIGHT = "over its share of the mix"
LABEL_CHECK = "label differs from a model's text"
PAIRS = (("test", "validation"), ("test", "train"), ("validation", "train"))  # the second of a pair gives way

FACTS = ("id", "source", "text", "language", "speaker", "split", "duration", "drop", "detail", "sample_hash",
         "sentence", "n_bytes", "n_bytes_source", "letters_per_second", "text_language", "scripts")
_TABLE = """
create table rows (n integer primary key, chunk int, position int, id text, source text, text text, language text,
  speaker text, official text, duration real, reason text, detail text, sample_hash text, sentence text, n_bytes int,
  n_bytes_source int, letters_per_second real, text_language text, scripts text, split text, pinned int default 0,
  wer real, cer real, mismatch real, hypothesis text, kept int default 0)
"""


@dataclass
class Selection:
    """The decided rows, and what was found on the way."""

    db: sqlite3.Connection
    leaks: list[dict[str, object]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def drop(self, reason: str, where: str, values: Sequence[object] = (), detail: str | None = None) -> int:
        """Drop those of the remaining rows for which `where`; gives how many."""
        done = self.db.execute(f"update rows set reason = ?, detail = ? where reason is null and ({where})",
                               (reason, detail, *values))
        return done.rowcount


def select(checked: Iterable[Path], database: Path, config: Config, verdicts: dict[str, tuple[str, str]]) -> Selection:
    """Decide on all rows of the checked chunks. `database` is made anew."""
    database.unlink(missing_ok=True)
    db = sqlite3.connect(database)
    # A killed build makes the file again, so it need not be safe on disk.
    db.executescript(f"pragma journal_mode=off; pragma synchronous=off; pragma cache_size=-32000; {_TABLE}")
    db.create_function("rank", 2, _rank, deterministic=True)
    db.create_function("share_in", 2, _share_in, deterministic=True)
    selection = Selection(db)
    _load(db, checked)
    _note_verdicts(selection, verdicts)
    _drop_other_scripts(selection, config)
    _pin(selection, config)
    _drop_duplicates(selection)
    _assign(selection, config)
    _drop_leaks(selection, config)
    _cap(selection, config)
    return selection


def finish(selection: Selection, config: Config) -> Selection:
    """The last decisions, taken after the label check: labels that differ from a model's text, and the mix."""
    if config.label_check is not None:
        _drop_wrong_labels(selection, config)
    _mix(selection, config)
    selection.db.commit()
    return selection


def _load(db: sqlite3.Connection, checked: Iterable[Path]) -> None:
    names = ", ".join({"split": "official", "drop": "reason"}.get(name, name) for name in FACTS)
    marks = ", ".join("?" * (len(FACTS) + 2))
    for chunk, path in enumerate(checked):
        columns = pq.read_table(path, columns=list(FACTS)).to_pydict()
        rows = zip(*(columns[name] for name in FACTS), strict=True)
        db.executemany(f"insert into rows (chunk, position, {names}) values ({marks})",
                       ((chunk, position, *row) for position, row in enumerate(rows)))
    db.execute("create index by_sentence on rows (sentence)")
    db.execute("create index by_hash on rows (sample_hash)")
    db.execute("create index by_id on rows (id)")


def _note_verdicts(selection: Selection, verdicts: dict[str, tuple[str, str]]) -> None:
    unknown = []
    for name, (verdict, _) in verdicts.items():
        done = selection.db.execute("update rows set kept = ? where id = ?", (verdict in ("keep", "text"), name))
        unknown += [name] if not done.rowcount else []
    if unknown:
        selection.warnings.append(f"{len(unknown)} verdicts are about rows that are not there, such as {unknown[0]}")


def _drop_other_scripts(selection: Selection, config: Config) -> None:
    """Rows in another script than their source's: by far most of its letters tell which that is, not the language."""
    db = selection.db
    for source, language in db.execute("select distinct source, text_language from rows order by 1, 2").fetchall():
        found: Counter[str] = Counter()
        of_source = "reason is null and source = ? and text_language = ?"
        for (scripts,) in db.execute(f"select scripts from rows where {of_source}", (source, language)):
            found.update(json.loads(scripts or "{}"))
        own, usual = own_scripts(found, language), usual_scripts(language)
        if found and usual and not set(own) & set(usual):
            selection.warnings.append(f"{source}: most letters are {_names(own)}, and {language_name(language)} is "
                                      f"written in {_names(usual)}: check the language and the column of the texts")
        expected = "/".join(own)
        db.execute(f"""update rows set reason = ?, detail = printf('%.0f %% of the letters are %s',
                           100 * share_in(scripts, ?), ?)
                       where {of_source} and share_in(scripts, ?) < ?""",
                   (WRONG_SCRIPT, expected, _names(own), source, language, expected, config.clean.min_script_share))


def _share_in(scripts: str | None, expected: str) -> float:
    return script_share(json.loads(scripts or "{}"), expected.split("/"))


def _names(scripts: Sequence[str]) -> str:
    return " or ".join(script.capitalize() for script in scripts)


def _pin(selection: Selection, config: Config) -> None:
    """Rows named as held out go to test whatever their corpus says, and all rows with the same samples."""
    db = selection.db
    languages = {language for (language,) in db.execute("select distinct language from rows")}
    for name, key in _held_out(config.split.held_out, languages):
        done = db.execute(f"update rows set pinned = 1 where {'id' if name == 'id' else 'sentence'} = ?", (key,))
        if not done.rowcount:
            selection.warnings.append(f"held out but not in the corpus: {key}")
    db.execute("update rows set pinned = 1 where sample_hash in (select sample_hash from rows where pinned)")


def _held_out(items: Sequence[str], languages: set[str]) -> Iterator[tuple[str, str]]:
    """("id", an id) or ("text", a sentence's key) of each row that is held out. Raises UserError."""
    for item in items:
        if not item.endswith(".csv"):
            yield "text", sentence_key(item)
            continue
        for row in read_file(Path(item)):
            columns = {fold(name): name for name in row.cells if fold(name) in ("id", "text")}
            if not columns:
                raise UserError("A file of held-out rows needs a column `text` or `id`", got=row.where,
                                hint=f"it has {', '.join(row.cells)}")
            if row.text("language") in ("", *languages):
                for kind, name in columns.items():
                    yield kind, sentence_key(row.text(name)) if kind == "text" else row.text(name)


def _drop_duplicates(selection: Selection) -> None:
    """Of rows with one id, or with the same samples, the one nearest to test stays."""
    order = "pinned desc, coalesce(case official when 'test' then 0 when 'validation' then 1 end, 2), n"
    for reason, column in ((SAME_ID, "id"), (SAME_AUDIO, "sample_hash")):
        selection.drop(reason, f"""n in (select n from (select n,
            row_number() over (partition by {column} order by {order}) as place
            from rows where reason is null and {column} is not null) where place > 1)""")


def _assign(selection: Selection, config: Config) -> None:
    """Give every remaining row its split: pinned, official, or carved out by speaker or sentence."""
    db, rules = selection.db, config.split
    db.execute("update rows set split = coalesce(official, 'train')")
    if rules.join_validation:
        db.execute("update rows set split = 'train' where split = 'validation'")
    db.execute("update rows set split = 'test' where pinned")
    for source in config.sources:
        has = {split for (split,) in db.execute("select distinct official from rows where source = ?", (source.name,))}
        group = _grouping(selection, source.name, rules.by)
        if "test" not in has:
            _carve(db, source.name, "test", rules.test, group, rules.seed)
        if "validation" not in has or rules.join_validation:
            _carve(db, source.name, "validation", rules.validation, group, rules.seed)


def _grouping(selection: Selection, source: str, by: Sequence[str]) -> str:
    """What is moved as one: a speaker where there are enough of them, else a sentence."""
    if "speaker" not in by:
        return "sentence"
    n_speakers, = selection.db.execute("select count(distinct speaker) from rows where source = ? and reason is null",
                                       (source,)).fetchone()
    if n_speakers >= 3:
        return "coalesce(speaker, sentence)"
    known = "no speaker is named" if n_speakers == 0 else f"{n_speakers} speaker{'s' * (n_speakers > 1)} only"
    selection.warnings.append(f"{source}: {known}, so the splits share voices and are kept apart by sentence")
    return "sentence"


def _carve(db: sqlite3.Connection, source: str, split: str, share: float, group: str, seed: int) -> None:
    """Move whole groups from train, in hashed order, until the split holds its share of the source's hours."""
    remaining = "source = ? and reason is null"
    total, = db.execute(f"select coalesce(sum(duration), 0) from rows where {remaining}", (source,)).fetchone()
    held, = db.execute(f"select coalesce(sum(duration), 0) from rows where {remaining} and split = ?",
                       (source, split)).fetchone()
    wanted = share * total
    groups = db.execute(f"""select {group} as name, sum(duration) from rows where {remaining} and split = 'train'
                            group by name order by rank(?, name), name""", (source, f"{seed}/{split}")).fetchall()
    chosen, spare = [], sorted(groups, key=lambda item: item[1])[:1]
    for name, seconds in groups:
        if held >= wanted:
            break
        if held + seconds <= wanted * 1.1:
            chosen.append(name)
            held += seconds
    if not chosen and held < wanted and len(groups) > 1:
        chosen = [name for name, _ in spare]
    db.execute("create temporary table if not exists chosen (name text primary key)")
    db.execute("delete from chosen")
    db.executemany("insert into chosen values (?)", [(name,) for name in chosen])
    db.execute(f"""update rows set split = ? where {remaining} and split = 'train'
                   and {group} in (select name from chosen)""", (split, source))


def _drop_leaks(selection: Selection, config: Config) -> None:
    """Count what stands on two sides; drop it from the side that learns, where that is wanted or the split is ours."""
    for first, second in PAIRS:
        if "sentence" in config.split.by:
            _leak(selection, config, "sentence", first, second)
        if "speaker" in config.split.by:
            for source in config.sources:
                if _grouping(Selection(selection.db), source.name, ("speaker",)) != "sentence":
                    _leak(selection, config, "speaker", first, second, source.name)


def _leak(selection: Selection, config: Config, kind: Literal["sentence", "speaker"], first: str, second: str,
          source: str | None = None) -> None:
    """Rows of the second split whose sentence or speaker is in the first too. source: only rows of this one."""
    of_source, values = ("", ()) if source is None else ("and source = ?", (source,))
    where = f"""split = ? {of_source} and {kind} in
        (select {kind} from rows where split = ? and reason is null {of_source})"""
    values = (second, *values, first, *values)
    count, official = selection.db.execute(
        f"select count(*), count(official) from rows where reason is null and {where}", values).fetchone()
    if not count:
        return
    dropped = config.split.drop_leaks or not official
    selection.leaks.append({"kind": kind, "between": f"{first} and {second}", "rows": count, "dropped": dropped})
    if dropped:
        selection.drop({"sentence": SENTENCE_LEAK, "speaker": SPEAKER_LEAK}[kind].format(first), where, values)


def _cap(selection: Selection, config: Config) -> None:
    """No sentence and no name may fill the training rows."""
    rules, seed = config.clean, f"{config.split.seed}/cap"
    if rules.max_same_sentence:
        selection.drop(SAME_SENTENCE, """n in (select n from (select n, row_number() over (partition by sentence
            order by rank(?, id), n) as place from rows where reason is null and split = 'train') where place > ?)""",
            (seed, rules.max_same_sentence))
    if not rules.max_same_name:
        return
    train = "select n, id, text from rows where reason is null and split = 'train' order by rank(?, id), n"
    names = over_frequent_names((text for _, _, text in selection.db.execute(train, (seed,))), rules)
    seen: Counter[str] = Counter()
    surplus = []
    for n, _, text in selection.db.execute(train, (seed,)) if names else ():
        held = names.intersection(words_of(text))
        seen.update(held)
        surplus += [(n, name) for name in held if seen[name] > rules.max_same_name][:1]
    for n, name in surplus:
        selection.drop(SAME_NAME, "n = ?", (n,), detail=name)


def _drop_wrong_labels(selection: Selection, config: Config) -> None:
    """Training rows only: a test without its hard clips would flatter."""
    rules = config.label_check or LabelCheck()
    remaining = "reason is null and split = 'train' and wer is not null and not kept"
    if rules.drop_wer_above is not None:
        selection.drop(LABEL_CHECK, f"{remaining} and wer > ?", (rules.drop_wer_above,))
    if rules.drop_worst:
        count, = selection.db.execute("select count(*) from rows where reason is null and split = 'train'").fetchone()
        selection.drop(LABEL_CHECK, f"n in (select n from rows where {remaining} order by mismatch desc, n limit ?)",
                       (round(count * rules.drop_worst),))


def _mix(selection: Selection, config: Config) -> None:
    """Bring the sources' training hours to the ratio of their weights by leaving rows out, never by repeating them."""
    weights = {source.name: source.weight for source in config.sources if source.weight is not None}
    hours = {name: selection.db.execute("select coalesce(sum(duration), 0) from rows where reason is null and "
                                        "split = 'train' and source = ?", (name,)).fetchone()[0] for name in weights}
    if any(weight <= 0 for weight in weights.values()):
        raise UserError("A source's weight must be above 0", got=weights, hint="leave the source out instead")
    unit = min((hours[name] / weights[name] for name in weights), default=0)
    for name, weight in weights.items():
        selection.drop(OVER_WEIGHT, """n in (select n from (select n,
            sum(duration) over (order by rank(?, id), n) as upto
            from rows where reason is null and split = 'train' and source = ?) where upto > ?)""",
            (f"{config.split.seed}/mix", name, unit * weight + 1e-6))


def _rank(seed: str, name: str | None) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()


def split_sizes(selection: Selection) -> dict[str, tuple[int, float]]:
    """Rows and hours of each split that has any."""
    found = {split: (count, seconds / 3600) for split, count, seconds in selection.db.execute(
        "select split, count(*), sum(duration) from rows where reason is null group by split")}
    return {split: found[split] for split in SPLITS if split in found}
