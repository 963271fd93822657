"""How many images a second are read from bags: every storage and compression, raw and JPEG, 1280x720.

    python -m benchmarks.bags --images 40

The bags are written into a temporary folder first and lie in the page cache, so the disk is not measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from benchmarks.report import print_table, write_json
from vlm_perception.frames.bag_writing import header_of, make, message_store
from vlm_perception.frames.bags import COMPRESSED, RAW, open_bag
from vlm_perception.frames.compressed import rgb_to_jpeg
from vlm_perception.frames.encodings import Pixels
from vlm_perception.types import FrameHeader

WH = (1280, 720)
KINDS = (("sqlite3", "none"), ("sqlite3", "message"), ("sqlite3", "file"), ("mcap", "none"), ("mcap", "storage"))


def picture(seed: int) -> Pixels:
    """Draw something that compresses about as a photograph does: smooth noise with a little of the fine kind."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (45, 80, 3), np.uint8), WH, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.add(coarse, rng.integers(0, 6, (WH[1], WH[0], 3), np.uint8)), np.uint8)


def message_of(rgb: Pixels, index: int, kind: str) -> Any:
    """Make a raw or JPEG message."""
    header = header_of(FrameHeader(1, index, "lens"))
    if kind == COMPRESSED:
        data = np.frombuffer(rgb_to_jpeg(rgb, 90), np.uint8)
        return make(COMPRESSED, header=header, format="rgb8; jpeg compressed bgr8", data=data)
    shape = {"width": WH[0], "height": WH[1], "step": WH[0] * 3}
    return make(RAW, header=header, encoding="rgb8", is_bigendian=0, data=rgb.ravel(), **shape)


def write(path: Path, kind: str, storage: str, compression: str, count: int) -> None:
    """Write a bag of so many images."""
    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    store = message_store()
    data = [store.serialize_cdr(message_of(picture(seed), seed, kind), kind) for seed in range(4)]
    with writer:
        connection = writer.add_connection("/image", kind, typestore=store)
        for index in range(count):
            writer.write(connection, index * 10**8, data[index % len(data)])


def main() -> int:
    """Write, read and time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=40, help="in each bag (default: 40)")
    count = parser.parse_args().images
    rows = []
    for kind in (RAW, COMPRESSED):
        for storage, compression in KINDS:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "bag"
                write(path, kind, storage, compression, count)
                size = sum(each.stat().st_size for each in path.iterdir())
                begun_s = time.perf_counter()
                with open_bag(path, print) as bag:
                    read = [each.read().rgb.shape for each in bag.images("/image")]
                took_s = time.perf_counter() - begun_s
            assert len(read) == count
            shown = "raw" if kind == RAW else "JPEG"
            row = {"storage": storage, "compression": compression, "images": shown, "mb": round(size / 1e6)}
            rows.append({**row, "images_per_s": round(count / took_s), "ms_per_image": round(took_s / count * 1e3, 1)})
    print_table(rows)
    write_json("bags", {"images": count, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
