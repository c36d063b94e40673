"""`gramalign search`: the rows of a store, or of a saved index, that fit a query best."""

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gramalign.cli.console import console, stages_on
from gramalign.cli.evaluate import Part
from gramalign.cli.found import found, table
from gramalign.cli.kept_programs import keep_programs
from gramalign.cli.made_by import made_by, other_maker
from gramalign.cli.media import Words, by_name
from gramalign.cli.media_query import media_query
from gramalign.cli.queries import Queries, queries
from gramalign.cli.score_names import OneScore
from gramalign.cli.targets import check_file
from gramalign.counted import counted
from gramalign.data import FeatureStore
from gramalign.evaluation import FUSED
from gramalign.search import Index
from gramalign.search.entries import checked_ids
from gramalign.search.file import check_name
from gramalign.training import Run, embed_store, load_run
from gramalign.training.measure import own_score
from gramalign.training.run_data import data_of, part_of

_log = logging.getLogger(__name__)

_HITS = 10  # where no number is asked for
_OF_QUERIES = ("by", "against", "score", "k", "json")  # options that nothing else needs


@dataclass(frozen=True)
class Search:
    """Find the rows that best match a query, from any modalities to any others.

    Examples: `gramalign search runs/digits 17 --by sums`, `gramalign search runs/digits new.npz
    --against fourier gradients --score volume`; of a store that `gramalign features` made,
    `gramalign search runs/media --ask "caption=a dog in the snow" --encoders caption=clip/`.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    query: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[QUERY]")] = ""
    """Id of a row of the data, or path of a feature store whose rows are all queries; a path that
    looks like an id is written ./NAME. Left out where --ask is the query, or nothing is asked and
    --save-index alone is wanted."""
    ask: Words = ()
    """One query of texts, images, videos and sounds, as MODALITY=TEXT or MODALITY=FILE."""
    encoders: Words = ()
    """Folders of the encoders that made the store's features, as MODALITY=FOLDER, for --ask; of a
    tower that is a pretrained encoder, its own folder if not given."""
    by: tuple[str, ...] = ()
    """Modalities of the query; if not given, the first that a row has, or all of a store."""
    against: tuple[str, ...] = ()
    """Modalities to search; if not given, those the query does not use, or all if it uses all."""
    data: str | None = None
    """Feature store to search and take ids from; None: the one the run was trained on."""
    part: Part = "all"
    """Part of the store to search; the query's id may be of any row."""
    index: Path | None = None
    """Search this saved index instead of a store; ids are then of its rows, or of the store --data.
    Queries that the run must embed are refused if what they are compared with was embedded by other
    towers than the run's."""
    save_index: Path | None = None
    """Save what is searched as an index, a .safetensors file."""
    score: OneScore = None
    """Score to search by; None: the objective's own, or the cosine if that is fused."""
    k: int | None = None
    """How many rows to find; None: 10, or all if there are fewer."""
    json: bool = False
    """Print everything as JSON."""

    def run(self) -> None:
        """Search and print."""
        if self.index is not None and self.part != "all":
            raise ValueError(
                f"--part is {self.part}, but an index is searched as a whole: leave out --part or "
                "--index"
            )
        self._check_query()
        keep_programs()
        run = load_run(self.run_folder)
        if self.save_index is not None:
            check_name(self.save_index, "--save-index")
            check_file("--save-index", self.save_index, "search")
        labels: dict[str, int | str] = {}
        if self.index is not None:
            index = Index.load(self.index)
            source = index if self.data is None else data_of(run, self.data)
            self._check_wanted(index.modalities, len(index))
            try:
                asked = self._asked(run, source)
            except ValueError as error:
                if other := other_maker(index, self.index, run, index.modalities):
                    error.add_note(other)
                raise
            if other := other_maker(index, self.index, run, self._searched(index, asked)):
                if asked.new or self.data is not None:
                    raise ValueError(f"{other}. Distances between two spaces mean nothing")
                _log.warning("%s. Rows of the index are compared only with each other", other)
        else:
            source = data_of(run, self.data)
            # Refused before all is embedded.
            rows = part_of(source, self.part, "search another --part")
            self._check_wanted([m for m in rows.modalities if m in run.dims], len(rows))
            asked = self._asked(run, source) if self.query or self.ask else None
            with stages_on(console(stderr=True)) as say:
                say(f"embedding {counted(len(rows), 'row')}")
                index = _embedded(run, rows)
            if rows.labels is not None:
                labels = dict(zip(rows.ids.tolist(), rows.labels.tolist(), strict=True))
        if self.save_index is not None:
            index.save(self.save_index)
        written = f"wrote {self.save_index}: {counted(len(index), 'row')}"
        screen = console()
        if asked is None:
            screen.print(written, soft_wrap=True)
            return
        score = self.score or own_score(run.config)
        score = "cosine" if score == FUSED else score
        hits = index.search(
            asked.embeddings,
            min(_HITS, len(index)) if self.k is None else self.k,
            score=score,
            gallery=self.against or None,
            present={name: asked.present[name] for name in asked.embeddings},
        )
        own = not asked.new and (self.index is None or self.data is None)
        results = found(hits, index, asked, score, labels, own=own)
        if self.json:
            listed = json.dumps([dataclasses.asdict(one) for one in results], indent=2)
            screen.print(listed, soft_wrap=True)
            return
        against = " + ".join(self._searched(index, asked))
        for number, one in enumerate(results):
            screen.print("\n" * bool(number), end="")
            screen.print(table(one, against))
        if self.save_index is not None:
            screen.print(f"\n{written}", soft_wrap=True)

    def _check_query(self) -> None:
        if not self.query and not self.ask and self.save_index and self.index is None:
            given = (name for name in _OF_QUERIES if getattr(self, name))
            if name := next(given, None):
                raise ValueError(f"--{name} is for a query: leave it out, or give QUERY or --ask")
        elif bool(self.query) == bool(self.ask):
            got = "both" if self.query else "neither"
            raise ValueError(
                f"got {got} of QUERY and --ask, expected one: the id of a row, the path of a store "
                "of queries, or --ask MODALITY=TEXT; or none, to --save-index of a store"
            )
        if self.ask and self.by:
            raise ValueError(
                "--by chooses of what a row has, and --ask names its own: leave it out"
            )
        if self.encoders and not self.ask:
            raise ValueError("--encoders are for --ask: leave them out, or ask by --ask")

    def _check_wanted(self, modalities: Sequence[str], number: int) -> None:
        """Refuses what the rows that are searched do not have."""
        for name in self.against:
            if name not in modalities:
                raise ValueError(
                    f"--against is {name}, but what is searched has {', '.join(modalities)}"
                )
        if self.k is not None and not 1 <= self.k <= number:
            raise ValueError(
                f"--k is {self.k}, expected 1 to {number}, the number of rows that are searched"
            )

    def _asked(self, run: Run, source: FeatureStore | Index) -> Queries:
        if self.query:
            return queries(run, self.query, self.by, source)
        ask = by_name("--ask", self.ask, "MODALITY=TEXT or MODALITY=FILE")
        encoders = by_name("--encoders", self.encoders, "MODALITY=FOLDER")
        return media_query(run, ask, encoders, self.data or run.config.data)

    def _searched(self, index: Index, asked: Queries) -> tuple[str, ...]:
        """The modalities that queries are compared with."""
        rest = tuple(name for name in index.modalities if name not in asked.embeddings)
        return self.against or rest or index.modalities


def _embedded(run: Run, rows: FeatureStore) -> Index:
    ids = checked_ids(rows.ids, len(rows))  # before all is embedded
    embeddings = embed_store(run, rows)
    present = {name: rows.present[name] for name in embeddings}
    return Index(embeddings, present, ids, made_by=made_by(run))
