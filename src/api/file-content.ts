import type { Versioned } from '#cluster/state/tables.ts';
import type { ConfigRecord, SecretRecord } from '#model/secret.ts';

/** What secrets and configs are listed by. */
export const CONTENT_FILTERS: readonly string[] = ['id', 'label', 'name', 'names'];

/** A secret or a config as `docker secret inspect` and `docker config inspect` print it; a secret's record has no content in its spec. */
export function contentView({ record, revision }: Versioned<SecretRecord | ConfigRecord>): object {
  return {
    ID: record.ID,
    Version: { Index: revision },
    CreatedAt: record.CreatedAt,
    UpdatedAt: record.UpdatedAt,
    Spec: { ...record.Spec, Labels: record.Spec.Labels ?? {} },
  };
}
