import type { NodeEntry } from '#cluster/control/node-control.ts';
import type { NodeDescription } from '#model/node.ts';

/** A node as `docker node inspect` prints it. */
export function nodeView({ record, revision, isLeader }: NodeEntry): object {
  const { Spec, Description, ManagerStatus } = record;
  const { since: _since, ...Status } = record.Status;
  return {
    ID: record.ID,
    Version: { Index: revision },
    CreatedAt: record.CreatedAt,
    UpdatedAt: record.UpdatedAt,
    Spec: { ...Spec, Labels: Spec.Labels ?? {} },
    Description: Description === undefined ? {} : descriptionView(Description),
    Status,
    ...(ManagerStatus === undefined
      ? {}
      : {
          ManagerStatus: {
            ...(isLeader ? { Leader: true } : {}),
            Reachability: Status.State === 'ready' ? 'reachable' : 'unreachable',
            Addr: ManagerStatus.Addr,
          },
        }),
  };
}

/** Without what only the scheduler looks at. */
function descriptionView({
  images: _images,
  volumes: _volumes,
  encryption: _encryption,
  ...shown
}: NodeDescription): object {
  return shown;
}
