import { z } from "zod";
import type { TimeoutSettings } from "./deadlines.js";

/** The option `timeouts` of groups and deployments, in whole milliseconds, 1–86400000 each. */
export interface TimeoutOptions {
  /** Until there is a connection. @default 5000 */
  readonly connectMs?: number | undefined;
  /** Until the first content of a stream. Without it: learned, 10–60 s. */
  readonly firstTokenMs?: number | undefined;
  /** Between two bytes of a stream that has begun. Without it: 15 s, 30 s while the model reasons. */
  readonly idleMs?: number | undefined;
  /** How long bytes may come without content. @default 60000 */
  readonly stallMs?: number | undefined;
  /** The whole request, attempts and waits included. @default 600000 */
  readonly totalMs?: number | undefined;
}

const duration = z.int().min(1).max(86_400_000);

/** What a deployment states itself; nothing is filled in. */
export const ownTimeoutsSchema = z.strictObject({
  connectMs: duration.exactOptional(),
  firstTokenMs: duration.exactOptional(),
  idleMs: duration.exactOptional(),
  stallMs: duration.exactOptional(),
  totalMs: duration.exactOptional(),
}) satisfies z.ZodType<Partial<TimeoutSettings>, TimeoutOptions>;

/** What a group waits for, complete. */
export const timeoutsSchema = z.strictObject({
  connectMs: duration.default(5_000),
  firstTokenMs: duration.optional(),
  idleMs: duration.optional(),
  stallMs: duration.default(60_000),
  totalMs: duration.default(600_000),
});
