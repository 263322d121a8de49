import { timingSafeEqual } from 'node:crypto';
import type { Versioned } from '#cluster/state/tables.ts';
import { notImplemented } from '#model/errors.ts';
import type { Filters } from '#model/filters.ts';
import type { SecretRecord, SecretSpec } from '#model/secret.ts';
import { nameTaken } from './control-errors.ts';
import { type ControlPorts, secretPurpose } from './control-ports.ts';
import { checkContentName, checkLabelsOnly, decodeContent, findUnused, listContent } from './file-content.ts';
import { findRecord } from './find-record.ts';
import type { RecordWriter } from './record-writer.ts';

const LIMIT_BYTES = 500 * 1024;

/** Secrets as Docker's API asks for them. Their content goes into the store sealed, and is never given back. */
export class SecretControl {
  readonly #ports: ControlPorts;
  readonly #writer: RecordWriter;

  constructor(ports: ControlPorts, writer: RecordWriter) {
    this.#ports = ports;
    this.#writer = writer;
  }

  /** `data` is base64. `conflict` when the name is another's. Gives the ID. */
  async create(o: { spec: SecretSpec; data: string }): Promise<string> {
    checkContentName(o.spec.Name);
    if (o.spec.Driver !== undefined) throw notImplemented('secret drivers are not there: leave out Driver');
    const content = decodeContent('secret', o.data, LIMIT_BYTES);
    const ID = this.#ports.random.id();
    const sealed = this.#ports.sealer.seal(content, secretPurpose(ID));
    const now = this.#now();
    return await this.#writer.write((view) => {
      if (view.holderOf('secret', o.spec.Name) !== undefined) throw nameTaken(`secret ${o.spec.Name}`);
      const put: SecretRecord = { ID, CreatedAt: now, UpdatedAt: now, Spec: o.spec, sealed };
      return { writes: [{ table: 'secret', put }], result: ID };
    });
  }

  inspect(reference: string): Versioned<SecretRecord> {
    const { view } = this.#ports.follower;
    const record = findRecord(view, 'secret', reference);
    return { record, revision: view.revisionOf('secret', record.ID) };
  }

  list(filters: Filters): Versioned<SecretRecord>[] {
    return listContent(this.#ports.follower.view, 'secret', filters);
  }

  /** Labels only. */
  async update(reference: string, o: { version: number; spec: SecretSpec; data?: string }): Promise<void> {
    const { data = '' } = o;
    await this.#writer.write((view) => {
      const record = findRecord(view, 'secret', reference);
      checkLabelsOnly(view, 'secret', record, {
        version: o.version,
        name: o.spec.Name,
        isSameContent: () => data === '' || this.#holds(record, data),
      });
      const Spec = { ...record.Spec, Labels: o.spec.Labels ?? {} };
      const put = { ...record, Spec, UpdatedAt: this.#now() };
      return { writes: [{ table: 'secret', put }], result: undefined };
    });
  }

  /** `invalid` while services use it. */
  async remove(reference: string): Promise<void> {
    await this.#writer.write((view) => ({
      writes: [{ table: 'secret', delete: findUnused(view, 'secret', reference) }],
      result: undefined,
    }));
  }

  #holds({ ID, sealed }: SecretRecord, data: string): boolean {
    const content = this.#ports.sealer.unseal(sealed, secretPurpose(ID));
    const given = decodeContent('secret', data, LIMIT_BYTES);
    return given.length === content.length && timingSafeEqual(given, content);
  }

  #now(): string {
    return new Date(this.#ports.clock.nowMs()).toISOString();
  }
}
