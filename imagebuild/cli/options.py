"""Options that several commands take. Imports nothing that takes time: `imagebuild --help` reads it."""

from pathlib import Path
from typing import Annotated

import typer

from imagebuild.kinds import Firmware

DEFAULT_STORE = Path("build/store")
DEFAULT_OUTPUT = Path("build/release")

Ref = Annotated[
    str | None,
    typer.Option("--ref", help="ref to build; chooses the configuration when --config is not given"),
]
Config = Annotated[Path | None, typer.Option("--config", help="configuration of the release line (YAML)")]
Configs = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        help="configuration of a release line (YAML), once for each line; default: those of configs/",
    ),
]
NeededConfig = Annotated[Path, typer.Option("--config", help="configuration of the release line (YAML)")]
Store = Annotated[Path, typer.Option("--store", help="directory of finished artifacts and pulled commits")]
StoreRemote = Annotated[
    str | None,
    typer.Option(
        "--store-remote",
        envvar="IMAGEBUILD_STORE_REMOTE",
        metavar="URL",
        help="what several machines share of their stores: s3://BUCKET/PATH, or file:///DIRECTORY (mounted on"
        " each)",
    ),
]
Output = Annotated[Path, typer.Option("--output", help="directory of releases")]
Populate = Annotated[
    str | None, typer.Option("--populate", help="way to populate disks: offline, native or appliance")
]
Nightly = Annotated[
    bool, typer.Option("--nightly", help="a nightly compose; nothing is done when the ref has no new commit")
]
Force = Annotated[
    bool,
    typer.Option("--force", help="make a nightly without a new commit, or release the same again"),
]
Date = Annotated[
    str | None, typer.Option("--date", metavar="YYYYMMDD", help="day in the compose id; default: today (UTC)")
]
Respin = Annotated[int | None, typer.Option("--respin", min=0, help="respin number; default: the next one")]
To = Annotated[
    str | None, typer.Option("--to", help="destination; default: publish.destination of the configuration")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
OneFirmware = Annotated[Firmware, typer.Option("--firmware", help="firmware that boots it")]
Keys = Annotated[
    Path | None,
    typer.Option("--keys", metavar="DIR", help="a cluster's certificates; default: $IMAGEBUILD_CLUSTER_KEYS"),
]
Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="build on the workers of a cluster: tls://HEAD:8786"),
]
Vagrant = Annotated[
    bool, typer.Option("--vagrant", help="log in with Vagrant's well-known key, not through cloud-init")
]
