import type { NamedGroup, Registry } from "../deployments/registry.js";
import { mentionedModels, type Plugin } from "../plugins/plugin.js";
import type { OptionIssues } from "./option-issues.js";

/**
 * Are the models that plugins name there? One that a plugin calls has to be; to one that it only limits no request may
 * ever go, which is most likely a slip.
 *
 * @returns warnings.
 */
export function checkMentionedModels(
  plugins: readonly Plugin[],
  names: Registry<NamedGroup>,
  issues: OptionIssues,
): readonly string[] {
  return plugins.flatMap((plugin, index) =>
    (plugin[mentionedModels] ?? []).flatMap(({ option, model, isCalled }) => {
      if (names.resolve(model)) return [];
      if (!isCalled)
        return [`\`${option}\` of the plugin "${plugin.name}" names "${model}", and there is no such model.`];
      issues.addUnknownName(["plugins", index, ...option.split(".")], "model", model, names.names);
      return [];
    }),
  );
}
