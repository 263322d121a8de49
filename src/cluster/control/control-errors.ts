import { conflict, type DroverError, invalid, notFound, unavailable } from '#model/errors.ts';

/** Docker's words for what a cluster refuses, without the marks of its internal protocol in front of them. */

export function noSuch(kind: string, reference: string): DroverError {
  return notFound(`${kind} ${reference} not found`);
}

export function ambiguous(kind: string, reference: string, matches: number): DroverError {
  return invalid(`${kind} ${reference} is ambiguous (${matches} matches found)`);
}

export function outOfSequence(): DroverError {
  return invalid('update out of sequence');
}

export function nameTaken(what: string): DroverError {
  return conflict(`${what} already exists`);
}

export function notAManager(): DroverError {
  return unavailable(
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
  );
}

export function onAWorker(): DroverError {
  return unavailable(
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.",
  );
}

export function lockedSwarm(): DroverError {
  return unavailable(
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.',
  );
}

/** Of `docker swarm leave`. */
export function leavesLocked(): DroverError {
  return unavailable(
    'Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message.',
  );
}

/** Of `docker swarm leave`, on one of so many managers. */
export function managerLeaves(managers: number): DroverError {
  const message =
    managers === 1
      ? 'You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message.'
      : `You are attempting to leave the swarm on a node that is participating as a manager. Removing this node leaves ${managers - 1} managers out of ${managers}. Use \`--force\` to leave all the same, or demote it first.`;
  return unavailable(message);
}

export function notInASwarm(): DroverError {
  return unavailable('This node is not part of a swarm');
}

export function alreadyInASwarm(): DroverError {
  return unavailable(
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
  );
}
