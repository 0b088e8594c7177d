"""`all` of several refs: one plan, one progress view, and for each ref a report and a release of its own."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from imagebuild.cli import ending
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
from imagebuild.cli.showing import complaints, say, show_error

if TYPE_CHECKING:
    from imagebuild.session.batch import Batch, Ending, Prepared
    from imagebuild.session.build import Build, Order, Result
    from imagebuild.session.releases import Published, Wish

# what is said of one ref stands together
_saying = threading.Lock()


def build_several(orders: list["Order"], wish: "Wish", wanted: Wanted) -> None:
    """Build, test and release several refs. Raises typer.Exit: 1 before 3."""
    from imagebuild.session import batch

    prepared = batch.prepare_each(orders, say=complain if wanted.as_json else say)
    if wanted.plan:
        _show_plan(prepared, wanted)
        return
    for build in prepared.builds:
        for line in build.remarks:
            say(f"{build.ref}: {line}")
    _leave_out_what_is_not_new(prepared, wish)
    prepared.check()
    endings = [batch.Ending(ref=ref, error=error) for ref, error in prepared.failed.items()]
    if prepared.builds:
        joined = batch.join(prepared.builds, prepared.failed)
        joined.check()
        say_what_comes(joined.plan())
        endings = _run(joined, wish, wanted)
    for each in endings:
        _say_how_it_ended(each, wanted)
    code = batch.exit_code(endings)
    if code:
        raise typer.Exit(code)


def _show_plan(prepared: "Prepared", wanted: Wanted) -> None:
    """Print the plan of what could be prepared. Raises typer.Exit when something could not."""
    from imagebuild.session import batch

    remarks = tuple(f"{build.ref}: {line}" for build in prepared.builds for line in build.remarks)
    plan, places = [], {}
    if prepared.builds:
        joined = batch.join(prepared.builds)
        todo = [planned.step for planned in joined.planned if planned.todo]
        plan, places = joined.plan(), places_of(prepared.builds[0].order, todo, joined.store)
    show_plan(plan, remarks, places, as_json=wanted.as_json)
    for ref, error in prepared.failed.items():
        show_error(complaints, error, where=ref)
    if prepared.failed:
        raise typer.Exit(1)


def _leave_out_what_is_not_new(prepared: "Prepared", wish: "Wish") -> None:
    from imagebuild.session.releases import nothing_new

    for build in list(prepared.builds):
        done = nothing_new(build.config, build.ref, build.commit, wish)
        if done is not None:
            say(f"{build.ref}: {done}")
            prepared.builds.remove(build)


def _run(joined: "Batch", wish: "Wish", wanted: Wanted) -> list["Ending"]:
    from imagebuild.session.batch import place_of

    def conclude(build: "Build", result: "Result") -> "Published | None":
        place = place_of(wanted.reports, build.ref)
        write_result(place, result)
        with _saying:
            say(f"{build.ref}: everything has ended; report: {place / 'report.html'}")
            show_result(result)
        if result.failed or build.order.partial:
            return None
        published = build.release(result, wish)
        with _saying:
            say_released(published)
        return published

    with listening([planned.step.name for planned in joined.planned], wanted.events) as listener:
        return joined.run(listener, conclude, jobs=wanted.jobs, interrupted=ending.end_everything)


def _say_how_it_ended(ended: "Ending", wanted: Wanted) -> None:
    from imagebuild.session.batch import place_of

    if ended.error is not None:
        show_error(complaints, ended.error, where=ended.ref)
        return
    where: Path = place_of(wanted.reports, ended.ref) / "report.html"
    if ended.published is not None:
        say(f"{ended.ref}: released: {ended.published.place}")
    elif ended.exit_code == 0:
        say(f"{ended.ref}: report: {where}; a part of a release line is not released")
    else:
        how = "release criteria do not hold" if ended.exit_code == 3 else "failed"
        complain(f"imagebuild: {ended.ref}: {how}: {where}")
