import { describe, expect, it } from "vitest";
import { defaultTransport, isNode } from "../../../src/transport/default.js";
import { fetchTransport } from "../../../src/transport/fetch.js";
import { undiciTransport } from "../../../src/transport/undici.js";

const node = { release: { name: "node" }, versions: { node: "20.19.0" } };

describe("defaultTransport", () => {
  it("S35: is undici on Node", () => {
    expect(isNode(globalThis)).toBe(true);
    expect(defaultTransport().constructor).toBe(undiciTransport().constructor);
  });

  it.each([
    ["Bun", { process: { ...node, versions: { node: "22.0.0", bun: "1.2.0" } } }],
    ["Deno", { process: { ...node, versions: { node: "22.0.0", deno: "2.0.0" } } }],
    ["a worker", { process: node, navigator: { userAgent: "Cloudflare-Workers" } }],
    ["a worker with half a process", { process: {} }],
    ["a browser", { navigator: { userAgent: "Mozilla/5.0" } }],
  ])("S35: is fetch on %s", (_runtime, globals) => {
    expect(isNode(globals)).toBe(false);
    expect(defaultTransport(globals).constructor).toBe(fetchTransport().constructor);
  });

  it("S35: is undici on a Node that has a navigator", () => {
    expect(isNode({ process: node, navigator: { userAgent: "Node.js/22" } })).toBe(true);
  });
});
