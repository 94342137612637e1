// Prints the counts of a vitest JSON report. A file that could not be collected counts as a failure.
import { existsSync, readFileSync } from "node:fs";

const [, , path] = process.argv;
if (!existsSync(path)) {
  console.log("no test ran\n0 passed, 1 failed, 0 skipped");
  process.exit(1);
}
const report = JSON.parse(readFileSync(path, "utf8"));
const broken = report.testResults.filter((f) => f.status === "failed" && f.assertionResults.length === 0).length;
const failed = report.numFailedTests + broken;
console.log(
  `${report.numPassedTests} passed, ${failed} failed, ${report.numPendingTests + report.numTodoTests} skipped`,
);
process.exitCode = failed > 0 || report.numPassedTests === 0 ? 1 : 0;
