/**
 * The process of one variant in one scenario, so that none pays for another's garbage or inline caches.
 *
 * Arguments: the variant, the operation, the upstream's origin.
 */
import { ANSWER_TEXT } from "./payloads.js";
import { answerQuestions } from "./processes.js";
import type { Operation, Variant } from "./variants/variant.js";

const variants: Readonly<Record<string, () => Promise<Variant>>> = {
  floor: async () => (await import("./variants/floor.js")).floor,
  switchyard: async () => (await import("./variants/switchyard.js")).switchyard,
  "switchyard-operated": async () => (await import("./variants/switchyard-observed.js")).switchyardOperated,
  "switchyard-traced": async () => (await import("./variants/switchyard-observed.js")).switchyardTraced,
  "switchyard-10000": async () => (await import("./variants/switchyard.js")).switchyardWithMany,
  "openai-sdk": async () => (await import("./variants/openai-sdk.js")).openaiSdk,
  "ai-sdk": async () => (await import("./variants/ai-sdk.js")).aiSdk,
  portkey: async () => (await import("./variants/portkey.js")).portkey,
};

/** How much of one thing a round did, and what it cost this process. */
export interface Round {
  readonly operations: number;
  readonly wallMs: number;
  readonly cpuUs: number;
  /** Of requests that come on a schedule: how long each took, from when it was to be sent. */
  readonly latenciesMs?: readonly number[] | undefined;
}

/** Repeats `operation` in `concurrency` loops; a round ends when its last operation does. */
async function repeat(
  operation: Operation,
  { durationMs, concurrency }: { durationMs: number; concurrency: number },
): Promise<Round> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  let operations = 0;
  const loop = async () => {
    while (performance.now() - start < durationMs) {
      const length = await operation();
      if (length !== ANSWER_TEXT.length)
        throw new Error(`an answer of ${length} instead of ${ANSWER_TEXT.length} characters`);
      operations++;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  const wallMs = performance.now() - start;
  const used = process.cpuUsage(cpu);
  return { operations, wallMs, cpuUs: used.user + used.system };
}

const [variantName = "", operationName = "", origin = ""] = process.argv.slice(2);
const variant = await variants[variantName]?.();
if (!variant) throw new Error(`no variant "${variantName}"`);

if (operationName === "serve") {
  if (!variant.serve) throw new Error(`${variantName} does not serve`);
  const port = await variant.serve(origin);
  answerQuestions({ ready: { version: variant.version, port }, answers: { cpu: () => process.cpuUsage() } });
} else {
  const operation = await variant[operationName as "completion" | "stream" | "decision"]?.(origin); // checked by the next line
  if (!operation) throw new Error(`${variantName} has no ${operationName}`);
  answerQuestions({
    ready: { version: variant.version },
    answers: { round: (plan: { durationMs: number; concurrency: number }) => repeat(operation, plan) },
  });
}
