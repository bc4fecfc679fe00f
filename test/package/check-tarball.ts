/**
 * npm run check:package: packs the library as it would be published, lets publint and attw look at it, and uses it from
 * an empty project: TypeScript, ESM and `require`.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");
const project = mkdtempSync(join(tmpdir(), "switchyard-package-"));
const run = (cwd: string, command: string, ...args: string[]) => {
  process.stdout.write(`$ ${command} ${args.join(" ")}\n`);
  return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
};

const ALLOWED =
  /^package\/(?:dist\/[\w.-]+\.(?:js|d\.ts)|docs\/[\w./-]+|package\.json|README\.md|LICENSE|CHANGELOG\.md|SECURITY\.md)$/;

try {
  run(ROOT, "npx", "tsup", "--silent");
  run(ROOT, "npm", "pack", "--silent", "--pack-destination", project);
  const tarball = join(project, readdirSync(project).find((name) => name.endsWith(".tgz")) ?? "missing.tgz");

  const files = run(project, "tar", "-tzf", tarball).trim().split("\n");
  const strangers = files.filter((file) => !ALLOWED.test(file));
  if (strangers.length > 0)
    throw new Error(`The tarball holds files that do not belong there: ${strangers.join(", ")}`);
  run(ROOT, "npx", "publint", "--strict", tarball);
  // CommonJS on Node ≥ 20.19 loads ESM, which is what we ship; older resolutions do not know `exports`.
  run(ROOT, "npx", "attw", tarball, "--profile", "esm-only");

  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true }));
  run(project, "npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", tarball);

  const body = `
const router = new Router({ models: { chat: [{ provider: "simulated", model: "demo", reply: "It works." }] } });
const reply = await router.chat.completions.create({ model: "chat", messages: [{ role: "user", content: "Hello" }] });
if (reply.choices[0].message.content !== "It works.") throw new Error("wrong answer");
const handler = createHandler(router);
const response = await handler.fetch(new Request("http://localhost/v1/models"));
if (response.status !== 200) throw new Error("no models");
const inProcess = await router.fetch("http://localhost/v1/models");
if (inProcess.status !== 200) throw new Error("no models in process");
const upstream = await startFakeUpstream();
await upstream.close();
await router.close();
// Without either client installed: the store takes yours.
if (redisStore({ evalsha() {}, eval() {} }).name !== "redis") throw new Error("no store");
console.log("ok");`;
  writeFileSync(
    join(project, "esm.mjs"),
    `import { Router } from "llm-switchyard";
import { createHandler } from "llm-switchyard/http";
import { startFakeUpstream } from "llm-switchyard/testing";
import { redisStore } from "llm-switchyard/redis";
${body}`,
  );
  writeFileSync(
    join(project, "commonjs.cjs"),
    `const { Router } = require("llm-switchyard");
const { createHandler } = require("llm-switchyard/http");
const { startFakeUpstream } = require("llm-switchyard/testing");
const { redisStore } = require("llm-switchyard/redis");
(async () => {${body}
})();`,
  );
  writeFileSync(
    join(project, "typed.mts"),
    `import { Router, type ChatCompletion } from "llm-switchyard";
import { createHandler } from "llm-switchyard/http";
import { virtualClock } from "llm-switchyard/testing";
const router = new Router({ models: { chat: [{ provider: "simulated", model: "demo" }] }, clock: virtualClock() });
export const reply: Promise<ChatCompletion> = router.chat.completions.create({
  model: "chat",
  messages: [{ role: "user", content: "Hello" }],
});
// @ts-expect-error: "chart" is not a configured model
void router.chat.completions.create({ model: "chart", messages: [] });
export const handler = createHandler(router);
`,
  );
  for (const script of ["esm.mjs", "commonjs.cjs"]) {
    const output = run(project, process.execPath, "--no-warnings", script);
    if (output.trim() !== "ok") throw new Error(`${script} printed ${output}`);
  }
  writeFileSync(
    join(project, "what-if.mjs"),
    `import { poisson, replica } from "llm-switchyard/testing";
export default {
  router: { models: { chat: [{ id: "a", provider: "vllm", model: "m" }] } },
  upstreams: { a: replica() }, workload: poisson({ rate: 2 }), warmUpMs: 0, durationMs: 5_000,
};`,
  );
  const simulated = run(project, process.execPath, "node_modules/.bin/switchyard-simulate", "what-if.mjs");
  if (!/event log [0-9a-f]{16}/.test(simulated)) throw new Error(`switchyard-simulate printed ${simulated}`);
  writeFileSync(
    join(project, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        target: "ES2022",
        module: "NodeNext",
        moduleResolution: "NodeNext",
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true,
        typeRoots: [join(ROOT, "node_modules/@types")],
        types: ["node"],
      },
      include: ["typed.mts"],
    }),
  );
  run(project, process.execPath, join(ROOT, "node_modules/typescript/bin/tsc"), "-p", ".");
  process.stdout.write("The packed tarball works from ESM, CommonJS and TypeScript.\n");
} finally {
  rmSync(project, { recursive: true, force: true });
}
