import type { Versioned } from '#cluster/state/tables.ts';
import type { Filters } from '#model/filters.ts';
import type { ConfigRecord } from '#model/secret.ts';
import { nameTaken } from './control-errors.ts';
import type { ControlPorts } from './control-ports.ts';
import { checkContentName, checkLabelsOnly, decodeContent, findUnused, listContent } from './file-content.ts';
import { findRecord } from './find-record.ts';
import type { RecordWriter } from './record-writer.ts';

const LIMIT_BYTES = 1000 * 1024;

export type ConfigSpec = ConfigRecord['Spec'];

/** Configs as Docker's API asks for them. */
export class ConfigControl {
  readonly #ports: ControlPorts;
  readonly #writer: RecordWriter;

  constructor(ports: ControlPorts, writer: RecordWriter) {
    this.#ports = ports;
    this.#writer = writer;
  }

  /** `conflict` when the name is another's. Gives the ID. */
  async create(spec: ConfigSpec): Promise<string> {
    checkContentName(spec.Name);
    const Data = decodeContent('config', spec.Data, LIMIT_BYTES).toString('base64');
    const ID = this.#ports.random.id();
    const now = this.#now();
    return await this.#writer.write((view) => {
      if (view.holderOf('config', spec.Name) !== undefined) throw nameTaken(`config ${spec.Name}`);
      const put: ConfigRecord = { ID, CreatedAt: now, UpdatedAt: now, Spec: { ...spec, Data } };
      return { writes: [{ table: 'config', put }], result: ID };
    });
  }

  inspect(reference: string): Versioned<ConfigRecord> {
    const { view } = this.#ports.follower;
    const record = findRecord(view, 'config', reference);
    return { record, revision: view.revisionOf('config', record.ID) };
  }

  list(filters: Filters): Versioned<ConfigRecord>[] {
    return listContent(this.#ports.follower.view, 'config', filters);
  }

  /** Labels only. */
  async update(reference: string, o: { version: number; spec: ConfigSpec }): Promise<void> {
    const { Name, Data, Labels } = o.spec;
    await this.#writer.write((view) => {
      const record = findRecord(view, 'config', reference);
      checkLabelsOnly(view, 'config', record, {
        version: o.version,
        name: Name,
        isSameContent: () => Data === '' || Data === record.Spec.Data,
      });
      const put = { ...record, Spec: { ...record.Spec, Labels: Labels ?? {} }, UpdatedAt: this.#now() };
      return { writes: [{ table: 'config', put }], result: undefined };
    });
  }

  /** `invalid` while services use it. */
  async remove(reference: string): Promise<void> {
    await this.#writer.write((view) => ({
      writes: [{ table: 'config', delete: findUnused(view, 'config', reference) }],
      result: undefined,
    }));
  }

  #now(): string {
    return new Date(this.#ports.clock.nowMs()).toISOString();
  }
}
