"""``lstmcast config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import Json, Quiet, emit, emit_json, emit_text, refuse_both, say_error, show, warn
from lstmcast.errors import ExitCode, LstmcastError, NotFoundError, UnwritableError

# written beside a copied config, which names it to editors
SCHEMA = "lstmcast.schema.json"

app = typer.Typer(help="Shipped configs, and checks of your own.", no_args_is_help=True)


@app.command("list")
def list_(json: Json = False, quiet: Quiet = False) -> None:
    """List the shipped configs."""
    refuse_both(json, quiet)
    from lstmcast.config import shipped
    from lstmcast.files import SCHEMA_VERSION

    if json:
        configs = [{"name": name, "summary": shipped.summary(name)} for name in shipped.names()]
        emit_json({"schema_version": SCHEMA_VERSION, "configs": configs})
    elif quiet:
        for name in shipped.names():
            emit(name)
    else:
        from lstmcast.reports import tables

        show(tables.listing(("config", "what it is"), ((name, shipped.summary(name)) for name in shipped.names())))


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(help="A shipped config's name, or a file.", autocompletion=complete.configs)],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", autocompletion=complete.overrides)
    ] = None,
) -> None:
    """Print a config as it is resolved, with every default."""
    from lstmcast.config.build import dump_config
    from lstmcast.config.load import load

    emit_text(dump_config(load(name, overrides or [])))


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="A shipped config's name.", autocompletion=complete.shipped_configs)],
    file: Annotated[Path, typer.Argument(help="The new file; an existing one is left alone.")],
) -> None:
    """Copy a shipped config, with its comments, its data and a schema for editors, to a file of your own."""
    from lstmcast.config import shipped
    from lstmcast.config.load import load
    from lstmcast.files import write

    if name not in shipped.names():
        raise NotFoundError(f"no shipped config {name!r}", f"there are {', '.join(shipped.names())}")
    data = getattr(load(name).generator, "path", None)
    copies = [(file, shipped.path(name))]
    if data:
        copies.append((file.parent / Path(data).name, Path(data)))
    copies = [(t, source) for t, source in copies if t == file or not _same(t, source)]
    for target, _ in copies:
        if target.exists():
            raise UnwritableError(f"{target}: is there already", "choose another name, or remove it")
    if len({target for target, _ in copies} | {file.parent / SCHEMA}) <= len(copies):
        raise UnwritableError(f"{file}: is the name of what the config needs beside it", "choose another name")
    for target, source in copies:
        # https://github.com/redhat-developer/yaml-language-server#using-inlined-schema
        line = f"# yaml-language-server: $schema={SCHEMA}\n".encode() if target == file else b""
        write(target, line + source.read_bytes())
        emit(str(target))
    described, schema = file.parent / SCHEMA, _schema() + "\n"
    if not described.exists():
        write(described, schema)
        emit(str(described))
    elif described.read_text(encoding="utf-8", errors="replace") != schema:
        warn(f"{described} is of another version; renew it: lstmcast config schema > {described}")


def _same(target: Path, source: Path) -> bool:
    return target.is_file() and target.read_bytes() == source.read_bytes()


@app.command()
def validate(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Config files, or shipped names.", autocompletion=complete.configs),
    ],
) -> None:
    """Check configs, and the data that they name; report everything that is wrong."""
    from lstmcast.config.build import check_parts
    from lstmcast.config.load import load
    from lstmcast.forecasting.evaluate import HORIZONS

    failed: ExitCode | None = None
    for name in files:
        try:
            check_parts(load(name), future=max(HORIZONS))
        except LstmcastError as error:
            if len(files) == 1:
                raise
            failed = failed or error.exit_code
            say_error(error)
        else:
            emit(f"{name}: valid")
    if failed:
        raise typer.Exit(failed)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a config, for editors."""
    emit(_schema())


def _schema() -> str:
    from lstmcast.config.schema import Config
    from lstmcast.files import to_json

    return to_json(Config.model_json_schema() | {"$schema": "https://json-schema.org/draft/2020-12/schema"})
