"""python -m tests.lab up | down | status | logs | images"""
from __future__ import annotations

import argparse
import re
import sys

from . import engine
from .images import Builder
from .instance import GIB, STATE, Instance, known, load
from .lab import ENGINE_LOG, Lab
from .progress import Progress
from .recipe import LabError
from .recipes import HOSTS, RECIPES


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 after a sentence on stderr."""
    options = _parser().parse_args(arguments)
    progress = Progress(quiet=getattr(options, "quiet", False))
    try:
        options.run(options, progress)
    except (LabError, RuntimeError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; the same command goes on where it stopped.", file=sys.stderr)
        return 130
    return 0


def _up(options: argparse.Namespace, progress: Progress) -> None:
    given = {name: getattr(options, name) for name in ("subnet", "hosts", "memory", "cpus", "suites")}
    instance = load(options.instance, **given)
    Lab(instance, progress).up(fresh=options.fresh)
    progress.say(f"lab {instance.name} is up: {progress.summary()}")
    progress.say(f"inventory: {instance.inventory}")


def _down(options: argparse.Namespace, progress: Progress) -> None:
    Lab(_existing(options.instance), progress).down(images=options.images)
    progress.say(f"lab {options.instance} is gone")


def _status(options: argparse.Namespace, progress: Progress) -> None:
    for name in [options.instance] if options.instance else known() or ["demo"]:
        rows = Lab(_existing(name), progress).status()
        print(f"{name}: {'nothing is there' if not rows else load(name).inventory}")
        _table([("part", "state", "address", "limits", "image"), *rows] if rows else [])


def _logs(options: argparse.Namespace, progress: Progress) -> None:
    lab = Lab(_existing(options.instance), progress)
    for part in options.part or [row[0] for row in lab.status()]:
        text = lab.logs(part, options.lines)
        print(f"--- {part}\n{text}", end="")


def _images(options: argparse.Namespace, progress: Progress) -> None:
    unknown = sorted(set(options.name) - set(RECIPES))
    if unknown:
        raise LabError(f"There is no image {', '.join(unknown)}: the lab has {', '.join(RECIPES)}.")
    client = engine.ensure_engine(ENGINE_LOG, progress.say)
    for tag in Builder(client, STATE, progress).ensure([RECIPES[name] for name in options.name or RECIPES]).values():
        print(tag)


def _existing(name: str) -> Instance:
    """The instance as it was made; for `down` and `status` any subnet will do when there is none."""
    return load(name) if name in known() or name in ("demo", "test") else load(name, subnet="127.0.0.0/24")


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _memory(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"(\d+(\.\d+)?[mg],?)+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size as 3g or 2500m, nor several with commas between")
    units = {"m": GIB >> 10, "g": GIB}
    return tuple(int(float(one[:-1]) * units[one[-1]]) for one in text.strip(",").split(","))


def _cpus(text: str) -> tuple[float, ...]:
    return tuple(float(one) for one in text.split(","))


def _suites(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = sorted(set(names) - set(HOSTS))
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: the lab has servers of {', '.join(HOSTS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="The hermetic lab: servers, registry and Hub in containers.")
    commands = parser.add_subparsers(required=True, metavar="command")
    up = _command(commands, "up", _up, "make and start what is missing; again: a few seconds")
    up.add_argument("--hosts", type=int, help="number of servers (2)")
    up.add_argument("--subnet", help="IPv4 subnet of the instance (demo and test have their own)")
    up.add_argument("--memory", type=_memory, help="memory of the servers in turn, as 3g or 3g,2500m (3g)")
    up.add_argument("--cpus", type=_cpus, help="CPU quota of the servers in turn, 0: none (0,1.5)")
    up.add_argument("--suites", type=_suites, help="Debian releases of the servers in turn (trixie,bookworm)")
    up.add_argument("--fresh", action="store_true", help="throw the servers away and make new ones")
    down = _command(commands, "down", _down, "remove the instance; images and the model stay")
    down.add_argument("--images", action="store_true", help="remove the lab's images too")
    status = _command(commands, "status", _status, "what is there (default: every instance)")
    status.set_defaults(instance="")
    logs = _command(commands, "logs", _logs, "last lines of a part's log (default: all parts)")
    logs.add_argument("part", nargs="*", help="registry, hub, lab1, ...")
    logs.add_argument("--lines", type=int, default=100, help="number of lines (100)")
    images = commands.add_parser("images", help="make images only, and print their tags")
    images.set_defaults(run=_images)
    images.add_argument("name", nargs="*", help=f"of {', '.join(RECIPES)} (all)")
    return parser


def _command(commands: argparse._SubParsersAction, name: str, run: object, text: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--instance", default="demo", help="name of the instance (demo)")
    parser.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
