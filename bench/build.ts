/**
 * Compiles the library and the processes of a run as the package is compiled. A loader that compiles on the fly may
 * wrap each function (esbuild's `keepNames`), which would slow all variants, and unevenly.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build, type Options } from "tsup";
import packageConfig from "../tsup.config.js";

const folder = fileURLToPath(new URL(".", import.meta.url));

// Beneath the dependencies of each: the library is measured with its own undici, the peers with what they bring.
const outputFolder = fileURLToPath(new URL("../node_modules/.cache/switchyard-bench", import.meta.url));
const peerOutputFolder = `${folder}node_modules/.cache/switchyard-bench`;

/** Where CPU profiles go. */
export const profileFolder = `${outputFolder}/profiles`;

/** The compiled file of an entry: `subject`, `upstream`, `load`. */
export function entryFile(name: string): string {
  return `${outputFolder}/${name}.mjs`;
}

/** The same where the packages of `bench/` are found. */
export function peerEntryFile(name: string): string {
  return `${peerOutputFolder}/${name}.mjs`;
}

/** `npm install --prefix bench` has been run. */
export const arePeersInstalled = existsSync(`${folder}node_modules/ai`);

export async function buildEntries(names: readonly string[]): Promise<void> {
  for (const outDir of arePeersInstalled ? [outputFolder, peerOutputFolder] : [outputFolder]) {
    await build({
      ...(packageConfig as Options), // one configuration, not a list or a function
      config: false,
      entry: Object.fromEntries(names.map((name) => [name, `${folder}${name}.ts`])),
      outDir,
      outExtension: () => ({ js: ".mjs" }),
      dts: false,
      // Profiles are read in terms of the source.
      sourcemap: true,
      skipNodeModulesBundle: true,
      silent: true,
    });
  }
}
