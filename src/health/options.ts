import { z } from "zod";

/** When a deployment is left alone after failures, and for how long. Resolved: no optional defaults left. */
export interface CooldownSettings {
  /** False where the group says `cooldown: false`: neither failures nor refused credentials withdraw a deployment. */
  readonly isEnabled: boolean;
  readonly failures: number;
  readonly errorRate: number;
  readonly minOutcomes: number;
  readonly windowMs: number;
  readonly baseMs: number;
  readonly maxMs: number;
  readonly jitter: number;
  readonly cleanMs: number;
  readonly unprobedMs: number;
  readonly maxOpenShare: number;
  readonly limitedBaseMs: number;
  readonly limitedMaxMs: number;
  readonly overloadedMaxMs: number;
  readonly configMs: number;
  readonly quotaBaseMs: number;
  readonly quotaMaxMs: number;
  readonly successWeight: number;
  readonly forgiveMs: number;
  readonly panic: boolean;
}

/** The group option `cooldown`. `false`: no failure withdraws a deployment; an upstream's rate limits are still kept. */
export type CooldownOption = false | CooldownOptions;

export interface CooldownOptions {
  /** Failures in a row that open a deployment; an integer, 1–1000. @default 5 */
  readonly failures?: number | undefined;
  /** Share of failures within the window that opens a deployment; above 0, at most 1. @default 0.5 */
  readonly errorRate?: number | undefined;
  /** Outcomes within the window below which the error rate says nothing; an integer, 1–100000. @default 10 */
  readonly minOutcomes?: number | undefined;
  /** Length of the error rate's window, in milliseconds, 1000–3600000. @default 30000 */
  readonly windowMs?: number | undefined;
  /** The first cooldown, in milliseconds, 1–3600000; it doubles with each opening. @default 5000 */
  readonly baseMs?: number | undefined;
  /** The longest cooldown before jitter, in milliseconds, at least `baseMs`, up to 3600000. @default 120000 */
  readonly maxMs?: number | undefined;
  /** Each cooldown is longer or shorter by up to this share, 0–0.5. @default 0.2 */
  readonly jitter?: number | undefined;
  /** Time without a failure after which the doubling starts anew, in milliseconds, 0–3600000. @default 60000 */
  readonly cleanMs?: number | undefined;
  /** Time after which a deployment that waits for its probe takes the next request, in milliseconds, 0–3600000. @default 30000 */
  readonly unprobedMs?: number | undefined;
  /** Share of a group that failures may open at the same time, 0–1; one always may, all with a fallback chain. @default 0.5 */
  readonly maxOpenShare?: number | undefined;
  /** The first pause after a rate limit without `Retry-After`, in milliseconds, 1–60000; it doubles. @default 1000 */
  readonly limitedBaseMs?: number | undefined;
  /** The longest pause after a rate limit, in milliseconds, 1–60000. @default 60000 */
  readonly limitedMaxMs?: number | undefined;
  /** The longest pause after an overload without `Retry-After`, in milliseconds, 1–60000. @default 2000 */
  readonly overloadedMaxMs?: number | undefined;
  /** How long a refused credential or an unknown model withdraws a deployment, in milliseconds, 1–86400000. @default 300000 */
  readonly configMs?: number | undefined;
  /** The first withdrawal for an exhausted quota without a reset time, in milliseconds, 1–86400000; it doubles. @default 900000 */
  readonly quotaBaseMs?: number | undefined;
  /** The longest such withdrawal, in milliseconds, at least `quotaBaseMs`, up to 86400000. @default 3600000 */
  readonly quotaMaxMs?: number | undefined;
  /** Weight of each outcome in the success average, above 0, at most 1. @default 0.1 */
  readonly successWeight?: number | undefined;
  /** Idle time in which a bad success average is forgiven to 1/e, in milliseconds, 1–3600000. @default 15000 */
  readonly forgiveMs?: number | undefined;
  /** With nothing available and no fallback, use the deployment that recovers first instead of failing. @default false */
  readonly panic?: boolean | undefined;
}

const milliseconds = (minimum: number, maximum: number) => z.number().min(minimum).max(maximum);

const cooldownFields = z
  .strictObject(
    {
      failures: z.int().min(1).max(1000).default(5),
      errorRate: z.number().gt(0).max(1).default(0.5),
      minOutcomes: z.int().min(1).max(100_000).default(10),
      windowMs: milliseconds(1_000, 3_600_000).default(30_000),
      baseMs: milliseconds(1, 3_600_000).default(5_000),
      maxMs: milliseconds(1, 3_600_000).default(120_000),
      jitter: z.number().min(0).max(0.5).default(0.2),
      cleanMs: milliseconds(0, 3_600_000).default(60_000),
      unprobedMs: milliseconds(0, 3_600_000).default(30_000),
      maxOpenShare: z.number().min(0).max(1).default(0.5),
      limitedBaseMs: milliseconds(1, 60_000).default(1_000),
      limitedMaxMs: milliseconds(1, 60_000).default(60_000),
      overloadedMaxMs: milliseconds(1, 60_000).default(2_000),
      configMs: milliseconds(1, 86_400_000).default(300_000),
      quotaBaseMs: milliseconds(1, 86_400_000).default(900_000),
      quotaMaxMs: milliseconds(1, 86_400_000).default(3_600_000),
      successWeight: z.number().gt(0).max(1).default(0.1),
      forgiveMs: milliseconds(1, 3_600_000).default(15_000),
      panic: z.boolean().default(false),
    },
    { error: ({ code }) => (code === "invalid_type" ? "expected false or an object of options" : undefined) },
  )
  .superRefine((fields, context) => {
    for (const [lower, upper] of [
      ["baseMs", "maxMs"],
      ["limitedBaseMs", "limitedMaxMs"],
      ["quotaBaseMs", "quotaMaxMs"],
    ] as const) {
      if (fields[lower] > fields[upper]) {
        context.addIssue({
          code: "custom",
          path: [upper],
          message: `Expected \`${upper}\` to be at least \`${lower}\` (${fields[lower]}), received ${fields[upper]}`,
        });
      }
    }
  });

/** What a group without the option has. */
export const defaultCooldown: CooldownSettings = { isEnabled: true, ...cooldownFields.parse({}) };

/**
 * Schema of the group option `cooldown`; parses to {@link CooldownSettings}.
 *
 * Not a union with `false`: a union would answer a misspelt field with "Invalid input" and hide its path.
 */
export const cooldownOption = z
  .custom<CooldownOption>()
  .transform((option: CooldownOption, context): CooldownSettings => {
    if (option === false) return { ...defaultCooldown, isEnabled: false };
    const parsed = cooldownFields.safeParse(option);
    if (parsed.success) return { isEnabled: true, ...parsed.data };
    // zod's own issue objects, of the nested parse; `transform` wants them as raw issues, which are a superset.
    for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: option } as never);
    return z.NEVER;
  });
