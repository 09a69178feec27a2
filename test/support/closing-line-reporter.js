/** Ends a test run with one plain line: "N passed, N failed, N skipped". */
export class ClosingLineReporter {
  onRunComplete(_contexts, { numPassedTests, numFailedTests, numPendingTests, numRuntimeErrorTestSuites }) {
    const numFailed = numFailedTests + numRuntimeErrorTestSuites;
    process.stdout.write(`\n${numPassedTests} passed, ${numFailed} failed, ${numPendingTests} skipped\n`);
  }
}
// jest loads reporters by their default export.
export { ClosingLineReporter as default };
