"""The commands that build: all, release, compose, kickstart, config."""

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagebuild.cli import ending, options
from imagebuild.cli.building import (
    Wanted,
    complain,
    listening,
    places_of,
    say_released,
    say_what_comes,
    show_plan,
    show_result,
    write_result,
)
from imagebuild.cli.showing import console, say
from imagebuild.errors import UsageError
from imagebuild.kinds import Firmware

if TYPE_CHECKING:
    from imagebuild.session.build import Build, Order
    from imagebuild.session.releases import Wish

Jobs = Annotated[
    int,
    typer.Option(
        "--jobs", min=1, help="steps at the same time, besides background steps; 1: one step at a time"
    ),
]
Plan = Annotated[bool, typer.Option("--plan", help="say what would be built, and why, and stop")]
Reports = Annotated[
    Path | None,
    typer.Option(
        "--reports",
        help=(
            "directory of verdict.json, junit.xml and report.html, of several refs one below it for each;"
            " default: --output"
        ),
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="build and test only this format (qcow2, iso, …); nothing is released"),
]
OnlyUnder = Annotated[
    Firmware | None, typer.Option("--firmware", help="test only under this firmware; nothing is released")
]
Events = Annotated[
    Path | None,
    typer.Option("--events", help="write the build's events to this file as JSON lines; -: standard output"),
]
Refs = Annotated[
    list[str] | None,
    typer.Option(
        "--ref",
        metavar="REF",
        help="ref to build, as often as there are; chooses the configuration when --config is not given",
    ),
]
Patterns = Annotated[
    list[str] | None,
    typer.Option(
        "--refs",
        metavar="PATTERN",
        help="also build all refs of the configurations that match, such as 'fedora/*/x86_64/*'; '*': all",
    ),
]


def build_all(
    ref: Refs = None,
    patterns: Patterns = None,
    config: options.Configs = None,
    store: options.Store = options.DEFAULT_STORE,
    store_remote: options.StoreRemote = None,
    output: options.Output = options.DEFAULT_OUTPUT,
    jobs: Jobs = max(2, os.cpu_count() or 2),
    populate: options.Populate = None,
    plan: Plan = False,
    nightly: options.Nightly = False,
    force: options.Force = False,
    date: options.Date = None,
    respin: options.Respin = None,
    reports: Reports = None,
    only: Only = None,
    firmware: OnlyUnder = None,
    events: Events = None,
    cluster: options.Cluster = None,
    keys: options.Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the plan as JSON (with --plan)")] = False,
) -> None:
    """Build and test everything of a ref, or of several, and release each."""
    from imagebuild.session.build import Order
    from imagebuild.session.clusters import ClusterOrder
    from imagebuild.session.releases import Wish

    if as_json and not plan:
        raise UsageError("--json is for --plan", hint="--events writes what a build does as JSON lines")
    wish = Wish(output=output, day=date, respin=respin, nightly=nightly, again=force)
    order = Order(
        ref=ref[0] if ref else None,
        config=config[0] if config else None,
        store=store,
        store_remote=store_remote,
        output=output,
        populate=populate,
        only=tuple(only or ()),
        firmware=firmware,
        cluster=ClusterOrder(address=cluster, keys=keys, say=complain) if cluster else None,
    )
    orders = _orders(order, ref or [], patterns or [], config or [])
    wanted = Wanted(jobs=jobs, reports=reports or output, events=events, plan=plan, as_json=as_json)
    if len(orders) > 1:
        from imagebuild.cli import several

        several.build_several(orders, wish, wanted)
    else:
        _build_one(orders[0], wish, wanted)


def _orders(order: "Order", refs: list[str], patterns: list[str], configs: list[Path]) -> list["Order"]:
    """Return an order for each ref that is asked for; the given one where it is of one ref at most."""
    from imagebuild.session import refs as which

    if not patterns and len(set(refs)) <= 1 and len(configs) <= 1:
        return [order]
    if not patterns and not refs:
        patterns = [which.EVERYTHING]
    chosen = which.choose(refs, patterns, configs, order.store)
    return [replace(order, ref=known.ref, config=known.config) for known in chosen]


def _build_one(order: "Order", wish: "Wish", wanted: Wanted) -> None:
    from imagebuild.session.build import prepare
    from imagebuild.session.releases import nothing_new

    build = prepare(order, say=say if not wanted.as_json else complain)
    if wanted.plan:
        todo = [planned.step for planned in build.planned if planned.todo]
        places = places_of(order, todo, build.store)
        show_plan(build.plan(), build.remarks, places, as_json=wanted.as_json)
        return
    for line in build.remarks:
        say(line)
    done = nothing_new(build.config, build.ref, build.commit, wish)
    if done is not None:
        say(done)
        return
    build.check()
    say_what_comes(build.plan())
    _run(build, wish, wanted)


def _run(build: "Build", wish: "Wish", wanted: Wanted) -> None:
    """Build, show, report, release. Raises typer.Exit with 1 (a step failed) or 3 (only criteria failed)."""
    with listening([planned.step.name for planned in build.planned], wanted.events) as listener:
        result = build.run(listener, jobs=wanted.jobs, interrupted=ending.end_everything)
    write_result(wanted.reports, result)
    show_result(result)
    if result.failed:
        raise typer.Exit(3 if result.only_criteria_failed else 1)
    if build.order.partial:
        say(f"report: {wanted.reports / 'report.html'}; a part of a release line is not released")
        return
    say_released(build.release(result, wish))


def release(
    ref: options.Ref = None,
    config: options.Config = None,
    store: options.Store = options.DEFAULT_STORE,
    store_remote: options.StoreRemote = None,
    output: options.Output = options.DEFAULT_OUTPUT,
    populate: options.Populate = None,
    nightly: options.Nightly = False,
    date: options.Date = None,
    respin: options.Respin = None,
) -> None:
    """Release what was built and tested before; nothing is built, and nothing untested is signed."""
    from imagebuild.session.build import Order, prepare
    from imagebuild.session.releases import Wish

    wish = Wish(output=output, day=date, respin=respin, nightly=nightly)
    order = Order(
        ref=ref, config=config, store=store, store_remote=store_remote, output=output, populate=populate
    )
    build = prepare(order, say=say)
    result, published = build.release_finished(wish)
    write_result(output, result)
    show_result(result)
    say_released(published)


def compose(
    ref: options.Ref = None,
    config: options.Config = None,
    store: options.Store = options.DEFAULT_STORE,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh", help="ask the package mirror again even if the cache is younger than a day"
        ),
    ] = False,
) -> None:
    """Make the next commit of a ref, if anything changed (lines without `compose` pull theirs)."""
    from imagebuild.session import lines

    settings, chosen = lines.load(ref, config, store)
    with console.status(f"composing {chosen}") as status:
        composed = lines.compose(
            settings,
            chosen,
            store,
            refresh=refresh,
            begins=lambda log: status.update(f"composing {chosen} (log: {log})"),
        )
    state = "new commit" if composed.new else "unchanged"
    say(f"{composed.ref}: {state} {composed.commit}, version {composed.version}")


def show_refs(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(help="only refs that match one of these, such as 'fedora/*/x86_64/*'; '*': all"),
    ] = None,
    config: options.Configs = None,
    store: options.Store = options.DEFAULT_STORE,
    as_json: options.AsJson = False,
) -> None:
    """List the refs that the configurations build: what `all --ref` and `all --refs` take.

    The kind of host is that of the tree, known as soon as a commit of it is on this machine.
    """
    from imagebuild.session.refs import known_refs, matches

    known = [
        each
        for each in known_refs(store, config or (), look=True)
        if not patterns or any(matches(each.ref, pattern) for pattern in patterns)
    ]
    if patterns and not known:
        raise UsageError(f"no ref matches {', '.join(patterns)}", hint="imagebuild refs lists all of them")
    if as_json:
        rows = [{**asdict(each), "config": str(each.config)} for each in known]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for each in known:
        say(f"{each.ref}: {each.config}, {each.arch}, {each.host_kind or 'kind of host not known yet'}")


def kickstart(
    variant: Annotated[str, typer.Option("--variant", help="cloud, vagrant or installer")] = "cloud",
    ref: options.Ref = None,
    config: options.Config = None,
    store: options.Store = options.DEFAULT_STORE,
) -> None:
    """Print the kickstart of a variant, with its values filled in."""
    from imagebuild.session import lines

    settings, chosen = lines.load(ref, config, store)
    sys.stdout.write(lines.kickstart_text(settings, chosen, variant))


def check_config(
    file: Annotated[Path | None, typer.Argument(help="configuration to check")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema of configurations")] = False,
    store: options.Store = options.DEFAULT_STORE,
) -> None:
    """Check a configuration, or print the schema that editors use."""
    from imagebuild.release_line import model, reading

    if schema:
        sys.stdout.write(model.schema())
    elif file is not None:
        settings = reading.load(file, store)
        say(f"{file}: no errors; it builds {', '.join(settings.refs)}")
    else:
        raise UsageError("there is nothing to check", hint="give a FILE, or --schema")
