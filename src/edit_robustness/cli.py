"""Kedro's commands, each ending in one or two lines where it fails; the traceback is in `logs/`."""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.framework.cli.cli import project_commands
from kedro.framework.cli.utils import KedroCliError, load_entry_points
from kedro.framework.project import LOGGING, pipelines
from kedro.framework.session import KedroSession

from edit_robustness.choices import SECTIONS
from edit_robustness.choices import describe as described_choices
from edit_robustness.configuration_files import wrong_file
from edit_robustness.errors import AGAIN, RunIncomplete, describe, is_expected, is_halfway
from edit_robustness.logs import LogFile, install
from edit_robustness.text.closest import did_you_mean

_STOPPED = 130
"""Exit status after Ctrl-C, as of every command of a shell."""

_NO_PIPELINE = re.compile(r"Failed to find the pipeline named '([^']+)'")
_NO_NODE = re.compile(r"Pipeline does not contain nodes named \['([^']+)'")

_PARENTHESES = re.compile(r"\([^()]*(?:\([^()]*\)[^()]*)*\)")
"""Parentheses of a formula, ``bs(margin, 3)``, also those with functions inside."""

_COMMA = "\ue000"
"""A character of no text that stands for a comma in parentheses while Kedro splits the parameters."""

_RUNNER = "edit_robustness.runner.SideBySideRunner"
"""The runner of `kedro run` without `--runner`; by its name, because its module imports torch."""

_BY_PATH = "ipython"
"""The command that starts what is first on PATH: another environment's program, if this one is not activated."""

_ELSEWHERE = "viz"
"""The command that reads the configuration in another process, whose errors would be tracebacks."""


class GuardedGroup(click.Group):
    """The project's commands, and those of Kedro and its plugins with their errors told in this project's way."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the project's own: Kedro lists the others already, under the names of those that they are from."""
        return sorted(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, guarded."""
        if cmd_name in self.commands:
            return guard(self.commands[cmd_name])
        for group in (*load_entry_points("project"), project_commands):
            command = group.get_command(ctx, cmd_name)
            if command is not None:
                return guard(command)
        return None


def guard(command: click.Command) -> click.Command:
    """Return a copy of a command whose errors, and those of its subcommands, end in one or two lines."""
    clone = copy.copy(command)
    if isinstance(command, click.Group):
        find = command.get_command

        def get_command(ctx: click.Context, name: str) -> click.Command | None:
            subcommand = find(ctx, name)
            return None if subcommand is None else guard(subcommand)

        vars(clone)["get_command"] = get_command
    else:
        clone.params = [_with_runner(_keeping_commas(option)) for option in command.params]
        vars(clone)["invoke"] = lambda ctx: _invoke(command.invoke, ctx)
        vars(clone)["make_context"] = lambda *words, **options: _context(clone, *words, **options)
    return clone


def _keeping_commas(option: click.Parameter) -> click.Parameter:
    """Return an option as it is; `--params` so that a comma in parentheses does not begin the next parameter."""
    split = option.callback
    if option.name != "params" or split is None:
        return option
    clone = copy.copy(option)

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if not isinstance(value, str):
            return split(ctx, param, value)
        return _with_commas(split(ctx, param, _PARENTHESES.sub(lambda match: match[0].replace(",", _COMMA), value)))

    clone.callback = callback
    return clone


def _with_runner(option: click.Parameter) -> click.Parameter:
    """Return an option as it is; `--runner` with the project's runner as its default."""
    if option.name != "runner" or option.default is not None:
        return option
    clone = copy.copy(option)
    clone.default = _RUNNER
    return clone


def _with_commas(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_commas(inner) for name, inner in value.items()}
    return value.replace(_COMMA, ",") if isinstance(value, str) else value


def _context(command: click.Command, *words: Any, **options: Any) -> click.Context:
    """Read the words of a command; tell of a list that is cut at its commas how to write it."""
    try:
        return type(command).make_context(command, *words, **options)
    except click.UsageError as error:
        if "`params` option" not in error.message:
            raise
        hint = "A comma begins the next parameter: separate the elements of a list by spaces."
        raise click.UsageError(f"{error.message} {hint}", error.ctx) from None


def _invoke(invoke: Callable[[click.Context], Any], ctx: click.Context) -> Any:
    """Call a command, and tell its error if there is one."""
    words = ctx.command_path.split()
    project = getattr(ctx.find_root().obj, "project_path", Path.cwd())
    log = LogFile(project)
    if _BY_PATH in words:
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        _log_as_configured(project)
        if _ELSEWHERE in words:
            settings = {"env": ctx.params.get("env"), "runtime_params": ctx.params.get("params")}
            KedroSession.create(**settings, save_on_close=False).load_context()
        if words[-1] == "run" and "viz" not in words:
            with log.capture():
                return invoke(ctx)
        return invoke(ctx)
    except KeyboardInterrupt as error:
        if words[-1] == "run":
            log.write_error(error, ctx.command_path)
        _tell(f"Stopped; {AGAIN}" if log.path else "Stopped")
        raise click.exceptions.Exit(_STOPPED) from None
    except RunIncomplete as error:
        _tell(describe(error))
        raise click.exceptions.Exit(1) from error
    except (click.exceptions.Exit, click.Abort):
        raise
    except BrokenPipeError as error:
        if words[-1] == "run":
            _tell_error(error, log, ctx.command_path, project)
        raise  # click ends quietly: the reader of a pipe, such as `head`, has all it needs
    except click.ClickException as error:
        if not isinstance(error, KedroCliError) or error.VERBOSE_ERROR:
            raise
        _tell_error(error, log, ctx.command_path, project)
        raise click.exceptions.Exit(1) from error
    except Exception as error:
        _tell_error(error, log, ctx.command_path, project)
        raise click.exceptions.Exit(1) from error
    finally:
        log.close()


def _tell_error(error: BaseException, log: LogFile, command: str, project: Path) -> None:
    """Write an error to stderr, and its traceback to the log file."""
    log.write_error(error, command)
    wrong = wrong_file(error, project)
    is_known = wrong is not None or is_expected(error)
    where = f"Traceback: {log.path}" if log.path else f"No traceback is kept: {log.problem}"
    with_file = " with that file" if log.path else ""
    report = "" if is_known else f"; this is a defect, please report it{with_file}"
    again = f"; then {AGAIN}" if is_halfway(error) and is_known else ""
    text = wrong or _with_names(describe(error))
    _tell(f"Error: {text}" if is_known else f"Unexpected error: {text}")
    _tell(where + report + again)


def _log_as_configured(project: Path) -> None:
    """Read `conf/logging.yml` of the project: Kedro looks for it in the folder where the command was given."""
    file = project / "conf" / "logging.yml"
    if project.resolve() != Path.cwd() and "KEDRO_LOGGING_CONFIG" not in os.environ and file.is_file():
        LOGGING.configure(yaml.safe_load(file.read_text(encoding="utf-8")))
        install()


def _with_names(text: str) -> str:
    """Return an error of Kedro's about a pipeline or a node that does not exist, with the closest that does."""
    if match := _NO_PIPELINE.match(text):
        return f"--pipeline: no pipeline `{match[1]}`; {did_you_mean(match[1], pipelines)}"
    if match := _NO_NODE.match(text):
        hint = did_you_mean(match[1], [node.name for name in pipelines for node in pipelines[name].nodes])
        listing = "`kedro registry describe edit_eval` lists those of a pipeline"
        return f"no node `{match[1]}` in this pipeline; {hint if hint.startswith('did you mean') else listing}"
    return text


def _tell(line: str) -> None:
    click.echo(line, err=True)


@click.group(name="kedro", cls=GuardedGroup, help="")
def cli() -> None:
    """Run the commands of this project."""


@cli.command("list")
@click.argument("names", nargs=-1, type=click.Choice(list(SECTIONS)), metavar="[SORT]...")
@click.pass_obj
def list_choices(metadata: Any, names: tuple[str, ...]) -> None:
    """List methods, kinds of prompt, tables of facts, benchmarks and models, one line each.

    Name a SORT to list it alone: methods, kinds, facts, benchmarks or models.
    """
    for line in described_choices(names, Path(getattr(metadata, "project_path", Path.cwd())) / "conf"):
        click.echo(line)


@cli.command("copy-run")
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--to", "target", metavar="ADDRESS", help="Copy the run there; by default the latest run.")
@click.option("--from", "source", metavar="ADDRESS", help="Copy the run that is there to the data folder.")
@click.option("--env", "-e", envvar="KEDRO_ENV", help="The environment, which decides the data folder.")
@click.option("--credentials", metavar="NAME", help="A name in conf/<env>/credentials.yml.")
@click.pass_obj
def copy_run(
    metadata: Any, run_id: str | None, target: str | None, source: str | None, env: str | None, credentials: str | None
) -> None:
    """Copy a RUN to an address (s3://..., a folder), or from there.

    The copy has what is needed to continue the run or to score it again. What is there already is not copied again.
    """
    from edit_robustness.copying import copy

    click.echo(copy(Path(getattr(metadata, "project_path", Path.cwd())), run_id, target, source, env, credentials))


for _plugin in load_entry_points("global"):
    # these come before the commands of a project (kedro-viz is one), so that they are guarded where they are
    _plugin.commands = {name: guard(command) for name, command in _plugin.commands.items()}
