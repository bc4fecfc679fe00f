import { fetchTransport } from "./fetch.js";
import type { Transport } from "./transport.js";
import { undiciTransport } from "./undici.js";

/** What tells runtimes apart, of the global object. */
export interface RuntimeGlobals {
  readonly process?:
    | {
        readonly release?: { readonly name?: string };
        readonly versions?: Readonly<Record<string, string | undefined>>;
      }
    | undefined;
  readonly navigator?: { readonly userAgent?: string } | undefined;
}

/** Others (Bun, Deno, Cloudflare's workers) say that they are Node, too; each also says what else it is. */
export function isNode({ process, navigator }: RuntimeGlobals): boolean {
  if (process?.release?.name !== "node") return false;
  const { node, bun, deno } = process.versions ?? {};
  return node !== undefined && bun === undefined && deno === undefined && navigator?.userAgent !== "Cloudflare-Workers";
}

/** undici on Node, never its built-in `fetch` (S35); `fetch` elsewhere. */
export function defaultTransport(globals: RuntimeGlobals = globalThis): Transport {
  return isNode(globals) ? undiciTransport() : fetchTransport();
}
