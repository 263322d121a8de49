export type EventType =
  | 'container'
  | 'image'
  | 'network'
  | 'volume'
  | 'daemon'
  | 'builder'
  | 'service'
  | 'node'
  | 'secret'
  | 'config';

/** One event as `docker events` shows it. */
export interface EngineEvent {
  Type: EventType;
  /** `create`, `start`, `die`, `exec_create: sh`, `health_status: healthy`, … */
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  /** `swarm`: of the whole cluster, told by every manager. */
  scope: 'local' | 'swarm';
  /** Seconds since the epoch. */
  time: number;
  /** Nanoseconds since the epoch; a float, exact to about 200 ns, as JSON clients read it. */
  timeNano: number;
}
