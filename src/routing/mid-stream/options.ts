import { z } from "zod";

/** The group option `midStream`: what becomes of a stream that breaks after its first content. @default "error" */
export type MidStreamOption = "error" | "continue" | MidStreamOptions;

export interface MidStreamOptions {
  /** Another deployment goes on from what was delivered. */
  readonly continue: true;
  /**
   * What a user says after the unfinished answer, where the deployment cannot be made to continue it in any other way:
   * 1–4096 characters. Without it only deployments that take a prefill continue.
   */
  readonly prompt?: string | undefined;
}

export interface MidStreamSettings {
  readonly isContinued: boolean;
  readonly prompt: string | undefined;
}

export const midStreamNames: readonly string[] = ["continue", "prompt"];

const fields = z.strictObject({
  continue: z.literal(true),
  prompt: z.string().max(4_096).regex(/\S/, "expected a text that is not blank").optional(),
});

/** Schema of the group option; parses to {@link MidStreamSettings}. */
export const midStreamOption = z
  .custom<MidStreamOption>()
  .transform((option: MidStreamOption, context): MidStreamSettings => {
    if (option === "error" || option === "continue") return { isContinued: option === "continue", prompt: undefined };
    if (typeof option !== "object" || option === null) {
      const message = 'expected "error", "continue" or { continue: true, prompt? }';
      context.issues.push({ code: "custom", message, input: option });
      return z.NEVER;
    }
    const parsed = fields.safeParse(option);
    if (parsed.success) return { isContinued: true, prompt: parsed.data.prompt };
    // zod's own issue objects, of the nested parse; `transform` wants them as raw issues, which are a superset.
    for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: option } as never);
    return z.NEVER;
  });
