import type { DeploymentRequirement, PluginRequest } from "./plugin.js";

/**
 * Where a plugin may send the text of a request, in a request of its own to another group: where the caller lets the
 * request itself go. The id of a deployment is left out: it names one of the group that the caller asked.
 *
 * @returns `undefined`: anywhere.
 */
export function requiredPlace({ require }: PluginRequest): DeploymentRequirement | undefined {
  const { tags = [], region } = require ?? {};
  if (tags.length === 0 && region === undefined) return undefined;
  return { tags, region };
}
