/**
 * Portkey's gateway, a proxy that many teams run; installed in `bench/` alone, with `@hono/node-server` 1.13: from 1.14
 * on, which its range allows, the gateway answers streams with 500 (`TypeError: immutable` on the upstream's headers).
 */
import { once } from "node:events";
import { createRequire } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { pathToFileURL } from "node:url";
import type { Variant } from "./variant.js";

const packageFile = createRequire(import.meta.url).resolve("@portkey-ai/gateway/package.json");
const { version } = createRequire(import.meta.url)(packageFile) as { version: string }; // as packages are

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // listening on TCP
  server.close();
  await once(server, "close");
  return port;
}

/** Its only entry is its command, which reads its arguments and listens; here, so that its CPU time is this process's. */
async function serve(): Promise<number> {
  const port = await freePort();
  process.argv.push(`--port=${port}`, "--headless");
  await import(new URL("build/start-server.js", pathToFileURL(packageFile)).href);
  return port;
}

export const portkey: Variant = { version: `@portkey-ai/gateway ${version}`, serve };
