import { afterEach, describe, expect, it } from "vitest";
import { ProcessWarnings, WARNING_CODE, WARNING_TYPE } from "../../../src/internal/process-warnings.js";
import { countsWarnings, eventsOfInterest, type Plugin } from "../../../src/plugins/plugin.js";
import { PluginRunner } from "../../../src/plugins/run-plugins.js";
import { virtualClock } from "../../../src/testing/index.js";

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** A runner, and the warnings that its process was told. */
function aRunner(...plugins: Plugin[]) {
  const clock = virtualClock();
  const told: Error[] = [];
  const listen = (warning: Error) => void (warning.name === WARNING_TYPE && told.push(warning));
  process.on("warning", listen);
  stops.push(() => process.off("warning", listen));
  const runner = new PluginRunner({ plugins, clock });
  const messages = async () => {
    // Node tells of warnings in the next tick.
    await clock.advance(1);
    return told.splice(0).map(({ message }) => message);
  };
  return { runner, clock, told, messages };
}

describe("warnings that no plugin listens to", () => {
  it("are warnings of the process, with a type and a code to go by", async () => {
    const { runner, told, clock } = aRunner({ name: "watcher", onSettled() {} });
    runner.warn("The store is away.");
    await clock.advance(1);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ name: WARNING_TYPE, code: WARNING_CODE, message: "The store is away." });
    expect([WARNING_TYPE, WARNING_CODE]).toEqual(["SwitchyardWarning", "SWITCHYARD_WARNING"]);
  });

  it("S27: come once a minute each, at most ten a minute, and those that did not are counted", async () => {
    const { messages } = aRunner();
    const warnings = new ProcessWarnings();
    for (let time = 0; time < 100; time++) for (const text of ["a", "b"]) warnings.tell(text, time);
    expect(await messages()).toEqual(["a", "b"]);
    for (let number = 0; number < 100; number++) warnings.tell(`n${number}`, 59_999);
    expect(await messages()).toHaveLength(8);
    warnings.tell("a", 60_000);
    expect(await messages()).toEqual([expect.stringContaining("92 more warnings were not shown"), "a"]);
  });

  it("of several routers are those of one process: the same text is not repeated", async () => {
    const { runner, messages } = aRunner();
    runner.warn("told by two");
    aRunner().runner.warn("told by two");
    expect(await messages()).toEqual(["told by two"]);
  });

  it("go to the plugin alone where one listens, and not after the end", async () => {
    const heard: string[] = [];
    const { runner, messages } = aRunner({ name: "log", onWarning: ({ message }) => void heard.push(message) });
    runner.warn("heard");
    expect(await messages()).toEqual([]);
    expect(heard).toEqual(["heard"]);

    const other = aRunner();
    await other.runner.close();
    other.runner.warn("late");
    expect(await other.messages()).toEqual([]);
  });

  it("are not heard by one that only counts them", async () => {
    let count = 0;
    const { runner, messages } = aRunner({
      name: "metrics",
      onWarning: () => void count++,
      [eventsOfInterest]: ["warning-raised"],
      [countsWarnings]: true,
    });
    runner.warn("counted");
    expect(await messages()).toEqual(["counted"]);
    expect(count).toBe(1);
  });
});
