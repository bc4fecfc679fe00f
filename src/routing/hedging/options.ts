import { z } from "zod";
import { orSwitch } from "../../internal/option-issues.js";

/** The group option `hedge`; `true` is an object of defaults. @default false */
export type HedgeOption = boolean | HedgeOptions;

export interface HedgeOptions {
  /** No hedge before this, whatever is usual, in milliseconds, 0–600000. @default 200 */
  readonly minDelayMs?: number | undefined;
  /** A hedge is sent when the answer takes longer to begin than this percentage of the latest ones, 50–99.9. @default 97 */
  readonly percentile?: number | undefined;
  /** How many of the latest answers that is, for each kind of request, an integer, 10–10000. @default 500 */
  readonly windowSize?: number | undefined;
  /** Below so many of them nothing is hedged, an integer, 1–10000, at most `windowSize`. @default 50 */
  readonly minSamples?: number | undefined;
  /** Hedges per request, 0–1. @default 0.05 */
  readonly maxShare?: number | undefined;
  /** Hedges per second beside that, however few requests there are, 0–1000. @default 0.1 */
  readonly perSecond?: number | undefined;
  /** Hedges that can be saved up, and that a group begins with, 1–10000. @default 10 */
  readonly maxSaved?: number | undefined;
  /** With this share of the latest hedges first, or less, `minChance` of them are sent, 0–1. @default 0.1 */
  readonly lowWinRate?: number | undefined;
  /** With this share first, or more, all of them are sent, 0–1, above `lowWinRate`. @default 0.3 */
  readonly highWinRate?: number | undefined;
  /** What each hedge weighs in the average of those that were first, above 0, at most 1. @default 0.05 */
  readonly winWeight?: number | undefined;
  /** Hedges that are sent although they are hardly ever first, to learn when they would be, 0–1. @default 0.05 */
  readonly minChance?: number | undefined;
}

/** All of {@link HedgeOptions}, with every default in its place. */
export interface HedgeSettings {
  readonly isEnabled: boolean;
  readonly minDelayMs: number;
  readonly percentile: number;
  readonly windowSize: number;
  readonly minSamples: number;
  readonly maxShare: number;
  readonly perSecond: number;
  readonly maxSaved: number;
  readonly lowWinRate: number;
  readonly highWinRate: number;
  readonly winWeight: number;
  readonly minChance: number;
}

/** What a group without the option has (routing §7). */
export const defaultHedge: HedgeSettings = {
  isEnabled: false,
  minDelayMs: 200,
  percentile: 97,
  windowSize: 500,
  minSamples: 50,
  maxShare: 0.05,
  perSecond: 0.1,
  maxSaved: 10,
  lowWinRate: 0.1,
  highWinRate: 0.3,
  winWeight: 0.05,
  minChance: 0.05,
};

const share = z.number().min(0).max(1);

const fields = z
  .strictObject(
    {
      minDelayMs: z.number().min(0).max(600_000).default(defaultHedge.minDelayMs),
      percentile: z.number().min(50).max(99.9).default(defaultHedge.percentile),
      windowSize: z.int().min(10).max(10_000).default(defaultHedge.windowSize),
      minSamples: z.int().min(1).max(10_000).default(defaultHedge.minSamples),
      maxShare: share.default(defaultHedge.maxShare),
      perSecond: z.number().min(0).max(1_000).default(defaultHedge.perSecond),
      maxSaved: z.number().min(1).max(10_000).default(defaultHedge.maxSaved),
      lowWinRate: share.default(defaultHedge.lowWinRate),
      highWinRate: share.default(defaultHedge.highWinRate),
      winWeight: z.number().gt(0).max(1).default(defaultHedge.winWeight),
      minChance: share.default(defaultHedge.minChance),
    },
    orSwitch,
  )
  .superRefine(({ minSamples, windowSize, lowWinRate, highWinRate }, context) => {
    const refuse = (name: string, message: string) =>
      context.addIssue({ code: "custom", path: [name], message: `Expected \`${name}\` to be ${message}` });
    if (minSamples > windowSize) refuse("minSamples", `at most \`windowSize\` (${windowSize}), received ${minSamples}`);
    if (highWinRate <= lowWinRate) {
      refuse("highWinRate", `above \`lowWinRate\` (${lowWinRate}), received ${highWinRate}`);
    }
  });

/** Schema of the group option; parses to {@link HedgeSettings}. */
export const hedgeOption = z.custom<HedgeOption>().transform((option: HedgeOption, context): HedgeSettings => {
  if (typeof option === "boolean") return { ...defaultHedge, isEnabled: option };
  const parsed = fields.safeParse(option);
  if (parsed.success) return { isEnabled: true, ...parsed.data };
  // zod's own issue objects, of the nested parse; `transform` wants them as raw issues, which are a superset.
  for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: option } as never);
  return z.NEVER;
});
