"""The shuffle: what the map tasks left, by shard. Where shards are many, each lane is first taken apart by a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mayo_data import schema
from mayo_data.engine import Engine
from mayo_data.engine.exchange import Parcel, by_lane, regroup, width
from mayo_data.pipeline.report import Watcher
from mayo_data.pipeline.tasks import MapReceipt
from mayo_data.store import write

Batches = tuple[tuple[Path, list[int]], ...]  # files, and which of their batches


@dataclass(frozen=True)
class LaneTask:
    """Take one lane apart into its shards."""

    number: int
    exchange: Batches
    shards: int
    folder: Path


class LaneReceipt(msgspec.Struct, frozen=True):
    """What a finished task leaves: which shard lies where in the file of the lane."""

    number: int
    parcels: list[Parcel]


def split_lane(task: LaneTask) -> LaneReceipt:
    """Write the rows of one lane to a file of their own, by shard."""
    path = lane_of(task.folder, task.number)
    receipt = path.with_suffix(".json")
    if receipt.exists():
        return msgspec.json.decode(receipt.read_bytes(), type=LaneReceipt)
    done = LaneReceipt(task.number, regroup(task.exchange, path, schema.table("staged"), "subject_id", task.shards))
    write.write_bytes(msgspec.json.encode(done), receipt)
    return done


def lane_of(folder: Path, number: int) -> Path:
    """Return the file to which a lane is written, by shard."""
    return folder / f"lane-{number:04d}.arrow"


def shuffle(
    maps: Sequence[MapReceipt], shards: int, folder: Path, engine: Engine, tell: Watcher
) -> Mapping[int, Batches]:
    """Return where the rows of each shard lie; a shard without any is not named.

    Args:
        maps: What the map tasks left.
        shards: Number of shards.
        folder: Work folder of the run.
        engine: Where lanes are taken apart.
        tell: Who is told how far it is.
    """
    left = [(folder / f"{receipt.name}.arrow", receipt.parcels) for receipt in maps]
    lanes = {number: tuple(files) for number, files in by_lane(left).items()}
    if width(shards) == 1:
        return lanes
    tasks = [LaneTask(number, files, shards, folder) for number, files in sorted(lanes.items())]
    tell("shuffle", done=0, total=len(tasks))
    again = []
    for done, receipt in enumerate(engine.map(split_lane, tasks), 1):
        again.append((lane_of(folder, receipt.number), receipt.parcels))
        tell("shuffle", done=done, total=len(tasks))
    for path, _ in left:  # every row is in the file of its lane now
        path.unlink(missing_ok=True)
    return {number: tuple(files) for number, files in by_lane(again).items()}
