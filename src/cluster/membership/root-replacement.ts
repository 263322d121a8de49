import { rotateRoot } from '#cluster/ca/root-rotation.ts';
import { type SealingKey, seal, unseal } from '#cluster/ca/sealing.ts';
import type { RootRotation } from '#cluster/control/control-ports.ts';
import type { Clock } from '#control/clock.ts';
import { conflict } from '#model/errors.ts';

/** What the CA's key is sealed for, so that no other sealed text can stand in for it. */
export const ROOT_KEY_PURPOSE = 'swarm/root-key';

/** Begins the replacement of a cluster's CA. `conflict` while an earlier one has not ended: nodes trust two roots, not three. */
export function rootReplacement(o: { readonly key: SealingKey; readonly clock: Clock }): RootRotation {
  return {
    rotate: async (swarm, given) => {
      if (swarm.previousRootCertificate !== undefined)
        throw conflict('the CA is being replaced already', {
          hint: 'It ends when every node has a certificate of the new one; a node that does not come back is to be removed.',
        });
      const current = {
        certificate: swarm.rootCertificate,
        key: unseal(swarm.sealedRootKey, [o.key], ROOT_KEY_PURPOSE).toString('utf8'),
      };
      const { root, ...previous } = await rotateRoot(current, swarm.ID, o.clock.nowMs(), given);
      return {
        ...previous,
        rootCertificate: root.certificate,
        sealedRootKey: seal(Buffer.from(root.key), o.key, ROOT_KEY_PURPOSE),
      };
    },
  };
}
