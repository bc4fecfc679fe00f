import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

/** Where `setup-llamacpp.sh` puts what these tests need. */
const CACHE = resolve(process.env.SWITCHYARD_INTEROP_DIR ?? join(import.meta.dirname, "../../.interop"));

const LLAMACPP = `run test/interop/setup-llamacpp.sh once (python3, cmake and a C++ compiler are needed; ten minutes), which fills ${CACHE}`;

export const engineFiles = {
  server: join(CACHE, "llama-server"),
  model: join(CACHE, "tiny.gguf"),
  python: join(CACHE, "venv/bin/python"),
} as const;

export const presidioFiles = { python: join(CACHE, "presidio/bin/python") } as const;
export const PRESIDIO = `run test/interop/setup-presidio.sh once (python3 is needed; some minutes), which fills ${CACHE}`;

/**
 * A suite that needs files which may not be there. It is then skipped with a word of how to get them, or, with
 * `SWITCHYARD_INTEROP=required`, fails.
 */
export function describeWith(what: string, files: readonly string[], suite: () => void, howTo = LLAMACPP): void {
  const missing = files.filter((file) => !existsSync(file));
  if (missing.length === 0) return void describe(what, suite);
  const message = `${what}: SKIPPED, ${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} missing. To set up, ${howTo}.`;
  if (process.env.SWITCHYARD_INTEROP === "required") {
    it(`${what} is set up`, () => expect.unreachable(message));
    return;
  }
  console.warn(`\n${"!".repeat(80)}\n${message}\n${"!".repeat(80)}\n`);
  it.skip(`${what}: ${howTo}`, () => {});
}
