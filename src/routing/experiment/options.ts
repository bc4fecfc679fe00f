import { z } from "zod";

/** What a request has to have in common with another one to get the same variant. */
export type StickyBy = "session" | "user" | "team" | "tenant" | "request";

/** The group option `experiment`: some of the requests that name the group are served by other groups. */
export interface ExperimentOptions {
  /** In records, ledger and metrics, and what the assignment is hashed with; letters, digits and `._-`, at most 64. @default the group's name */
  readonly name?: string | undefined;
  /** Name of another group → its share of the requests, 0–1; the group itself has the rest. 1 to 16 of them. */
  readonly variants: Readonly<Record<string, number>>;
  /** Who stays with a variant: `session` is the call's `sessionId`, without it the `user`, or else the key. @default "session" */
  readonly stickyBy?: StickyBy | undefined;
}

/** One of the groups that an experiment compares. */
export interface Arm {
  /** The group's name: what callers may use, aliases replaced. */
  readonly variant: string;
  /** 0–1; those of all arms make 1. */
  readonly share: number;
}

export interface ExperimentSettings {
  readonly name: string;
  readonly stickyBy: StickyBy;
  /** The group itself first, with what the others leave it. */
  readonly arms: readonly Arm[];
}

/** What the schema leaves to whoever knows the other groups. */
export interface ParsedExperiment {
  readonly name: string | undefined;
  readonly stickyBy: StickyBy;
  readonly variants: ReadonlyMap<string, number>;
}

const MAX_VARIANTS = 16;
/** Shares are decimal fractions: 0.1 + 0.2 + 0.7 is a little more than 1. */
const ROUNDING = 1e-9;

const fields = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, "expected 1 to 64 letters, digits and ._-")
    .optional(),
  variants: z
    .record(z.string().min(1).max(256), z.number().min(0).max(1))
    .refine((variants) => {
      const count = Object.keys(variants).length;
      return count >= 1 && count <= MAX_VARIANTS;
    }, `expected 1 to ${MAX_VARIANTS} groups with their shares`)
    .superRefine((variants, context) => {
      const shares = Object.values(variants);
      const sum = shares.reduce((total, share) => total + share, 0);
      // One that is wrong by itself is said once.
      if (sum <= 1 + ROUNDING || shares.some((share) => share > 1)) return;
      const message = `expected shares that make at most 1 together, received ${Number(sum.toPrecision(6))}`;
      context.addIssue({ code: "custom", message });
    }),
  stickyBy: z.enum(["session", "user", "team", "tenant", "request"]).default("session"),
});

export const experimentNames: readonly string[] = Object.keys(fields.shape);

/** Schema of the group option; parses to {@link ParsedExperiment}. */
export const experimentOption = z
  .custom<ExperimentOptions>()
  .transform((option: ExperimentOptions, context): ParsedExperiment => {
    const parsed = fields.safeParse(option);
    if (parsed.success) {
      const { name, stickyBy, variants } = parsed.data;
      return { name, stickyBy, variants: new Map(Object.entries(variants)) };
    }
    // zod's own issue objects, of the nested parse; `transform` wants them as raw issues, which are a superset.
    for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: option } as never);
    return z.NEVER;
  });
