import { referenceSocket } from '../support/docker-host.ts';

/** Where Debian's dockerd 20.10, the reference, does otherwise than this suite asks, and why we do not follow it. */
const KNOWN_DIFFERENCES = {
  'copy-owner': 'dockerd 20.10 looks the container’s user up among the host’s',
  'create-checks':
    'dockerd finds out about some of these only when the container starts, or has other words for them',
  'exec-privileged':
    'runc 1.1 gives an exec more than the process may have where CAP_SYS_RESOURCE is missing, and fails',
  'exec-127':
    'dockerd 20.10 gives 126 for every exec that does not start; run, and later versions, tell 127 apart',
  'exec-closes-output':
    'dockerd answers when the output is closed, and the CLI takes the exit code that is not there yet for 0',
  'mac-address': 'the CLI asks for it by network, which needs API 1.44; dockerd 20.10 has 1.41',
  'limit-checks': 'dockerd finds out about some of these only when the container starts',
  subpath: 'a path in a volume needs API 1.45; dockerd 20.10 has 1.41',
  privileged: 'runc 1.1 fails where CAP_SYS_RESOURCE is missing and every capability is asked for',
} as const;

/** The options of a test that the reference is not asked to pass. */
export function differs(reason: keyof typeof KNOWN_DIFFERENCES): { skip?: string } {
  return referenceSocket() === undefined ? {} : { skip: KNOWN_DIFFERENCES[reason] };
}
