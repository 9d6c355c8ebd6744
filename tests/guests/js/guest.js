// A guest written against `wit/` alone, for componentize-js: it counts words, and touches every host interface on its way.
import { write as log } from "taskwarden:plugin/log@0.1.0";
import { report } from "taskwarden:plugin/progress@0.1.0";
import { names, open } from "taskwarden:plugin/inputs@0.1.0";
import { create } from "taskwarden:plugin/outputs@0.1.0";
import { get as recall, put as remember } from "taskwarden:plugin/journal@0.1.0";
import { get as setting } from "taskwarden:plugin/settings@0.1.0";

const text = (bytes) => new TextDecoder().decode(bytes);
const bytes = (string) => new TextEncoder().encode(string);
const CHUNK_BYTES = 65536;

function readAll(name) {
  const reader = open(name);
  const chunks = [];
  for (;;) {
    const chunk = reader.read(CHUNK_BYTES);
    if (chunk.length === 0) break;
    chunks.push(...chunk);
  }
  return text(new Uint8Array(chunks));
}

export function execute(task) {
  let payload;
  try {
    payload = JSON.parse(text(task.payload));
  } catch (error) {
    throw { tag: "invalid", val: `payload: ${error.message}` };
  }
  if (typeof payload?.text !== "string") {
    throw { tag: "invalid", val: "payload.text must be a string" };
  }

  const counts = {};
  const sources = [payload.text, ...names().map(readAll)];
  sources.forEach((source, done) => {
    for (const word of source.toLowerCase().split(/[^a-z0-9]+/).filter(Boolean)) {
      counts[word] = (counts[word] ?? 0) + 1;
    }
    report((done + 1) / sources.length, "counting");
  });
  const rows = Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1));

  log("info", "counted", [["words", String(rows.length)]]);
  remember("counted", bytes(String(rows.length)));
  create("words.csv", "text/csv").write(bytes("word,count\n" + rows.map((row) => row.join(",") + "\n").join("")));
  return bytes(
    JSON.stringify({
      language: "javascript",
      task_type: task.taskType,
      distinct: rows.length,
      total: rows.reduce((sum, [, count]) => sum + count, 0),
      remembered: text(recall("counted") ?? new Uint8Array()),
      granted: setting("not-granted") ?? null,
    }),
  );
}
