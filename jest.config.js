import { tmpdir } from "node:os";
import { join } from "node:path";

// What tests convert does not belong into the developer's own cache.
process.env.SHARDRUN_CACHE = join(tmpdir(), "shardrun-test-cache");

/** Unit, conformance, world and golden tests; real processes run the compiled dist/, so build before testing. */
export default {
  testMatch: ["<rootDir>/test/**/*.test.ts"],
  testPathIgnorePatterns: ["/node_modules/", "<rootDir>/test/soak/"],
  extensionsToTreatAsEsm: [".ts"],
  testEnvironment: "node",
  reporters: ["default", "<rootDir>/test/support/closing-line-reporter.js"],
  testTimeout: 60_000,
  maxWorkers: 2,
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { parser: { syntax: "typescript" }, target: "es2023" }, module: { type: "es6" } },
    ],
  },
};
