import { parseArgs } from 'node:util';
import { runScenario } from './scenario.ts';

/**
 * Runs simulations: `--seeds N` of them from `--from S`, or one `--seed S` with its trace. Ends with 1 at the first that fails, which
 * is named so that it can be run again.
 */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1000' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      keep: { type: 'boolean', default: false },
    },
  });
  const numbers = [values.from, values.seeds, values.seed ?? '1'].map(Number);
  if (!numbers.every((number) => Number.isInteger(number) && number > 0)) {
    console.error('--seeds, --from and --seed are numbers of 1 or more');
    return 2;
  }
  if (values.seed !== undefined) return await replay(Number(values.seed));
  const [from = 1, count = 0] = numbers;
  const failed: number[] = [];
  for (let seed = from; seed < from + count; seed++) {
    try {
      await runScenario(seed);
    } catch (error) {
      console.error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`);
      failed.push(seed);
      if (!values.keep) break;
    }
  }
  console.log(
    failed.length === 0 ? `${values.seeds} seeds from ${from}: all well` : `failed: ${failed.join(' ')}`,
  );
  return failed.length === 0 ? 0 : 1;
}

async function replay(seed: number): Promise<number> {
  try {
    await runScenario(seed, (line) => console.log(line));
    return 0;
  } catch (error) {
    console.error(error);
    return 1;
  }
}

process.exitCode = await main();
