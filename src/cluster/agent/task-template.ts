import { invalid } from '#model/errors.ts';
import { type AssignedTask, containerNameOf } from './assigned-task.ts';

const ACTION = /\{\{([^{}]*)\}\}/g;

/**
 * Fills in Docker's templates of services (`docker service create --hostname '{{.Node.Hostname}}'`). A label that the service does
 * not have is empty. Throws `invalid` that names what is no placeholder of Docker's.
 */
export function expandTemplate(text: string, task: AssignedTask): string {
  return text.replaceAll(ACTION, (action: string, expression: string) => {
    const value = placeholderValue(expression.trim(), task);
    if (value === undefined) {
      throw invalid(`expanding template: ${action} is not known`, {
        hint: `There are: ${PLACEHOLDERS.join(' ')}`,
      });
    }
    return value;
  });
}

const PLACEHOLDERS: readonly string[] = [
  '{{.Service.ID}}',
  '{{.Service.Name}}',
  '{{.Service.Labels.KEY}}',
  '{{index .Service.Labels "KEY"}}',
  '{{.Node.ID}}',
  '{{.Node.Hostname}}',
  '{{.Task.ID}}',
  '{{.Task.Name}}',
  '{{.Task.Slot}}',
];

function placeholderValue(expression: string, task: AssignedTask): string | undefined {
  const label =
    /^\.Service\.Labels\.([\w]+)$/.exec(expression) ??
    /^index\s+\.Service\.Labels\s+["`]([^"`]*)["`]$/.exec(expression);
  if (label !== null) return labelOf(task, label[1] ?? '');
  switch (expression) {
    case '.Service.ID':
      return task.serviceId;
    case '.Service.Name':
      return task.serviceName;
    case '.Node.ID':
      return task.nodeId;
    case '.Node.Hostname':
      return task.nodeHostname;
    case '.Task.ID':
      return task.id;
    case '.Task.Name':
      return containerNameOf(task);
    case '.Task.Slot':
      // a global service's task is told from the others by its node
      return task.slot === 0 ? task.nodeId : String(task.slot);
    default:
      return undefined;
  }
}

function labelOf({ serviceLabels }: AssignedTask, key: string): string {
  return Object.hasOwn(serviceLabels, key) ? (serviceLabels[key] ?? '') : '';
}
