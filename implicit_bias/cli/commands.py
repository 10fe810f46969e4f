"""What each command does: settings in, a call of the library, words or JSON out.

The library is imported inside the functions, so that a command loads no more than it needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import implicit_bias
from implicit_bias.cli.shared import (
    Stopped,
    compilation_cache,
    layout,
    output,
    prepare_jax,
    print_json,
)
from implicit_bias.cli.terminal import Progress, Screen, duration
from implicit_bias.own_code import from_file
from implicit_bias.plugins import is_plugin
from implicit_bias.results.table import make_table, verdict_table

if TYPE_CHECKING:
    from implicit_bias.studies import Study, StudySettings
    from implicit_bias.studies.runner import Run

CLAIM = (
    "id",
    "kind",
    "verdict",
    "effect",
    "interval",
    "n_seeds",
    "criterion",
    "condition",
    "reason",
)
"""What ``--json`` tells of a claim."""


# Studies


def list_studies(asked: Namespace) -> None:
    """List the studies, or the settings and claims of one."""
    from implicit_bias import studies
    from implicit_bias.studies.config import sizes

    if asked.study is not None:
        _describe(asked)
        return
    listed: list[dict[str, Any]] = []
    for name in studies.names():
        study = studies.get(name)
        listed.append(
            {
                "name": name,
                "title": study.title,
                "scales": list(sizes(name)),
                "claims": len(study.claims),
            }
        )
    with output(asked) as screen:
        rows = [
            [entry["name"], entry["title"], ", ".join(entry["scales"]), entry["claims"]]
            for entry in listed
        ]
        screen.show(make_table(["study", "title", "sizes", "claims"], rows))
        screen.say("Settings and claims of one: implicit-bias list STUDY")
        print_json(asked, {"studies": listed})


def _describe(asked: Namespace) -> None:
    from implicit_bias import studies
    from implicit_bias.studies.config import settings_help, sizes

    with output(asked) as screen:
        study = studies.get(asked.study)
        settings = settings_help(study)
        scales = list(sizes(study.name)) if study.name in studies.names() else []
        screen.say(f"{study.name}: {study.title}\nSizes: {', '.join(scales) or 'none'}\n")
        rows = [
            [setting.key, json.dumps(setting.default), setting.allowed, setting.description]
            for setting in settings
        ]
        screen.show(make_table(["setting", "default", "allowed", "what"], rows, caption="Settings"))
        claims = [[claim.id, claim.kind, claim.sentence, claim.criterion] for claim in study.claims]
        screen.show(
            make_table(["claim", "kind", "what it says", "criterion"], claims, caption="Claims")
        )
        print_json(
            asked,
            {
                "study": study.name,
                "title": study.title,
                "scales": scales,
                "settings": [dataclasses.asdict(setting) for setting in settings],
                "claims": [
                    {"id": c.id, "kind": c.kind, "sentence": c.sentence, "criterion": c.criterion}
                    for c in study.claims
                ],
            },
        )


def plan(asked: Namespace) -> None:
    """Say what a run would do."""
    with output(asked) as screen:
        study, settings, scale = _config(asked)
        _start(screen, study, settings, scale)
        from implicit_bias.studies import runner

        made = runner.plan_study(study, settings, layout(asked))
        screen.say(made.describe())
        content = {"study": study.name, "scale": scale, "seconds": made.seconds}
        print_json(asked, {**content, "plan": made.to_json()})


def run(asked: Namespace) -> None:
    """Run a study."""
    began = time.monotonic()
    with output(asked) as screen:
        study, settings, scale = _config(asked)
        out = Path(asked.out) if asked.out is not None else _default(study, settings, asked.shard)
        _start(screen, study, settings, scale)
        from implicit_bias.studies import runner

        progress = None if asked.quiet else Progress(screen)
        try:
            done = runner.run(
                study,
                settings,
                out,
                scale=scale,
                how=layout(asked),
                shard=asked.shard,
                resume=asked.resume,
                reporter=progress,
            )
        except KeyboardInterrupt:
            raise Stopped(_how_to_go_on(asked, out)) from None
        finally:
            if progress is not None:
                progress.end(finished=False)
        if done.already_done:
            drawn = (
                ""
                if done.presented.anew
                else f", nor drawn (`implicit-bias report {shlex.quote(str(out))}` does)"
            )
            if done.presented.anew and is_plugin(study.origin) and not from_file(study.settings):
                drawn = (
                    "; lanes or measurements that changed in the study's module need another --out"
                )
            screen.say(
                f"{out} holds this run, finished; nothing is trained anew{drawn}; more --seeds extend it"
            )
        _finish(asked, screen, done, scale, time.monotonic() - began)


def merge(asked: Namespace) -> None:
    """Put the shards of one sweep together."""
    from implicit_bias.studies import finished

    began = time.monotonic()
    with output(asked) as screen:
        folders = [Path(folder) for folder in asked.directories]
        done = finished.merge(folders, Path(asked.out))
        _finish(asked, screen, done, _scale(folders), time.monotonic() - began)


def report(asked: Namespace) -> None:
    """Make verdicts, figures and report of a run anew."""
    from implicit_bias.studies import finished

    began = time.monotonic()
    with output(asked) as screen:
        done = finished.report(Path(asked.directory))
        _finish(asked, screen, done, _scale([done.out]), time.monotonic() - began)


def export(asked: Namespace) -> None:
    """Write a result as tables."""
    from implicit_bias.results import store

    folder = Path(asked.directory)
    result = store.load(folder)
    beside = folder if folder.is_dir() else folder.parent
    path = Path(asked.out) if asked.out is not None else beside / "lanes"
    path = path if path.suffix else path.with_name(f"{path.name}.{asked.format}")
    write = store.to_csv if asked.format == "csv" else store.to_parquet
    screen = Screen(sys.stdout)
    for file in write(result, path):
        screen.say(str(file))


def tune(asked: Namespace) -> None:
    """Measure how the lanes of a config run fastest here."""
    with output(asked) as screen:
        study, settings, scale = _config(asked)
        _start(screen, study, settings, scale)
        from implicit_bias.studies import runner
        from implicit_bias.training.tune import Row
        from implicit_bias.training.tune import tune as measure

        def on_row(row: Row) -> None:
            how = row.strategy + (f" of {row.tile}" if row.tile > 1 else "")
            line = f"batch {row.batch_size}, {row.lanes} lanes, {how}: {row.gflops:.3g} GFLOP/s"
            print(line, file=sys.stderr, flush=True)

        made = runner.plan_study(study, settings, layout(asked))
        rows = [dataclasses.asdict(row) for row in measure(made, on_row=on_row)]
        heads = [field.name for field in dataclasses.fields(Row)]
        table = make_table(
            [head.replace("_", " ") for head in heads],
            [[row[head] for head in heads] for row in rows],
            caption="Measured on this machine; use a row with --strategy and --tile",
        )
        screen.show(table)
        print_json(asked, {"study": study.name, "scale": scale, "rows": rows})


# Data


def data_list(asked: Namespace) -> None:
    """List the datasets."""
    from implicit_bias import data

    with output(asked) as screen:
        listings = data.available()
        rows = [
            [
                entry.name,
                entry.status,
                entry.task or None,
                entry.n_train,
                entry.n_test,
                " x ".join(map(str, entry.input_shape or ())) or None,
                entry.detail,
            ]
            for entry in listings
        ]
        heads = ["dataset", "status", "task", "training", "test", "shape", "how to get it"]
        screen.show(make_table(heads, rows))
        print_json(asked, {"datasets": [dataclasses.asdict(entry) for entry in listings]})


def data_prepare(asked: Namespace) -> None:
    """Bring a dataset into the cache."""
    from implicit_bias import data

    path = data.prepare(asked.dataset, asked.source, force=asked.force, as_name=asked.name)
    Screen(sys.stdout).say(f"{asked.name or asked.dataset} is prepared: {path}")


# What runs share


def _config(asked: Namespace) -> tuple[Study, StudySettings, str]:
    from implicit_bias.studies.config import load_config

    overrides = [*asked.overrides, *([f"seeds={asked.seeds}"] if asked.seeds is not None else [])]
    return load_config(asked.target, asked.scale, overrides)


def _start(screen: Screen, study: Study, settings: StudySettings, scale: str) -> None:
    """Prepare JAX, before the first array is made, and head what follows with what it is about."""
    from implicit_bias.studies.base import Trials

    devices = prepare_jax(settings, scale, compilation_cache(screen))
    seeds = f"{settings.seeds} seed" + ("s" if settings.seeds != 1 else "")
    # Trials choose their own precision: float32 is that of lanes.
    lanes = any(not isinstance(stage, Trials) for stage in study.wanted(settings))
    dtype = f"{settings.dtype}, " if lanes or settings.dtype == "float64" else ""
    screen.say_first(
        f"implicit-bias {implicit_bias.__version__}: {study.title} ({study.name}, {scale}); "
        f"{settings.data.name}, {seeds}, {dtype}{devices}"
    )


def _default(study: Study, settings: StudySettings, shard: tuple[int, int] | None) -> Path:
    from implicit_bias.studies.runner import default_folder

    return default_folder(study, settings, shard)


def _how_to_go_on(asked: Namespace, out: Path) -> str:
    if not (out / "run.json").exists():
        return "before anything was saved; run the same command again"
    again = [*asked.arguments, *([] if asked.resume else ["--resume"])]
    return (
        f"what was finished, and the last checkpoint, are saved in {out}; go on with "
        f"`implicit-bias {shlex.join(again)}`"
    )


def _scale(folders: Sequence[Path]) -> str:
    """Return the size of a finished run, as its record or that of its first shard says."""
    for folder in folders:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads((folder / "run.json").read_text())["scale"])
    return "custom"


def _finish(asked: Namespace, screen: Screen, done: Run, scale: str, seconds: float) -> None:
    """Show what came out: tables, verdicts, files; and the JSON."""
    from implicit_bias.results import claims
    from implicit_bias.studies.present import diverged_words

    presented = done.presented
    screen.say()
    for table in presented.tables:
        screen.show(table)
    caption = (
        "Verdicts. Intervals hold for all comparisons of the study at "
        "once; where one is decided, its interval ends at the smallest effect that matters."
    )
    screen.show(dataclasses.replace(verdict_table(presented.findings), caption=caption))
    for note in filter(None, (done.note, diverged_words(done.result))):
        screen.say(f"Note: {note}")
    files = [done.out / "results.nc", *presented.files]
    shown = [os.path.relpath(file, done.out) for file in files]
    screen.say(f"Left in {done.out}: {', '.join(shown)}")
    screen.say(f"Took {duration(seconds)}. Open {done.out / 'report.html'}")
    print_json(
        asked,
        {
            "study": str(done.result.attrs["study"]),
            "scale": scale,
            "out": str(done.out),
            "claims": [
                {name: entry[name] for name in CLAIM}
                for entry in claims.to_json(list(presented.findings))
            ],
        },
    )
