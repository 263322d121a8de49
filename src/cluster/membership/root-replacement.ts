import { createRequest } from '#cluster/ca/certificate-request.ts';
import { createExternalAuthority, crossSignExternally } from '#cluster/ca/external-authority.ts';
import { type GoingRoot, goingRoot, rotateRoot } from '#cluster/ca/root-rotation.ts';
import { seal } from '#cluster/ca/sealing.ts';
import type { RootRotation } from '#cluster/control/control-ports.ts';
import { conflict, invalid } from '#model/errors.ts';
import type { SwarmRecord } from '#model/swarm.ts';
import {
  type ClusterAuthorityOptions,
  externalAuthorityOf,
  ROOT_KEY_PURPOSE,
  rootKeyOf,
} from './cluster-authority.ts';

/** Begins the replacement of a cluster's CA. `conflict` while an earlier one has not ended: nodes trust two roots, not three. */
export function rootReplacement(o: ClusterAuthorityOptions & { readonly nodeId: string }): RootRotation {
  return {
    rotate: async (swarm, given) => {
      if (swarm.previousRootCertificate !== undefined)
        throw conflict('the CA is being replaced already', {
          hint: 'It ends when every node has a certificate of the new one; a node that does not come back is to be removed.',
        });
      const { root, ...previous } = await rotateRoot(going(swarm, o), swarm.ID, o.clock.nowMs(), given);
      return {
        ...previous,
        rootCertificate: root.certificate,
        sealedRootKey: root.key === undefined ? '' : seal(Buffer.from(root.key), o.key, ROOT_KEY_PURPOSE),
      };
    },
    tryExternal: async (swarm, rootCertificate, urls) => {
      for (const url of urls) {
        const authority = { urls: [url], rootCertificate, client: o.credentials() };
        const { csr } = await createRequest();
        // for a key that is forgotten at once
        await createExternalAuthority({ clusterId: swarm.ID, authority, clock: o.clock }).issue(
          csr,
          o.nodeId,
          'manager',
        );
      }
    },
  };
}

function going(swarm: SwarmRecord, o: ClusterAuthorityOptions): GoingRoot {
  const { rootCertificate: certificate } = swarm;
  if (swarm.sealedRootKey !== '') return goingRoot({ certificate, key: rootKeyOf(swarm, o.key) });
  return {
    certificate,
    crossSign: async ({ certificate: next, key }) => {
      const authority = externalAuthorityOf(swarm, o);
      if (key === undefined || authority === undefined)
        throw invalid('rotating from one external CA to a different external CA is not supported', {
          hint: "rotate to a CA of the cluster's own first: docker swarm ca --rotate",
        });
      return await crossSignExternally(authority, { certificate: next, key });
    },
  };
}
