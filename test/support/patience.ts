/**
 * A limit of a test on the machine it runs on: longer where each instruction is computed (scripts/run-in-machine.ts). Limits are there
 * to end what hangs; a test measures nothing by them.
 */
export function patience(ms: number): number {
  return ms * Number(process.env['DROVER_TEST_PATIENCE'] ?? 1);
}
