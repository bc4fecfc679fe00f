import type { Deployment } from "../deployments/deployment.js";
import { wireModel } from "../deployments/registry.js";
import type { ModelFacts, PricedModel } from "../tokens/price-book.js";
import type { Price } from "../tokens/pricing.js";
import type { Settings } from "./settings.js";

/** @param captured - What a wildcard group puts in the place of `*`. */
export function pricedModel(deployment: Deployment, captured: string | undefined): PricedModel {
  const { provider, price, upstream } = deployment;
  const baseUrl = upstream.kind === "wire" ? upstream.origin : undefined;
  return { provider: provider.name, model: wireModel(deployment, captured), baseUrl, price };
}

/** @param at - Unix milliseconds. @returns `undefined`: unpriced, which is not free (R16). */
export function priceOf(
  { priceBook }: Settings,
  deployment: Deployment,
  captured: string | undefined,
  at: number,
): Price | undefined {
  return deployment.price ?? priceBook.priceFor(pricedModel(deployment, captured), at);
}

export function factsOf({ priceBook }: Settings, deployment: Deployment, captured: string | undefined): ModelFacts {
  return priceBook.factsFor(pricedModel(deployment, captured));
}
