import { type DeploymentOptions, Router, RouterError } from "../../src/index.js";
import { table } from "./table.js";

interface Output {
  say(text?: string): void;
  heading(text: string): void;
}

/** A deployment of a model that is really there. */
interface Found {
  readonly name: string;
  readonly deployment: DeploymentOptions;
}

/** How long an engine on this machine may take to say that it is there. */
const PROBE_MS = 1_000;

/** Sends one question to every model that answers: public ones by key, engines on their usual ports. */
export async function runLive({ say, heading }: Output): Promise<void> {
  heading("Looking for models");
  const found = [...publicModels(), ...(await localModels())];
  if (found.length === 0) {
    say("  Nothing found. Set OPENAI_API_KEY, or start Ollama, vLLM, LocalAI or GPUStack on this machine.");
    return;
  }
  for (const { name, deployment } of found) say(`  ${name}: ${deployment.model}`);

  const router = new Router({
    models: Object.fromEntries(found.map(({ name, deployment }) => [name, [deployment]])),
  });
  heading("One question to each");
  const rows = [];
  for (const { name } of found) {
    try {
      const { data, routing } = await router.chat.completions
        .create(
          {
            model: name,
            messages: [{ role: "user", content: "Say hello in five words." }],
            max_completion_tokens: 200,
          },
          { deadlineMs: 120_000 },
        )
        .withRouting();
      const answer = data.choices[0]?.message.content?.trim().slice(0, 60) ?? "";
      rows.push({ model: name, ms: Math.round(routing.durationMs ?? 0), answer });
    } catch (error) {
      if (!RouterError.isRouterError(error)) throw error;
      rows.push({ model: name, ms: 0, answer: `${error.code}: ${error.message.slice(0, 80)}` });
    }
  }
  say(table(rows));
  await router.close();
}

function publicModels(): Found[] {
  const { OPENAI_API_KEY } = process.env;
  if (!OPENAI_API_KEY) return [];
  return [{ name: "openai", deployment: { provider: "openai", model: "gpt-4o-mini", apiKey: OPENAI_API_KEY } }];
}

async function localModels(): Promise<Found[]> {
  const { GPUSTACK_API_KEY } = process.env;
  const engines: readonly { name: DeploymentOptions["provider"]; baseUrl: string; apiKey?: string | undefined }[] = [
    { name: "ollama", baseUrl: "http://127.0.0.1:11434/v1" },
    { name: "vllm", baseUrl: "http://127.0.0.1:8000/v1" },
    { name: "localai", baseUrl: "http://127.0.0.1:8080/v1" },
    { name: "gpustack", baseUrl: "http://127.0.0.1/v1", apiKey: GPUSTACK_API_KEY },
  ];
  const found = await Promise.all(
    engines.map(async ({ name, baseUrl, apiKey }): Promise<Found | undefined> => {
      const model = await firstModel(baseUrl, apiKey);
      if (model === undefined) return undefined;
      return { name: String(name), deployment: { provider: name, baseUrl, model, ...(apiKey ? { apiKey } : {}) } };
    }),
  );
  return found.filter((entry) => entry !== undefined);
}

/** The first model that a server lists; `undefined` if none answers there. */
async function firstModel(baseUrl: string, apiKey: string | undefined): Promise<string | undefined> {
  try {
    const response = await fetch(`${baseUrl}/models`, {
      signal: AbortSignal.timeout(PROBE_MS),
      headers: apiKey ? { authorization: `Bearer ${apiKey}` } : {},
    });
    const list: unknown = await response.json();
    const [first] = (list as { data?: { id?: unknown }[] }).data ?? [];
    return typeof first?.id === "string" ? first.id : undefined;
  } catch {
    return undefined;
  }
}
