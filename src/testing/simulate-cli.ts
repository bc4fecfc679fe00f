#!/usr/bin/env node
/** The command `switchyard-simulate`: what-if questions from the command line. See docs/simulator.md. */
import { simulateFromCommandLine } from "./simulator/command-line.js";

process.exitCode = await simulateFromCommandLine(process.argv.slice(2), {
  folder: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
});
