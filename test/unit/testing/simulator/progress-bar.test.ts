import { describe, expect, it } from "vitest";
import { progressBar } from "../../../../src/testing/simulator/progress-bar.js";

function terminal(isTTY: boolean, columns?: number) {
  const written: string[] = [];
  return { written, output: { isTTY, columns, write: (text: string) => written.push(text) } };
}
const CLEAR = "\r\x1b[K";

describe("progressBar", () => {
  it("draws one line over itself, only when it changes, and takes it away at the end", () => {
    const { written, output } = terminal(true);
    const draw = progressBar(output);
    draw(0, "two replicas");
    draw(0.501, "two replicas");
    draw(0.502, "two replicas");
    draw(1);
    expect(written).toEqual([
      `${CLEAR}[..............................] 0 % two replicas`,
      `${CLEAR}[###############...............] 50 % two replicas`,
      CLEAR,
    ]);
  });

  it("never wraps, and is silent where nobody looks", () => {
    const narrow = terminal(true, 20);
    progressBar(narrow.output)(0.5, "a very long name");
    expect(narrow.written).toEqual([`${CLEAR}${"[###############....".slice(0, 19)}`]);
    const file = terminal(false);
    progressBar(file.output)(0.5, "x");
    expect(file.written).toEqual([]);
  });
});
