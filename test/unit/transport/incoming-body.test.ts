import { describe, expect, it } from "vitest";
import { UpstreamError } from "../../../src/errors/upstream-error.js";
import { IncomingBody, PAUSE_ABOVE_BYTES } from "../../../src/transport/incoming-body.js";

function aBody() {
  const gauge = { bytes: 0 };
  const calls: string[] = [];
  const source = { resume: () => void calls.push("resume"), abandon: () => void calls.push("abandon") };
  return { gauge, calls, body: new IncomingBody(gauge, source) };
}
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (read: Uint8Array | undefined) => read && new TextDecoder().decode(read);

describe("IncomingBody", () => {
  it("S32: gives what was written, in order, and then its end; the gauge follows", async () => {
    const { gauge, body } = aBody();
    expect(body.write(bytes("one"))).toBe(true);
    expect(gauge.bytes).toBe(3);
    expect(text(await body.read())).toBe("one");
    expect(gauge.bytes).toBe(0);
    body.write(bytes("two"));
    body.end();
    expect(text(await body.read())).toBe("two");
    expect(await body.read()).toBeUndefined();
    expect(await body.read()).toBeUndefined();
    expect(gauge.bytes).toBe(0);
  });

  it("gives one packet's chunks to a waiting reader at once", async () => {
    const { gauge, body } = aBody();
    const read = body.read();
    body.write(bytes("a"));
    body.write(bytes("b"));
    body.write(bytes("c"));
    body.end();
    expect(text(await read)).toBe("abc");
    expect(await body.read()).toBeUndefined();
    expect(gauge.bytes).toBe(0);
  });

  it("does not copy a single chunk", async () => {
    const { body } = aBody();
    const chunk = bytes("whole");
    body.write(chunk);
    expect(await body.read()).toBe(chunk);
  });

  it("tells a waiting reader about the end", async () => {
    const { body } = aBody();
    const read = body.read();
    body.end();
    expect(await read).toBeUndefined();
  });

  it("S32: asks for a pause above 256 KiB, and for more once they are read", async () => {
    const { gauge, calls, body } = aBody();
    expect(body.write(new Uint8Array(PAUSE_ABOVE_BYTES))).toBe(true);
    expect(body.write(new Uint8Array(1))).toBe(false);
    expect(gauge.bytes).toBe(PAUSE_ABOVE_BYTES + 1);
    expect(calls).toEqual([]);
    expect((await body.read())?.length).toBe(PAUSE_ABOVE_BYTES + 1);
    expect(calls).toEqual(["resume"]);
    expect(gauge.bytes).toBe(0);
  });

  it("takes what comes while it resumes", async () => {
    const gauge = { bytes: 0 };
    const body: IncomingBody = new IncomingBody(gauge, {
      resume() {
        body.write(bytes("late"));
        body.end();
      },
      abandon() {},
    });
    body.write(new Uint8Array(PAUSE_ABOVE_BYTES + 1));
    expect((await body.read())?.length).toBe(PAUSE_ABOVE_BYTES + 1);
    expect(text(await body.read())).toBe("late");
    expect(await body.read()).toBeUndefined();
    expect(gauge.bytes).toBe(0);
  });

  it("gives what came before a failure, and then the failure", async () => {
    const { gauge, body } = aBody();
    const failure = new Error("cut");
    body.write(bytes("kept"));
    body.fail(failure);
    expect(text(await body.read())).toBe("kept");
    await expect(body.read()).rejects.toBe(failure);
    await expect(body.text(10)).rejects.toBe(failure);
    expect(gauge.bytes).toBe(0);
  });

  it("gives a waiting reader the last bytes before a failure of the same packet", async () => {
    const { body } = aBody();
    const failure = new Error("cut");
    const read = body.read();
    body.write(bytes("kept"));
    body.fail(failure);
    expect(text(await read)).toBe("kept");
    await expect(body.read()).rejects.toBe(failure);
  });

  it("rejects a waiting reader on failure", async () => {
    const { body } = aBody();
    const failure = new Error("cut");
    const read = body.read();
    body.fail(failure);
    await expect(read).rejects.toBe(failure);
  });

  it("collects text, past the pause limit, and drops a byte order mark", async () => {
    const { gauge, calls, body } = aBody();
    body.write(bytes("\ufeff"));
    body.write(new Uint8Array(PAUSE_ABOVE_BYTES).fill(0x61));
    const collected = body.text(PAUSE_ABOVE_BYTES + 10);
    expect(calls).toEqual(["resume"]);
    expect(body.write(bytes("end"))).toBe(true);
    body.end();
    expect(await collected).toBe(`${"a".repeat(PAUSE_ABOVE_BYTES)}end`);
    expect(gauge.bytes).toBe(0);
  });

  it("decodes characters that are cut between chunks", async () => {
    const { body } = aBody();
    const whole = bytes("a🚂ä");
    for (const byte of whole) body.write(Uint8Array.of(byte));
    body.end();
    expect(await body.text(100)).toBe("a🚂ä");
  });

  it.each(["before", "after"])("S32: refuses a text over its limit that is known %s it is asked for", async (when) => {
    const { gauge, calls, body } = aBody();
    if (when === "before") body.write(bytes("too long"));
    const collected = body.text(7);
    if (when === "after") body.write(bytes("too long"));
    await expect(collected).rejects.toBeInstanceOf(UpstreamError);
    await expect(collected).rejects.toMatchObject({ isBadResponse: true });
    expect(calls).toEqual(["abandon"]);
    expect(body.write(bytes("more"))).toBe(true);
    expect(gauge.bytes).toBe(0);
  });

  it("S32: refuses a text over its limit also where it is complete; the connection is not to blame", async () => {
    const { gauge, calls, body } = aBody();
    body.write(bytes("too long"));
    body.end();
    await expect(body.text(7)).rejects.toMatchObject({ isBadResponse: true });
    expect(calls).toEqual([]);
    expect(gauge.bytes).toBe(0);
  });

  it("rejects text on failure, and keeps no bytes", async () => {
    const { gauge, body } = aBody();
    const collected = body.text(100);
    body.write(bytes("half"));
    const failure = new Error("cut");
    body.fail(failure);
    await expect(collected).rejects.toBe(failure);
    expect(gauge.bytes).toBe(0);
  });

  it("R6: discarded, rejects pending and later reads with the reason and keeps no bytes", async () => {
    const { gauge, body } = aBody();
    const reason = new Error("left");
    const read = body.read();
    body.write(bytes("scheduled, but not delivered"));
    body.discard(reason);
    await expect(read).rejects.toBe(reason);
    await expect(body.read()).rejects.toBe(reason);
    await expect(body.text(100)).rejects.toBe(reason);
    expect(gauge.bytes).toBe(0);
  });

  it("R6: discarded after a failure, or complete but unread, keeps no bytes", async () => {
    for (const finish of [(body: IncomingBody) => body.fail(new Error("cut")), (body: IncomingBody) => body.end()]) {
      const { gauge, body } = aBody();
      const reason = new Error("left");
      body.write(bytes("unread"));
      finish(body);
      body.discard(reason);
      expect(gauge.bytes).toBe(0);
      await expect(body.read()).rejects.toBe(reason);
    }
  });

  it("discarded after all was read, stays at its end", async () => {
    const { body } = aBody();
    body.write(bytes("all"));
    body.end();
    await body.read();
    body.discard(new Error("late"));
    expect(await body.read()).toBeUndefined();
  });
});
