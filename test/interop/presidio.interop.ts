import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type GuardrailVerdict, type PresidioOptions, presidio, Router } from "../../src/index.js";
import { type FakeUpstream, reply, startFakeUpstream, stream } from "../../src/testing/index.js";
import { describeWith, PRESIDIO, presidioFiles } from "./setup.js";

/** Starts Presidio's engines and says where they listen. */
async function startPresidio(): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(presidioFiles.python, [join(import.meta.dirname, "presidio_server.py")], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const { port, version } = JSON.parse(line.toString()) as { port: number; version: string };
  console.info(`presidio-analyzer ${version}`);
  return { child, url: `http://127.0.0.1:${port}` };
}

describeWith(
  "the presidio guardrail in front of Presidio's own engines",
  [presidioFiles.python],
  () => {
    let presidioServer: Awaited<ReturnType<typeof startPresidio>>;
    let upstream: FakeUpstream;
    const routers: Router[] = [];

    beforeAll(async () => {
      presidioServer = await startPresidio();
      upstream = await startFakeUpstream();
    });
    afterAll(async () => {
      for (const router of routers) await router.close({ drainMs: 0 });
      await upstream?.close();
      presidioServer?.child.kill();
    });

    /** What a request with `content` sends upstream, and what comes back of an answer. */
    async function through(options: Partial<PresidioOptions>, content: string, answer = "Done.") {
      const verdicts: GuardrailVerdict[] = [];
      const plugin = presidio({
        analyzerUrl: presidioServer.url,
        mode: ["input", "output"],
        action: "mask",
        onVerdict: (verdict) => verdicts.push(verdict),
        ...options,
      });
      const router = new Router({
        models: { chat: [{ provider: "openai-compatible", baseUrl: upstream.url, model: "m" }] },
        plugins: [plugin],
      });
      routers.push(router);
      upstream.always(reply({ text: answer }));
      const { choices } = await router.chat.completions.create({
        model: "chat",
        messages: [{ role: "user", content }],
      });
      const sent = upstream.requests.at(-1)?.body as { messages: { content: string }[] };
      return { sent: sent.messages[0]?.content, answered: choices[0]?.message.content, verdicts };
    }

    it("finds what the analyzer finds, at its offsets, which count code points", async () => {
      const { sent, answered, verdicts } = await through(
        { entities: ["EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE"] },
        "😀 Mail bob@example.com, 😀 card 4111 1111 1111 1111, account DE89370400440532013000.",
        "Sent to 😀 bob@example.com.",
      );
      expect(sent).toBe("😀 Mail [EMAIL_ADDRESS], 😀 card [CREDIT_CARD], account [IBAN_CODE].");
      expect(answered).toBe("Sent to 😀 [EMAIL_ADDRESS].");
      expect(verdicts.map(({ findings }) => findings.length)).toEqual([3, 1]);
    });

    it("hands threshold and allow-list on, and leaves the rest alone", async () => {
      const text = "Call 212-555-5555 or mail bob@example.com or amy@example.com";
      const { sent } = await through(
        { scoreThreshold: 0.9, allowList: ["amy@example.com"], entities: ["EMAIL_ADDRESS", "PHONE_NUMBER"] },
        text,
      );
      expect(sent).toBe("Call 212-555-5555 or mail [EMAIL_ADDRESS] or amy@example.com");
    });

    it("lets the anonymizer say what stands there instead", async () => {
      const { sent } = await through(
        {
          anonymizerUrl: presidioServer.url,
          entities: ["EMAIL_ADDRESS", "CREDIT_CARD"],
          anonymizers: {
            DEFAULT: { type: "replace", new_value: "<removed>" },
            CREDIT_CARD: { type: "mask", masking_char: "*", chars_to_mask: 12, from_end: false },
          },
        },
        "Mail bob@example.com, card 4111111111111111.",
      );
      expect(sent).toBe("Mail <removed>, card ************1111.");
    });

    it("blocks, and refuses where the analyzer cannot look", async () => {
      const sentBefore = upstream.requestCount;
      const refused = (options: Partial<PresidioOptions>) =>
        through({ mode: "input", action: "block", ...options }, "Mail bob@example.com").then(
          () => undefined,
          ({ code }) => code,
        );
      expect(await refused({})).toBe("content_policy_violation");
      expect(await refused({ language: "xx" })).toBe("guardrail_error");
      expect(upstream.requestCount).toBe(sentBefore);
    });

    it("masks a stream as it masks the whole", async () => {
      const text = "Write to bob@example.com today. Or to amy@example.com tomorrow. Nobody else.";
      const router = new Router({
        models: { chat: [{ provider: "openai-compatible", baseUrl: upstream.url, model: "m" }] },
        plugins: [
          presidio({ analyzerUrl: presidioServer.url, mode: "stream", action: "mask", entities: ["EMAIL_ADDRESS"] }),
        ],
      });
      routers.push(router);
      upstream.next(stream({ chunks: text.match(/.{1,7}/gs) ?? [] }));
      let delivered = "";
      const chunks = await router.chat.completions.create({
        model: "chat",
        messages: [{ role: "user", content: "Hi" }],
        stream: true,
      });
      for await (const chunk of chunks) delivered += chunk.choices[0]?.delta.content ?? "";
      expect(delivered).toBe(text.replace(/\S+@\S+/g, "[EMAIL_ADDRESS]"));
    });
  },
  PRESIDIO,
);
