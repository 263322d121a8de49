import type { ServiceRecord } from '#model/service.ts';
import type { TaskRecord } from '#model/task.ts';

/** What `docker service ls` shows as replicas. */
export interface ServiceStatus {
  readonly RunningTasks: number;
  /** Of a global job: those that have not completed, to which clients add those that have. */
  readonly DesiredTasks: number;
  /** Of jobs: in the current run. */
  readonly CompletedTasks: number;
}

/** Counts a service's tasks; of a job those of its current run. */
export function serviceStatus(service: ServiceRecord, tasks: Iterable<TaskRecord>): ServiceStatus {
  const run = service.JobStatus?.JobIteration;
  let running = 0;
  let completed = 0;
  let wanted = 0;
  for (const task of tasks) {
    if (run !== undefined && task.JobIteration !== run) continue;
    if (task.Status.State === 'running') running++;
    if (task.Status.State === 'complete') completed++;
    else if (task.DesiredState === 'running' || task.DesiredState === 'complete') wanted++;
  }
  const { Replicated, ReplicatedJob } = service.Spec.Mode ?? {};
  const DesiredTasks = Replicated?.Replicas ?? ReplicatedJob?.MaxConcurrent ?? wanted;
  return { RunningTasks: running, DesiredTasks, CompletedTasks: completed };
}
