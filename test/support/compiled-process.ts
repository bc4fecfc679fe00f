import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build, type Options } from "tsup";
import packageConfig from "../../tsup.config.js";

/** Beneath the repository's packages, which the compiled file imports; of this process alone. */
const FOLDER = fileURLToPath(new URL(`../../node_modules/.cache/switchyard-test-${process.pid}`, import.meta.url));

const compiled = new Map<string, Promise<string>>();

/**
 * Compiles a file of `test/support` into one that Node runs as it is: a process that is killed after a tenth of a second
 * is not to spend two on loading the library module by module.
 *
 * @param name - Without its extension.
 * @returns the compiled file, the same for each call; it is gone when this process is.
 */
export function compiledProcess(name: string): Promise<string> {
  let file = compiled.get(name);
  if (!file) compiled.set(name, (file = compile(name)));
  return file;
}

async function compile(name: string): Promise<string> {
  if (compiled.size === 0) process.once("exit", () => rmSync(FOLDER, { recursive: true, force: true }));
  await build({
    ...(packageConfig as Options), // one configuration, not a list or a function
    config: false,
    entry: { [name]: fileURLToPath(new URL(`./${name}.ts`, import.meta.url)) },
    outDir: FOLDER,
    outExtension: () => ({ js: ".mjs" }),
    dts: false,
    clean: false,
    splitting: false,
    skipNodeModulesBundle: true,
    silent: true,
  });
  return `${FOLDER}/${name}.mjs`;
}
