import { parseArgs } from 'node:util';
import { measureLeader } from './leader-scale.ts';
import { leaderReport } from './scale-report.ts';

const USAGE = `npm run bench:leader -- [--nodes N] [--tasks N,N,…] [--format table|json]

The whole leader over simulated nodes that do at once what they are told: controllers, scheduler, store in memory. How many
tasks a second come to run, what one failing task costs among more and more of them, a rolling update of 10,000 tasks,
and a tenth of the nodes lost at once.

  npm run bench:leader
  npm run bench:leader -- --tasks 1000,10000 --format json
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '5000' },
      tasks: { type: 'string', default: '1000,10000,100000,1000000' },
      format: { type: 'string', default: 'table' },
      help: { type: 'boolean', default: false },
    },
  });
  const nodes = Number(values.nodes);
  const sizes = values.tasks.split(',').map(Number);
  const isUnderstood =
    [nodes, ...sizes].every((count) => Number.isInteger(count) && count > 0) &&
    ['table', 'json'].includes(values.format);
  if (values.help || !isUnderstood) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  const results = await measureLeader({
    ...{ nodes, sizes, tasksOfService: 1000 },
    progress: (text) => console.error(text),
  });
  console.log(values.format === 'json' ? JSON.stringify(results, null, 2) : leaderReport(results));
  return 0;
}

process.exitCode = await main();
