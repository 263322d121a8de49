import { runCommand } from '#engine/runtime/process-launcher.ts';
import { internal } from '#model/errors.ts';
import { type ProcessTable, parseProcessTable, psArguments } from './process-table.ts';

/** Asks the host's ps(1) about a container's processes, as Docker does. `text` are ps's own arguments. */
export async function listProcesses(pids: readonly number[], text: string): Promise<ProcessTable> {
  const words = psArguments(text);
  const { code, stdout, stderr } = await runCommand('ps', words);
  if (code !== 0) throw internal(`Error running ps: ${stderr.trim() || `exit status ${code}`}`);
  return parseProcessTable(stdout, new Set(pids));
}
