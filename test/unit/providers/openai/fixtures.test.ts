import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { AttemptContext } from "../../../../src/providers/provider.js";
import { repairBytes, repairText } from "../../../support/openai-streams.js";
import { cutPositions, singleBytes } from "../../../support/vectors.js";

interface Fixture {
  readonly description: string;
  readonly context: Partial<AttemptContext>;
  readonly chunks: readonly unknown[];
}

const folder = fileURLToPath(new URL("../../../fixtures/openai", import.meta.url));
const names = readdirSync(folder).filter((file) => file.endsWith(".json"));

it("has recorded streams", () => {
  expect(names.length).toBeGreaterThanOrEqual(6);
});

describe.each(names.map((file) => file.slice(0, -".json".length)))("the recorded stream %s", (name) => {
  const { context, chunks } = JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8")) as Fixture;
  const bytes = new Uint8Array(readFileSync(`${folder}/${name}.chunks.txt`));

  it("is repaired", () => {
    const decoded = repairBytes(bytes, context);
    expect(decoded.error).toBeUndefined();
    expect(decoded.chunks).toEqual(chunks);
  });

  it("is repaired without splicing, too", () => {
    expect(repairBytes(bytes, { ...context, splices: false }).chunks).toEqual(chunks);
  });

  it("R24: is the same byte by byte and wherever it is cut", () => {
    expect(repairBytes(singleBytes(bytes), context).chunks).toEqual(chunks);
    for (const position of cutPositions(bytes)) {
      const pieces = [bytes.subarray(0, position), bytes.subarray(position)];
      expect(repairBytes(pieces, context).chunks, `cut at byte ${position}`).toEqual(chunks);
    }
  });

  it("is the same as text", () => {
    const decoded = repairText(singleBytes(bytes), context);
    expect(decoded.chunks.map((text) => JSON.parse(text))).toEqual(chunks);
    expect(decoded.contentAt).toBe(repairBytes(bytes, context).contentAt);
    expect(decoded.summary.outputLength).toBe(repairBytes(bytes, context).summary.outputLength);
  });

  it("R5: breaks where it is cut short, after a prefix of its chunks", () => {
    const half = bytes.subarray(0, bytes.length >> 1);
    const decoded = repairBytes(half, context);
    expect(decoded.error).toMatchObject({ errorClass: "network" });
    expect(chunks.slice(0, decoded.chunks.length)).toEqual(decoded.chunks);
    expect(decoded.chunks.length).toBeLessThan(chunks.length);
  });
});
