import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { describe, expect, it, vi } from "vitest";
import type { TransportRequest } from "../../../src/transport/transport.js";
import { undiciTransport } from "../../../src/transport/undici.js";

const request: TransportRequest = {
  method: "GET",
  origin: "http://127.0.0.1:9",
  path: "/",
  headers: {},
  partition: "one",
  isStrict: false,
};

describe("undiciTransport", () => {
  it.each(["keepAliveMs", "maxKeepAliveMs", "maxPools"])("refuses a `%s` that is no number above 0", (name) => {
    for (const value of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => undiciTransport({ [name]: value })).toThrow(`Expected \`${name}\` to be a finite number above 0`);
    }
    expect(() => undiciTransport({ [name]: 1 })).not.toThrow();
  });

  it("P9: loads undici with the first request, not before", () => {
    const script = `
      import { createRequire } from "node:module";
      const { undiciTransport } = await import(process.argv[1]);
      const { cache } = createRequire(import.meta.url);
      const isLoaded = () => Object.keys(cache).some((path) => path.includes("undici"));
      const transport = undiciTransport();
      const before = isLoaded();
      await transport.send(${JSON.stringify(request)}).response.catch(() => {});
      await transport.close();
      console.log(JSON.stringify([before, isLoaded()]));`;
    const file = pathToFileURL(`${import.meta.dirname}/../../../src/transport/undici.ts`).href;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ["--import", "tsx", "--input-type=module", "--eval", script, file],
      { encoding: "utf8", cwd: `${import.meta.dirname}/../../..` },
    );
    expect(stdout.trim(), stderr).toBe("[false,true]");
  });

  it("R6: cancelled or closed while undici is still loading, rejects with the reason and sends nothing", async () => {
    vi.resetModules();
    const fresh = await import("../../../src/transport/undici.js");
    const transport = fresh.undiciTransport();
    const onConnected = vi.fn();
    const cancelled = transport.send({ ...request, onConnected });
    const closed = transport.send({ ...request, onConnected });
    const reason = new Error("left");
    cancelled.cancel(reason);
    await expect(cancelled.response).rejects.toBe(reason);
    await transport.close();
    await expect(closed.response).rejects.toMatchObject({ message: "the transport is closed" });
    expect(onConnected).not.toHaveBeenCalled();
  });
});
