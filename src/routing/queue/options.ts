import { z } from "zod";
import { orSwitch } from "../../internal/option-issues.js";

/** The group option `queue`; `false`: what finds no free slot is refused at once. @default true */
export type QueueOption = boolean | QueueOptions;

export interface QueueOptions {
  /** Most requests that wait for the group, an integer, 1–100000. @default 1000 */
  readonly maxLength?: number | undefined;
  /** How long an `interactive` request waits at most, in milliseconds, 1–600000. @default 5000 */
  readonly maxWaitMs?: number | undefined;
}

export interface QueueSettings {
  readonly isEnabled: boolean;
  readonly maxLength: number;
  readonly maxWaitMs: number;
}

/** What a group without the option has. */
export const defaultQueue: QueueSettings = { isEnabled: true, maxLength: 1_000, maxWaitMs: 5_000 };

const fields = z.strictObject(
  {
    maxLength: z.int().min(1).max(100_000).default(defaultQueue.maxLength),
    maxWaitMs: z.number().min(1).max(600_000).default(defaultQueue.maxWaitMs),
  },
  orSwitch,
);

/** Schema of the group option; parses to {@link QueueSettings}. */
export const queueOption = z.custom<QueueOption>().transform((option: QueueOption, context): QueueSettings => {
  if (typeof option === "boolean") return { ...defaultQueue, isEnabled: option };
  const parsed = fields.safeParse(option);
  if (parsed.success) return { isEnabled: true, ...parsed.data };
  // zod's own issue objects, of the nested parse; `transform` wants them as raw issues, which are a superset.
  for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: option } as never);
  return z.NEVER;
});
