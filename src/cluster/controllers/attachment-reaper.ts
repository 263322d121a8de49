import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import { type Controller, type Decision, type DecisionContext, NOTHING } from './controller.ts';
import { ORPHAN_AFTER_MS } from './reaper.ts';

/** Whoever asked for a place that has no address by then is not waiting any more. */
const UNANSWERED_MS = 60_000;

/**
 * Deletes attachments that nobody gives back: those of nodes that were removed, of nodes that are lost for as long as tasks are kept,
 * and those that never came to be. Keys are their IDs. What a node has in excess it gives back itself.
 */
export class AttachmentReaper implements Controller {
  readonly name = 'attachment-reaper';
  readonly #fencedInMs: (nodeId: string) => number;
  /** Without an address → since when this leader knows of it: whoever made it may have another date. */
  readonly #unanswered = new Map<string, number>();

  /** `fencedInMs`: how long what runs on a node that was removed may go on. */
  constructor(o: { fencedInMs: (nodeId: string) => number }) {
    this.#fencedInMs = o.fencedInMs;
  }

  *keysOf(change: ViewChange, view: ClusterView): Iterable<string> {
    if (change.table === 'attachment') {
      if (change.after?.address !== '') this.#unanswered.delete(change.id);
      yield change.id;
    }
    if (change.table === 'node') for (const { ID } of view.attachmentsOnNode(change.id)) yield ID;
  }

  reconcile(view: ClusterView, key: string, { nowMs }: DecisionContext): Decision {
    const attachment = view.get('attachment', key);
    const againAtMs = attachment && this.#endOf(view, attachment, nowMs);
    if (againAtMs === undefined) return NOTHING;
    return againAtMs <= nowMs
      ? { writes: [{ table: 'attachment', delete: key }] }
      : { writes: [], againAtMs };
  }

  /** When it goes if nothing changes; undefined while its node answers for it. */
  #endOf(
    view: ClusterView,
    { ID, nodeId, networkId, address }: AttachmentRecord,
    nowMs: number,
  ): number | undefined {
    if (view.get('network', networkId) === undefined) return nowMs;
    const node = view.get('node', nodeId);
    if (node === undefined) return nowMs + this.#fencedInMs(nodeId);
    if (address === '') {
      const sinceMs = this.#unanswered.get(ID) ?? nowMs;
      this.#unanswered.set(ID, sinceMs);
      return sinceMs + UNANSWERED_MS;
    }
    return node.Status.State === 'down' ? Date.parse(node.Status.since) + ORPHAN_AFTER_MS : undefined;
  }
}
