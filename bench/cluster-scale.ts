import { parseArgs } from 'node:util';
import { measureScale } from './cluster-simulation.ts';
import { scaleReport } from './scale-report.ts';

const USAGE = `npm run bench:cluster -- [--nodes N] [--services N] [--tasks N] [--round N] [--format table|json]

Places tasks on simulated nodes under mixed constraints: how many a second, overall and for each tenth; what the change of a
single task costs in clusters of different sizes; what losing a tenth of the nodes takes; memory.

  npm run bench:cluster
  npm run bench:cluster -- --services 100 --format json
`;

function main(): number {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '5000' },
      services: { type: 'string', default: '1000' },
      tasks: { type: 'string', default: '1000' },
      round: { type: 'string', default: '1000' },
      format: { type: 'string', default: 'table' },
      help: { type: 'boolean', default: false },
    },
  });
  const [nodes = 0, services = 0, tasks = 0, round = 0] = [
    values.nodes,
    values.services,
    values.tasks,
    values.round,
  ].map(Number);
  const counts = [nodes, services, tasks, round];
  const isUnderstood =
    counts.every((count) => Number.isInteger(count) && count > 0) &&
    ['table', 'json'].includes(values.format);
  if (values.help || !isUnderstood) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  const results = measureScale({ nodes, services, tasks, round, progress: (text) => console.error(text) });
  console.log(values.format === 'json' ? JSON.stringify(results, null, 2) : scaleReport(results));
  return 0;
}

process.exitCode = main();
