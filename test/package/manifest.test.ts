import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const manifest = JSON.parse(read("package.json")) as {
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  engines: { node: string };
};

describe("package.json", () => {
  it("S44: has no install scripts, and a reason for every dependency", () => {
    const hooks = ["preinstall", "install", "postinstall", "prepare", "prepublish"];
    expect(Object.keys(manifest.scripts).filter((name) => hooks.includes(name))).toEqual([]);
    const reasons = [...read("docs/dependencies.md").matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
    expect(reasons.sort()).toEqual(Object.keys(manifest.dependencies).sort());
  });

  it("S44: locks every package with its integrity", () => {
    const { packages } = JSON.parse(read("package-lock.json")) as {
      packages: Record<string, { integrity?: string; link?: boolean; hasInstallScript?: boolean; dev?: boolean }>;
    };
    const entries = Object.entries(packages).filter(([path]) => path !== "");
    expect(entries.filter(([, { integrity, link }]) => !integrity && !link).map(([path]) => path)).toEqual([]);
    expect(entries.filter(([, { hasInstallScript, dev }]) => hasInstallScript && !dev).map(([path]) => path)).toEqual(
      [],
    );
  });

  it("S35: names the runtime floor of the strictest dependency", () => {
    const floor = (range: string) => /(\d+)\.(\d+)/.exec(range)?.slice(1).map(Number) ?? [0, 0];
    const [major = 0, minor = 0] = floor(manifest.engines.node);
    for (const name of Object.keys(manifest.dependencies)) {
      const { engines } = JSON.parse(read(`node_modules/${name}/package.json`)) as { engines?: { node?: string } };
      const [needsMajor = 0, needsMinor = 0] = floor(engines?.node ?? "");
      expect(major * 1000 + minor, name).toBeGreaterThanOrEqual(needsMajor * 1000 + needsMinor);
    }
  });

  it("S46: packs the same bytes twice, and nothing but what users need", { timeout: 60_000 }, () => {
    const pack = () =>
      (
        JSON.parse(
          execFileSync("npm", ["pack", "--dry-run", "--json"], {
            cwd: ROOT,
            encoding: "utf8",
            stdio: ["ignore", "pipe", "ignore"],
          }),
        ) as { integrity: string; files: { path: string }[] }[]
      )[0];
    const [first, second] = [pack(), pack()];
    expect(first?.integrity).toBe(second?.integrity);
    const allowed = /^(?:dist\/|docs\/|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$|SECURITY\.md$)/;
    expect(first?.files.map(({ path }) => path).filter((path) => !allowed.test(path))).toEqual([]);
  });
});
