import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { openDatabase, transaction } from '#engine/records/database-file.ts';

/** A manifest in a repository. */
export interface CataloguedManifest {
  digest: string;
  mediaType: string;
  size: number;
  /** Digest of the manifest that this one is about. */
  subject: string | undefined;
  artifactType: string | undefined;
  annotations: Record<string, string>;
  pushedAt: string;
}

export interface CataloguedTag {
  name: string;
  digest: string;
  updatedAt: string;
}

const TABLES = `
CREATE TABLE IF NOT EXISTS repositories (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (repository TEXT, digest TEXT, size INTEGER NOT NULL, linked_at INTEGER NOT NULL,
  PRIMARY KEY (repository, digest)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS manifests (repository TEXT, digest TEXT, media_type TEXT NOT NULL, size INTEGER NOT NULL,
  subject TEXT, artifact_type TEXT, annotations TEXT NOT NULL, pushed_at INTEGER NOT NULL,
  PRIMARY KEY (repository, digest)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS subjects ON manifests (repository, subject) WHERE subject IS NOT NULL;
CREATE TABLE IF NOT EXISTS parts (repository TEXT, manifest TEXT, digest TEXT,
  PRIMARY KEY (repository, manifest, digest)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS parts_by_digest ON parts (repository, digest);
CREATE TABLE IF NOT EXISTS tags (repository TEXT, name TEXT, digest TEXT NOT NULL, updated_at INTEGER NOT NULL,
  PRIMARY KEY (repository, name)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, repository TEXT NOT NULL, used_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`;

type Row = Record<string, SQLInputValue>;

/**
 * What a registry has, in one SQLite file: repositories, the blobs linked into each, manifests and their parts, tags, uploads.
 * All calls are synchronous; what is returned is on its way to disk (WAL).
 */
export class RegistryCatalogue implements Disposable {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();

  constructor(file: string) {
    this.#database = openDatabase(file, TABLES);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  /** In the order of their bytes; those after `after`. */
  repositories(o: { after?: string } = {}): string[] {
    return this.#all('SELECT name FROM repositories WHERE name > ? ORDER BY name', [o.after ?? '']).map(
      (row) => String(row['name']),
    );
  }

  hasRepository(name: string): boolean {
    return this.#all('SELECT 1 FROM repositories WHERE name = ?', [name]).length > 0;
  }

  blobSize(repository: string, digest: string): number | undefined {
    const [row] = this.#all('SELECT size FROM blobs WHERE repository = ? AND digest = ?', [
      repository,
      digest,
    ]);
    return row === undefined ? undefined : Number(row['size']);
  }

  linkBlob(repository: string, digest: string, size: number): void {
    this.#run('INSERT OR IGNORE INTO repositories VALUES (?)', [repository]);
    this.#run('INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?)', [repository, digest, size, Date.now()]);
  }

  unlinkBlob(repository: string, digest: string): boolean {
    return this.#run('DELETE FROM blobs WHERE repository = ? AND digest = ?', [repository, digest]) > 0;
  }

  /** Another repository that has the blob linked. */
  repositoriesOfBlob(digest: string): string[] {
    return this.#all('SELECT repository FROM blobs WHERE digest = ?', [digest]).map((row) =>
      String(row['repository']),
    );
  }

  /** Bytes linked into the repositories that a GLOB pattern names, each blob once. */
  bytesOf(pattern: string): number {
    const [row] = this.#all(
      'SELECT coalesce(sum(size), 0) AS bytes FROM (SELECT DISTINCT digest, size FROM blobs WHERE repository GLOB ?)',
      [pattern],
    );
    return Number(row?.['bytes'] ?? 0);
  }

  manifest(repository: string, digest: string): CataloguedManifest | undefined {
    const [row] = this.#all('SELECT * FROM manifests WHERE repository = ? AND digest = ?', [
      repository,
      digest,
    ]);
    return row === undefined ? undefined : manifestOf(row);
  }

  referrers(repository: string, subject: string): CataloguedManifest[] {
    return this.#all(
      'SELECT * FROM manifests WHERE repository = ? AND subject = ? ORDER BY pushed_at, digest',
      [repository, subject],
    ).map(manifestOf);
  }

  /** A manifest, the digests it names, and the tags that mean it from now on: all or nothing. */
  putManifest(
    repository: string,
    manifest: Omit<CataloguedManifest, 'pushedAt'>,
    o: { parts: readonly string[]; tags: readonly string[] },
  ): void {
    transaction(this.#database, () => {
      const now = Date.now();
      this.#run('INSERT OR IGNORE INTO repositories VALUES (?)', [repository]);
      this.#run('INSERT OR IGNORE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?)', [
        repository,
        manifest.digest,
        manifest.mediaType,
        manifest.size,
        manifest.subject ?? null,
        manifest.artifactType ?? null,
        JSON.stringify(manifest.annotations),
        now,
      ]);
      for (const digest of o.parts)
        this.#run('INSERT OR IGNORE INTO parts VALUES (?, ?, ?)', [repository, manifest.digest, digest]);
      for (const tag of o.tags)
        this.#run('INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)', [repository, tag, manifest.digest, now]);
    });
  }

  /** With the tags that mean it. */
  deleteManifest(repository: string, digest: string): void {
    transaction(this.#database, () => {
      this.#run('DELETE FROM tags WHERE repository = ? AND digest = ?', [repository, digest]);
      this.#run('DELETE FROM parts WHERE repository = ? AND manifest = ?', [repository, digest]);
      this.#run('DELETE FROM manifests WHERE repository = ? AND digest = ?', [repository, digest]);
    });
  }

  /** In the order of their bytes; after `after`, `limit` of them. */
  tags(repository: string, o: { after?: string; limit?: number } = {}): CataloguedTag[] {
    return this.#all('SELECT * FROM tags WHERE repository = ? AND name > ? ORDER BY name LIMIT ?', [
      repository,
      o.after ?? '',
      o.limit ?? -1,
    ]).map((row) => ({
      name: String(row['name']),
      digest: String(row['digest']),
      updatedAt: new Date(Number(row['updated_at'])).toISOString(),
    }));
  }

  tag(repository: string, name: string): CataloguedTag | undefined {
    const [row] = this.#all('SELECT * FROM tags WHERE repository = ? AND name = ?', [repository, name]);
    if (row === undefined) return undefined;
    return {
      name,
      digest: String(row['digest']),
      updatedAt: new Date(Number(row['updated_at'])).toISOString(),
    };
  }

  deleteTag(repository: string, name: string): void {
    this.#run('DELETE FROM tags WHERE repository = ? AND name = ?', [repository, name]);
  }

  putUpload(id: string, repository: string): void {
    this.#run('INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)', [id, repository, Date.now()]);
  }

  uploadRepository(id: string): string | undefined {
    const [row] = this.#all('SELECT repository FROM uploads WHERE id = ?', [id]);
    return row === undefined ? undefined : String(row['repository']);
  }

  deleteUpload(id: string): void {
    this.#run('DELETE FROM uploads WHERE id = ?', [id]);
  }

  uploadsUsedBefore(timeMs: number): string[] {
    return this.#all('SELECT id FROM uploads WHERE used_at < ?', [timeMs]).map((row) => String(row['id']));
  }

  /** Unlinks the blobs that no manifest of their repository names and that were linked before `timeMs`. */
  unlinkUnused(timeMs: number): void {
    this.#run(
      `DELETE FROM blobs WHERE linked_at < ? AND NOT EXISTS
        (SELECT 1 FROM parts WHERE parts.repository = blobs.repository AND parts.digest = blobs.digest)`,
      [timeMs],
    );
    this.#run(
      `DELETE FROM repositories WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE repository = name)
        AND NOT EXISTS (SELECT 1 FROM manifests WHERE repository = name)`,
      [],
    );
  }

  /** Every digest whose content has to be kept. */
  *digests(): Generator<string> {
    for (const table of ['blobs', 'manifests'])
      for (const row of this.#all(`SELECT DISTINCT digest FROM ${table}`, [])) yield String(row['digest']);
  }

  counts(): { repositories: number; tags: number; manifests: number; blobs: number; bytes: number } {
    const [row] = this.#all(
      `SELECT (SELECT count(*) FROM repositories) AS repositories, (SELECT count(*) FROM tags) AS tags,
        (SELECT count(*) FROM manifests) AS manifests, (SELECT count(DISTINCT digest) FROM blobs) AS blobs`,
      [],
    );
    return {
      repositories: Number(row?.['repositories']),
      tags: Number(row?.['tags']),
      manifests: Number(row?.['manifests']),
      blobs: Number(row?.['blobs']),
      bytes: this.bytesOf('*'),
    };
  }

  #prepared(sql: string): ReturnType<DatabaseSync['prepare']> {
    const known = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.set(sql, known);
    return known;
  }

  #all(sql: string, values: SQLInputValue[]): Row[] {
    return this.#prepared(sql).all(...values);
  }

  /** Gives the number of rows changed. */
  #run(sql: string, values: SQLInputValue[]): number {
    return Number(this.#prepared(sql).run(...values).changes);
  }
}

function manifestOf(row: Row): CataloguedManifest {
  const annotations: Record<string, string> = JSON.parse(String(row['annotations']));
  return {
    digest: String(row['digest']),
    mediaType: String(row['media_type']),
    size: Number(row['size']),
    subject: row['subject'] === null ? undefined : String(row['subject']),
    artifactType: row['artifact_type'] === null ? undefined : String(row['artifact_type']),
    annotations,
    pushedAt: new Date(Number(row['pushed_at'])).toISOString(),
  };
}
