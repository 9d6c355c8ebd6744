"""A guest written against `wit/` alone, for componentize-py: it counts words, and touches every host interface on its way."""

import json
import re
from collections import Counter

import wit_world
from componentize_py_types import Err
from wit_world.imports import inputs, journal, log, outputs, progress, settings
from wit_world.imports.types import Failure_Invalid, Task

CHUNK_BYTES = 65536


def read_all(name: str) -> str:
    chunks = []
    with inputs.open(name) as reader:
        while chunk := reader.read(CHUNK_BYTES):
            chunks.append(chunk)
    return b"".join(chunks).decode()


class WitWorld(wit_world.WitWorld):
    def execute(self, task: Task) -> bytes:
        try:
            payload = json.loads(task.payload)
        except ValueError as error:
            raise Err(Failure_Invalid(f"payload: {error}"))
        if not isinstance(payload, dict) or not isinstance(payload.get("text"), str):
            raise Err(Failure_Invalid("payload.text must be a string"))

        counts = Counter()
        sources = [payload["text"], *map(read_all, inputs.names())]
        for done, source in enumerate(sources, start=1):
            counts.update(re.findall(r"[a-z0-9]+", source.lower()))
            progress.report(done / len(sources), "counting")

        log.write(log.Level.INFO, "counted", [("words", str(len(counts)))])
        journal.put("counted", str(len(counts)).encode())
        with outputs.create("words.csv", "text/csv") as table:
            table.write(("word,count\n" + "".join(f"{word},{counts[word]}\n" for word in sorted(counts))).encode())
        remembered = journal.get("counted")
        return json.dumps(
            {
                "language": "python",
                "task_type": task.task_type,
                "distinct": len(counts),
                "total": counts.total(),
                "remembered": remembered.decode() if remembered else "",
                "granted": settings.get("not-granted"),
            }
        ).encode()
