import { z } from "zod";
import { orSwitch } from "../../internal/option-issues.js";

/** The group option `affinity`. @default true */
export type AffinityOption = boolean | AffinityOptions;

export interface AffinityOptions {
  /** How long a deployment is expected to keep what it has read, in milliseconds, 1000–86400000. @default 600000 */
  readonly ttlMs?: number | undefined;
  /** Parts of 128 tokens that are remembered of a deployment, an integer, 16–65536. @default 2048 */
  readonly maxChunks?: number | undefined;
}

export interface AffinitySettings {
  readonly isEnabled: boolean;
  readonly ttlMs: number;
  readonly maxChunks: number;
}

/** What a group without the option has. */
export const defaultAffinity: AffinitySettings = { isEnabled: true, ttlMs: 600_000, maxChunks: 2_048 };

const fields = z.strictObject(
  {
    ttlMs: z.number().min(1_000).max(86_400_000).default(defaultAffinity.ttlMs),
    maxChunks: z.int().min(16).max(65_536).default(defaultAffinity.maxChunks),
  },
  orSwitch,
);

/** Schema of the group option; parses to {@link AffinitySettings}. */
export const affinityOption = z
  .custom<AffinityOption>()
  .transform((option: AffinityOption, context): AffinitySettings => {
    if (typeof option === "boolean") return { ...defaultAffinity, isEnabled: option };
    const parsed = fields.safeParse(option);
    if (parsed.success) return { isEnabled: true, ...parsed.data };
    // zod's own issue objects, of the nested parse; `transform` wants them as raw issues, which are a superset.
    for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: option } as never);
    return z.NEVER;
  });
