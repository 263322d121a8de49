import { type ContainerState, NEVER } from '#model/container.ts';
import { humanDuration } from './human-duration.ts';

/** The STATUS column of `docker ps`: `Up 3 seconds (healthy)`, `Exited (1) 2 hours ago`. */
export function statusText(state: ContainerState, nowMs: number): string {
  const since = (time: string): string => humanDuration(nowMs - Date.parse(time));
  if (state.Restarting) return `Restarting (${state.ExitCode}) ${since(state.FinishedAt)} ago`;
  if (state.Paused) return `Up ${since(state.StartedAt)} (Paused)`;
  if (state.Running) return `Up ${since(state.StartedAt)}${healthSuffix(state)}`;
  if (state.Status === 'removing') return 'Removal In Progress';
  if (state.Dead) return 'Dead';
  if (state.StartedAt === NEVER || state.StartedAt === '') return 'Created';
  if (state.FinishedAt === NEVER || state.FinishedAt === '') return '';
  return `Exited (${state.ExitCode}) ${since(state.FinishedAt)} ago`;
}

function healthSuffix(state: ContainerState): string {
  const status = state.Health?.Status ?? 'none';
  if (status === 'none') return '';
  return status === 'starting' ? ' (health: starting)' : ` (${status})`;
}
