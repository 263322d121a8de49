import { styleText } from 'node:util';
import { STACK_LABEL } from '#model/stack.ts';
import type { PlannedChange, PlannedTask, ServicePlan, StackPlan } from '#model/stack-plan.ts';

const MARKS = { create: '+', update: '~', recreate: '±', remove: '-', none: ' ' } as const;
const COLOURS = {
  create: 'green',
  update: 'yellow',
  recreate: 'red',
  remove: 'red',
  none: 'dim',
} as const;

const IMAGE_LABEL = `Labels[${STACK_LABEL.image}]`;

/** A plan as people read it; `colour` for terminals. */
export function planText(plan: StackPlan, o: { colour: boolean }): string {
  const paint = (action: ServicePlan['action'], text: string): string =>
    o.colour ? styleText(COLOURS[action], text) : text;
  const objects = plan.objects.map(({ kind, name, action }) =>
    paint(action, `  ${MARKS[action]} ${kind} ${name}`),
  );
  const services = plan.services.filter(({ action }) => action !== 'none');
  const lines = [
    ...plan.problems.map((text) => `! ${text}`),
    ...plan.services.flatMap(({ name, misfit }) =>
      misfit === undefined ? [] : [`! service ${name}: ${misfit}`],
    ),
    ...plan.warnings.map((text) => `warning: ${text}`),
    ...objects,
    ...services.flatMap((service) => [
      paint(service.action, `  ${MARKS[service.action]} service ${service.name}${afterText(service)}`),
      ...details(service, plan.release).map((line) => `      ${line}`),
    ]),
  ];
  return [...lines, ...(lines.length > 0 ? [''] : []), summary(plan), ''].join('\n');
}

function afterText({ after }: ServicePlan): string {
  return after.length === 0 ? '' : ` (after ${after.join(', ')})`;
}

function details(service: ServicePlan, release: number): string[] {
  const { action, restarts, ends, starts, order } = service;
  // the label repeats what the image says
  const changes = service.changes.filter(({ path }) => path !== IMAGE_LABEL);
  const labels = changes.map(({ path }) => fieldName(path));
  const width = Math.max(0, ...labels.map(({ length }) => length));
  const how = action === 'recreate' ? 'all of them end before the new ones start' : order;
  return [
    ...changes.map((change, index) => {
      const drift = change.drift ? `   (changed in the cluster since release ${release})` : '';
      return `${(labels[index] ?? '').padEnd(width)}  ${valueText(change, 'before')} → ${valueText(change, 'after')}${drift}`;
    }),
    ...(restarts.length === 0 ? [] : [`restarts ${taskText(restarts)}, ${how}`]),
    ...(ends.length === 0 ? [] : [`ends ${taskText(ends)}${action === 'recreate' ? `: ${how}` : ''}`]),
    ...(starts === 0 ? [] : [`starts ${count(starts, 'task')}`]),
  ];
}

/** Docker's name of the field, without the objects that it always lies in. */
function fieldName(path: string): string {
  return path.replace(/^(TaskTemplate\.ContainerSpec|TaskTemplate|Mode\.Replicated|EndpointSpec)\./, '');
}

function valueText({ path, ...change }: PlannedChange, side: 'before' | 'after'): string {
  const value = change[side];
  if (value === undefined) return '–';
  if (typeof value !== 'string') return JSON.stringify(value);
  // the name of a variable stands before it already
  return /\.Env\[[^\]]*\]$/.test(path) ? value.slice(value.indexOf('=') + 1) || '""' : value;
}

const SHOWN_TASKS = 8;

function taskText(tasks: readonly PlannedTask[]): string {
  const shown = tasks
    .slice(0, SHOWN_TASKS)
    .map(({ name, node }) => (node === '' ? `${name} (on no node yet)` : `${name} on ${node}`));
  const more = tasks.length > SHOWN_TASKS ? [`${tasks.length - SHOWN_TASKS} more`] : [];
  return `${count(tasks.length, 'task')} (${[...shown, ...more].join(', ')})`;
}

function summary({ stack, release, services, objects }: StackPlan): string {
  const of = (action: ServicePlan['action']): number =>
    services.filter((service) => service.action === action).length;
  const parts = [
    [of('create'), 'to create'],
    [of('update'), 'to update'],
    [of('recreate'), 'to recreate'],
    [of('remove'), 'to remove'],
  ] as const;
  const changes = parts.filter(([number]) => number > 0).map(([number, what]) => `${number} ${what}`);
  if (changes.length === 0 && objects.length === 0)
    return release === 0
      ? `Stack ${stack} has no release; the cluster is as it is to be.`
      : `Stack ${stack}: the cluster is as it is to be, release ${release}.`;
  const tasks = services.reduce((sum, { restarts }) => sum + restarts.length, 0);
  const unchanged = of('none') === 0 ? '' : `, ${of('none')} unchanged`;
  const what = changes.length === 0 ? 'no services change' : `services: ${changes.join(', ')}`;
  return `Stack ${stack}, ${release === 0 ? 'no release yet' : `release ${release}`}: ${what}${unchanged}; ${count(tasks, 'task')} restart${tasks === 1 ? 's' : ''}.`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
