import { z } from "zod";
import { type Clock, systemClock } from "../../internal/clock.js";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import { sinkView } from "../plugin.js";
import { BatchQueue } from "./batch-queue.js";
import { type RecordOptions, recordFields, recordPlugin } from "./record-plugin.js";
import { RotatingFile } from "./rotating-file.js";
import type { SinkPlugin } from "./webhook.js";

export interface JsonLinesOptions extends RecordOptions {
  /** The file that is written now; older ones are `path.1`, `path.2` … Its folder must exist. One process per file. */
  readonly path: string;
  /** Bytes of one file, 1024–4294967296. @default 67108864 */
  readonly maxBytes?: number | undefined;
  /** Files that are kept, the current one included, 1–1000. @default 5 */
  readonly maxFiles?: number | undefined;
  /** How long a record waits for company, in milliseconds, 10–600000. @default 1000 */
  readonly flushIntervalMs?: number | undefined;
  /** Records that may wait, 1–100000; the oldest are dropped beyond it. @default 10000 */
  readonly maxQueued?: number | undefined;
  /** Needed where one router has several of these. @default "json-lines" */
  readonly name?: string | undefined;
  /** Time, for tests. @default the machine's */
  readonly clock?: Clock | undefined;
}

const integer = (least: number, most: number) => z.int().min(least).max(most);

const jsonLinesSchema = z.strictObject({
  name: pluginNameSchema.default("json-lines"),
  path: z.string("expected a path").min(1, "expected a path"),
  maxBytes: integer(1_024, 4_294_967_296).default(67_108_864),
  maxFiles: integer(1, 1_000).default(5),
  flushIntervalMs: integer(10, 600_000).default(1_000),
  maxQueued: integer(1, 100_000).default(10_000),
  clock: z
    .custom<Clock>((value) => typeof value === "object" && value !== null && "schedule" in value, "expected a clock")
    .default(() => systemClock),
  ...recordFields,
});

/** Records of one write, characters of one write, and characters that may wait. */
const BATCH_SIZE = 1_000;
const BATCH_LENGTH = 1024 * 1024;
const MAX_QUEUED_LENGTH = 16 * 1024 * 1024;
/** Within what a router gives a plugin to close. */
const CLOSE_MS = 4_000;

/**
 * A plugin that appends records to a file, one line of JSON each, and begins a new file where one is full. Requests never
 * wait for it: records wait in a bounded queue, and what is lost is counted.
 *
 * @throws {InvalidOptionsError} an option is wrong.
 * @see docs/telemetry.md
 */
export function jsonLines(options: JsonLinesOptions): SinkPlugin {
  const { name, attempts, content, metadata, ...settings } = parseOwnOptions("jsonLines", jsonLinesSchema, options);
  const { path, maxBytes, maxFiles, clock, flushIntervalMs, maxQueued } = settings;
  const file = new RotatingFile({ path, maxBytes, maxFiles });
  const queue = new BatchQueue({
    clock,
    batchSize: BATCH_SIZE,
    batchLength: BATCH_LENGTH,
    flushIntervalMs,
    maxQueued,
    maxQueuedLength: MAX_QUEUED_LENGTH,
    closeMs: CLOSE_MS,
    deliver: (texts) => file.append(texts),
  });
  return {
    ...recordPlugin(name, { attempts, content, metadata }, (record) => {
      if (queue.push(JSON.stringify(record)) > 0) throw new Error("the file does not keep up");
    }),
    view: () => queue.view(),
    [sinkView]: () => queue.view(),
    close: () => queue.close(),
  };
}
