import { digestOf } from '#engine/blobs/blob-store.ts';
import { notImplemented } from '#model/errors.ts';
import { bytesList, bytesMap, type Message, message, part, parts, text } from './protobuf.ts';

/** LLB's pb.Op, as far as a source and what ends a graph have it. */
interface Op {
  inputs: { digest?: string }[];
  source: { identifier?: string } | undefined;
}

const Op: Message<Op> = message({
  inputs: parts(1, message<{ digest: string }>({ digest: text(1) })),
  source: part(3, message<{ identifier: string }>({ identifier: text(1) })),
});

/** LLB's pb.Definition: the operations of a graph, encoded, the last of which ends it. */
export interface Definition {
  def: Uint8Array[];
  /** Of each operation, by its digest: clients take no graph without. */
  metadata: Record<string, Uint8Array>;
}

export const Definition: Message<Definition> = message({ def: bytesList(1), metadata: bytesMap(2) });

const SCHEME = 'docker-image://';

/** A built image as a graph that a client can hand to another build. */
export function definitionOf(imageId: string): Definition {
  const source = Op.encode({ source: { identifier: SCHEME + imageId } });
  const end = Op.encode({ inputs: [{ digest: digestOf(source) }] });
  const none = new Uint8Array();
  return { def: [source, end], metadata: { [digestOf(source)]: none, [digestOf(end)]: none } };
}

/** The image that such a graph is of; other graphs are not built here. */
export function imageOf(definition: Uint8Array): string {
  const sources = Definition.decode(definition).def.flatMap(
    (data) => Op.decode(data).source?.identifier ?? [],
  );
  const [only = '', other] = sources;
  if (other === undefined && /^docker-image:\/\/sha256:[0-9a-f]{64}$/.test(only))
    return only.slice(SCHEME.length);
  throw notImplemented("LLB of a client's own is not supported: Drover builds Dockerfiles");
}
