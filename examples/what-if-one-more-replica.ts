/** You will see: what a third replica, or the loss of one, would do to the time to the first token. */
import { htmlReport, type Incident, poisson, progressBar, replica, simulate, textReport } from "llm-switchyard/testing";

// Your own configuration: the simulation puts models in the place of the engines.
const gpus = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    id: `gpu-${index}`,
    provider: "vllm" as const,
    baseUrl: `http://gpu-${index}:8000`,
    model: "qwen3-8b",
    maxParallel: 64,
  }));

const isGone: Incident = { fromMs: 30_000, untilMs: 90_000, isLost: true };
const common = { workload: poisson({ rate: 11 }), durationMs: 90_000, warmUpMs: 15_000, onProgress: progressBar() };

const reports = {
  "two replicas": await simulate({
    ...common,
    router: { models: { chat: gpus(2) } },
    upstreams: { "*": replica() },
  }),
  "one more": await simulate({
    ...common,
    router: { models: { chat: gpus(3) } },
    upstreams: { "*": replica() },
  }),
  "three, one of which is lost": await simulate({
    ...common,
    router: { models: { chat: gpus(3) } },
    upstreams: { "gpu-0": replica({ incidents: [isGone] }), "*": replica() },
  }),
};

console.log(textReport(reports));
const page = htmlReport(reports, "One more replica?");
console.log(`The same with charts is a page of ${Math.round(page.length / 1_000)} kB: write it to a file, or mail it.`);
