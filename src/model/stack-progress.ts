import type { ReleaseStatus } from './release.ts';

/** How far one service of a release is. */
export interface StackServiceProgress {
  name: string;
  /** `waiting`: for those it depends on; `settled`: its tasks run, or of a job are completed. */
  state: 'waiting' | 'moving' | 'settled' | 'failed';
  /** Tasks that run as the release wants them; of a job those that are completed. */
  running: number;
  wanted: number;
  /** `updating`, `rollback_started` and so on; empty where there is no update. */
  update: string;
  /** What it waits for, or why it failed; may be empty. */
  reason: string;
}

/** How far the deployment of a release is, as a stream of these tells it. */
export interface StackProgress {
  stack: string;
  release: number;
  status: ReleaseStatus;
  services: StackServiceProgress[];
}
