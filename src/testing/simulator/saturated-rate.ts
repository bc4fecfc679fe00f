import { seededRandom } from "../../internal/random.js";
import { drawLognormal } from "./distributions.js";
import type { UpstreamModel } from "./model.js";
import { SimulationClock } from "./simulation-clock.js";
import type { RequestSizes } from "./workload.js";

/** Requests that wait all the time. */
const BACKLOG = 128;
const WARM_UP_MS = 120_000;
const MEASURED_MS = 1_200_000;

/** Requests per second that one upstream completes when more always wait: what "load 1.0" means. */
export async function saturatedRate(model: UpstreamModel, sizes: RequestSizes): Promise<number> {
  const clock = new SimulationClock();
  const random = seededRandom(1);
  const atWork = model.create(clock, seededRandom(2));
  let completed = 0;
  const submit = () => {
    atWork.start({
      promptTokens: Math.max(1, Math.round(drawLognormal(sizes.prompt, random))),
      outputTokens: Math.max(1, Math.round(drawLognormal(sizes.output, random))),
      blocks: [],
      promptBlocks: 0,
      onFirstToken: () => {},
      onEnd() {
        if (clock.now() >= WARM_UP_MS) completed += 1;
        submit();
      },
      onError: submit,
    });
  };
  for (let job = 0; job < BACKLOG; job++) submit();
  const isOver = () => clock.now() >= WARM_UP_MS + MEASURED_MS;
  await clock.run(isOver, Number.POSITIVE_INFINITY);
  return completed / (MEASURED_MS / 1_000);
}
