import { z } from "zod";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import { eventsOfInterest, type Plugin } from "../plugin.js";
import { attemptRecord, type RecordFields, requestRecord, type TelemetryRecord } from "./records.js";

export interface RecordOptions extends RecordFields {
  /** Records of which upstream calls, beside the one of each request. @default "all" */
  readonly attempts?: "all" | "failed" | "none" | undefined;
}

export interface RecordsOptions extends RecordOptions {
  /** Needed where one router has several of these. @default "records" */
  readonly name?: string | undefined;
}

/** Checks of {@link RecordOptions}, for whoever makes records. */
export const recordFields = {
  attempts: z.enum(["all", "failed", "none"], 'expected "all", "failed" or "none"').default("all"),
  content: z
    .custom<NonNullable<RecordFields["content"]>>(
      (value) => typeof value === "boolean" || typeof value === "function",
      "expected a boolean or a function",
    )
    .default(false),
  metadata: z.array(z.string().min(1).max(64), "expected names of metadata").max(16).default([]),
};

const recordsSchema = z.strictObject({ name: pluginNameSchema.default("records"), ...recordFields });
const writeSchema = z.custom<(record: TelemetryRecord) => unknown>((value) => typeof value === "function");

/**
 * A plugin that hands a record of each request and each upstream call to a function: a stable schema with a version,
 * made of listed fields only. What the function returns is not waited for.
 *
 * @throws {InvalidOptionsError} an option is wrong.
 * @see docs/telemetry.md
 */
export function records(write: (record: TelemetryRecord) => unknown, options: RecordsOptions = {}): Plugin {
  const { name, ...fields } = parseOwnOptions("records", recordsSchema, options);
  if (!writeSchema.safeParse(write).success) throw new TypeError("Expected `records` to get a function");
  return recordPlugin(name, fields, write);
}

/** @param fields - Checked by {@link recordFields}. */
export function recordPlugin(
  name: string,
  fields: Required<RecordOptions>,
  write: (record: TelemetryRecord) => unknown,
): Plugin {
  return {
    name,
    observesContent: Boolean(fields.content),
    [eventsOfInterest]: ["request-settled", "attempt-ended"],
    onSettled: (event) => write(requestRecord(event, fields)),
    ...(fields.attempts !== "none" && {
      onAttempt(event) {
        if (event.type !== "attempt-ended" || (fields.attempts === "failed" && event.outcome === "ok"))
          return undefined;
        return write(attemptRecord(event));
      },
    }),
  };
}
