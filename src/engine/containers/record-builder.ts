import { type ContainerRecord, CREATED } from '#model/container.ts';
import { completeConfig } from './container-config.ts';
import { completeHostConfig } from './host-config.ts';

/** A created container for tests of decisions: a valid record, changed where the test says so. */
export function containerRecord(change: Partial<ContainerRecord> = {}): ContainerRecord {
  return {
    id: '0123456789abcdef'.repeat(4),
    name: 'test',
    created: '2026-01-01T00:00:00Z',
    imageId: `sha256:${'0'.repeat(64)}`,
    path: 'true',
    args: [],
    config: completeConfig({ asked: { Cmd: ['true'], Image: 'busybox' }, image: {}, hostname: 'test' }),
    hostConfig: completeHostConfig({}, { cpus: 2, cgroupVersion: 2, runtimeName: 'crun' }),
    networks: {},
    mounts: [],
    state: { ...CREATED },
    restartCount: 0,
    stoppedByUser: false,
    ports: {},
    ...change,
  };
}
