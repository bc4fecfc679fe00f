import { describe, expect, it } from "vitest";
import { callbacks } from "../../../../src/plugins/callbacks/callbacks.js";
import { pluginsSchema } from "../../../../src/plugins/options.js";
import { aRunner, aSettledEvent, aStartedEvent } from "../../../support/plugin-fixtures.js";

describe("callbacks", () => {
  it("calls the functions with the events of their kind", async () => {
    const got: string[] = [];
    const plugin = callbacks({
      onRequest: ({ requestId }) => void got.push(`started ${requestId}`),
      onSettled: async ({ outcome }) => void got.push(outcome),
      onFailure: undefined,
    });
    expect(pluginsSchema.safeParse([plugin]).success).toBe(true);
    const { runner, clock } = aRunner(plugin);
    runner.emit(aStartedEvent());
    runner.emit(aSettledEvent());
    await clock.advance(1);
    expect(got).toEqual(["started req_1", "succeeded"]);
    expect(runner.listensTo("request-failed")).toBe(false);
    expect(runner.hasGuards).toBe(false);
  });

  it("is called callbacks unless it is given a name", () => {
    expect(callbacks({}).name).toBe("callbacks");
    expect(callbacks({ name: "billing" }).name).toBe("billing");
  });

  it("refuses what it would never call, and says what was meant", () => {
    const given = { onSetled: () => {}, beforeRequest: () => {}, onReply: "log", name: "" };
    expect(() => callbacks(given as never)).toThrow(
      expect.objectContaining({
        code: "invalid_options",
        issues: [
          { path: "callbacks.name", message: "expected a name of 1 to 64 letters, digits, and _ @ / . : -" },
          { path: "callbacks.onReply", message: "expected a function" },
          { path: "callbacks.onSetled", message: 'unknown option; did you mean "onSettled"?' },
          { path: "callbacks.beforeRequest", message: "unknown option" },
        ],
      }),
    );
  });
});
