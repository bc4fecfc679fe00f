import { z } from "zod";

/** The group option `shadow`: a share of the requests is copied to another group, whose answers nobody gets. */
export interface ShadowOptions<Name extends string = string> {
  /** The name of the other group. */
  readonly group: Name;
  /** Share of the requests that are copied, 0–1. */
  readonly share: number;
  /** Most copies under way in this process, an integer, 1–10000; beyond it they are dropped. @default 16 */
  readonly maxParallel?: number | undefined;
  /** Most copies per minute of this process, an integer, 1–1000000000; beyond it they are dropped. @default no limit */
  readonly rpm?: number | undefined;
  /** Most tokens per minute of copies of this process, an integer, 1–1000000000000; beyond it they are dropped. @default no limit */
  readonly tpm?: number | undefined;
}

export interface ShadowSettings {
  /** The other group: what callers may use, aliases replaced. */
  readonly group: string;
  readonly share: number;
  readonly maxParallel: number;
  readonly rpm: number | undefined;
  readonly tpm: number | undefined;
}

const fields = z.strictObject({
  group: z.string().min(1).max(256),
  share: z.number().min(0).max(1),
  maxParallel: z.int().min(1).max(10_000).default(16),
  rpm: z.int().min(1).max(1_000_000_000).optional(),
  tpm: z.int().min(1).max(1_000_000_000_000).optional(),
});

export const shadowNames: readonly string[] = Object.keys(fields.shape);

/** Schema of the group option; parses to {@link ShadowSettings}, its group as it was written. */
export const shadowOption = z.custom<ShadowOptions>().transform((option: ShadowOptions, context): ShadowSettings => {
  const parsed = fields.safeParse(option);
  if (parsed.success) return { ...parsed.data, rpm: parsed.data.rpm, tpm: parsed.data.tpm };
  // zod's own issue objects, of the nested parse; `transform` wants them as raw issues, which are a superset.
  for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: option } as never);
  return z.NEVER;
});
