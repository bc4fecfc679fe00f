import { routerError } from "../errors/router-error.js";
import { type AccountReference, isGrowing } from "../protocol/account-references.js";
import { Feature } from "../protocol/features.js";
import type { PooledCandidate } from "../routing/candidates.js";
import { capabilityExclusion } from "../routing/eligibility.js";
import { choiceOf } from "./choose.js";
import { Pin } from "./pin.js";
import type { RequestState } from "./request.js";
import type { GroupState, Runtime } from "./runtime.js";
import { tenantOf } from "./wait-for-slot.js";

/** Ids that an error lists. */
const MAX_LISTED = 20;

/**
 * Finds the owner of what a body refers to: as the caller says (`require.deployment`), else as this router remembers, else
 * because every deployment that could serve the request is of one account. To be asked again after a guard has changed the body.
 *
 * @throws {RouterError} `invalid_request`: the deployment is none of the group's, or nobody knows whose the things are.
 */
export function pinRequest(runtime: Runtime, request: RequestState): void {
  const { group } = request;
  const required = request.call.options?.require?.deployment;
  const stated = required === undefined ? undefined : statedDeployment(request, group, required);
  const { references } = request.checked;
  request.pin = undefined;
  if (references === undefined) return;
  const account = stated?.deployment.account ?? ownerOf(runtime, request, references);
  const pin = new Pin(account, references.some(isGrowing));
  // A limit or a budget has moved it before a guard put the reference there.
  if (request.firstTurn.group !== group && !pin.allows(request.firstTurn.group)) {
    throw refusal(
      request,
      references[0],
      `does not exist where the request was moved to, ${request.firstTurn.group.name}`,
    );
  }
  request.pin = pin;
}

function statedDeployment({ id: requestId }: RequestState, { name, pool }: GroupState, id: string): PooledCandidate {
  const found = pool.candidates.find((candidate) => candidate.id === id);
  if (found) return found;
  throw routerError("invalid_request", {
    requestId,
    param: "require.deployment",
    message: `Expected \`require.deployment\` to be a deployment of ${name}: ${listed(pool.candidates)}; received ${JSON.stringify(id.slice(0, 100))}.`,
  });
}

function ownerOf(runtime: Runtime, request: RequestState, references: readonly AccountReference[]): string | undefined {
  const { group } = request;
  const remembered = rememberedOwner(runtime, request, references);
  if (remembered !== undefined) {
    if (group.pool.candidates.some(({ deployment }) => deployment.account === remembered.account)) {
      return remembered.account;
    }
    throw refusal(request, remembered.reference, `exists at an account that no deployment of ${group.name} has`);
  }
  const choice = choiceOf(runtime, request, { group, captured: request.captured }, true);
  const capable = group.pool.candidates.filter(
    (candidate) =>
      capabilityExclusion(candidate, choice) === undefined &&
      // Whoever leaves it out of the request does not have it.
      (candidate.droppedFeatures(request.operation) & choice.features & Feature.file) === 0,
  );
  const accounts = new Set(capable.map(({ deployment }) => deployment.account));
  if (accounts.size <= 1) return [...accounts][0];
  const allowed = `say which has it with \`require: { deployment }\`, one of ${listed(capable)}`;
  const what = `exists at one account only, and deployments of ${accounts.size} accounts could serve the request`;
  throw refusal(request, references[0], `${what}: ${allowed}`, "require.deployment");
}

/** @throws {RouterError} `invalid_request`: two things exist at two accounts. */
function rememberedOwner(
  { owners }: Runtime,
  request: RequestState,
  references: readonly AccountReference[],
): { readonly account: string; readonly reference: AccountReference } | undefined {
  let owner: { readonly account: string; readonly reference: AccountReference } | undefined;
  for (const reference of references) {
    const account = reference.kind === "audio" ? owners.accountOf(tenantOf(request), reference.id) : undefined;
    if (account === undefined) continue;
    if (owner !== undefined && owner.account !== account) {
      throw refusal(request, reference, `exists at another account than what \`${owner.reference.param}\` refers to`);
    }
    owner ??= { account, reference };
  }
  return owner;
}

function refusal(request: RequestState, reference: AccountReference | undefined, what: string, param?: string) {
  const at = reference?.param ?? "messages";
  const message = `What \`${at}\` refers to ${what}.`;
  return routerError("invalid_request", { requestId: request.id, param: param ?? at, message });
}

function listed(candidates: readonly PooledCandidate[]): string {
  const ids = candidates.slice(0, MAX_LISTED).map(({ id }) => id);
  return ids.join(", ") + (candidates.length > MAX_LISTED ? " …" : "");
}
