import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { resolveInRoot } from '#engine/layers/resolve-in-root.ts';
import { RootedDirectory } from '#linux/rooted-directory.ts';

export const SPDX_DOCUMENT = 'https://spdx.dev/Document';

/** A package that an image holds. */
export interface FoundPackage {
  ecosystem: 'deb' | 'apk' | 'npm';
  name: string;
  version: string;
  architecture: string | undefined;
  license: string | undefined;
  /** The package it was built from, where that has another name. */
  source: string | undefined;
}

const LARGEST_DATABASE = 64 * 1024 * 1024;
const LARGEST_MANIFEST = 4 * 1024 * 1024;
/** Directories are looked into this deep for node_modules. */
const DEEPEST = 24;
const MOST_PACKAGES = 100_000;

/** The packages that the databases of dpkg, apk and npm in a root file system name. Links are resolved inside. */
function findPackages(root: string): FoundPackage[] {
  const found = [...dpkgPackages(root), ...apkPackages(root), ...npmPackages(root)].slice(0, MOST_PACKAGES);
  const unique = new Map(found.map((each) => [`${each.ecosystem}/${each.name}@${each.version}`, each]));
  return [...unique.values()].sort((a, b) => (purlOf(a, undefined) < purlOf(b, undefined) ? -1 : 1));
}

/** Empty where there is no such file, or one that is too large. */
function readInside(root: string, path: string, limit: number): string {
  using directory = new RootedDirectory(root);
  const data = directory.readFile(path, limit);
  return data === undefined || data.length > limit ? '' : data.toString('utf8');
}

function dpkgPackages(root: string): FoundPackage[] {
  // Images without dpkg keep one file a package.
  const directory = resolveInRoot(root, 'var/lib/dpkg/status.d');
  const parts =
    directory !== undefined && statSync(directory).isDirectory()
      ? readdirSync(directory)
          .filter((name) => !name.endsWith('.md5sums'))
          .sort()
          .map((name) => readInside(root, `var/lib/dpkg/status.d/${name}`, LARGEST_MANIFEST))
      : [];
  const text = [readInside(root, 'var/lib/dpkg/status', LARGEST_DATABASE), ...parts].join('\n\n');
  return text.split(/\n{2,}/).flatMap((paragraph): FoundPackage[] => {
    const field = (key: string): string | undefined => new RegExp(`^${key}: (.*)$`, 'm').exec(paragraph)?.[1];
    const name = field('Package');
    const version = field('Version');
    const status = field('Status');
    const isInstalled = status === undefined || status.endsWith(' installed');
    if (name === undefined || version === undefined || !isInstalled) return [];
    const source = field('Source')?.split(' ', 1)[0];
    return [
      { ecosystem: 'deb', name, version, architecture: field('Architecture'), license: undefined, source },
    ];
  });
}

/** apk's installed database: one letter a field, paragraphs parted by a blank line. */
function apkPackages(root: string): FoundPackage[] {
  const text =
    readInside(root, 'lib/apk/db/installed', LARGEST_DATABASE) ||
    readInside(root, 'usr/lib/apk/db/installed', LARGEST_DATABASE);
  return text.split(/\n{2,}/).flatMap((paragraph): FoundPackage[] => {
    const field = (key: string): string | undefined => new RegExp(`^${key}:(.*)$`, 'm').exec(paragraph)?.[1];
    const name = field('P');
    const version = field('V');
    if (name === undefined || version === undefined) return [];
    return [
      { ecosystem: 'apk', name, version, architecture: field('A'), license: field('L'), source: field('o') },
    ];
  });
}

function npmPackages(root: string): FoundPackage[] {
  const found: FoundPackage[] = [];
  const visit = (directory: string, depth: number): void => {
    if (depth > DEEPEST || found.length > MOST_PACKAGES) return;
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (!entry.isDirectory() || ['proc', 'sys', 'dev'].includes(entry.name)) continue;
      const path = join(directory, entry.name);
      if (entry.name === 'node_modules') modules(path);
      visit(path, depth + 1);
    }
  };
  const modules = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const path = join(directory, entry.name);
      if (entry.name.startsWith('@')) modules(path);
      else {
        const one = npmPackage(join(path, 'package.json'));
        if (one !== undefined) found.push(one);
      }
    }
  };
  visit(root, 0);
  return found;
}

function npmPackage(file: string): FoundPackage | undefined {
  const stats = lstatSync(file, { throwIfNoEntry: false });
  if (stats === undefined || !stats.isFile() || stats.size > LARGEST_MANIFEST) return undefined;
  let manifest: { name?: unknown; version?: unknown; license?: unknown } | null;
  try {
    manifest = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    // A test fixture of some package, as a rule.
    return undefined;
  }
  if (typeof manifest !== 'object' || manifest === null) return undefined;
  const { name, version, license } = manifest;
  if (typeof name !== 'string' || typeof version !== 'string') return undefined;
  return {
    ecosystem: 'npm',
    name,
    version,
    architecture: undefined,
    license: typeof license === 'string' ? license : undefined,
    source: undefined,
  };
}

/** The package URL specification's name of a package. */
function purlOf(found: FoundPackage, distribution: string | undefined): string {
  const { ecosystem, name, version, architecture } = found;
  if (ecosystem === 'npm') return `pkg:npm/${name.replace(/^@/, '%40')}@${encodeURIComponent(version)}`;
  const vendor = distribution ?? (ecosystem === 'deb' ? 'debian' : 'alpine');
  const query = architecture === undefined ? '' : `?arch=${architecture}`;
  return `pkg:${ecosystem}/${vendor}/${name}@${encodeURIComponent(version)}${query}`;
}

export interface BillTask {
  name: string;
  root: string;
  /** RFC 3339. */
  created: string;
  toolVersion: string;
}

/** {@link spdxDocument} in a thread of its own: it looks at every directory there is. */
export function spdxInWorker(task: BillTask): Promise<object> {
  const { promise, resolve, reject } = Promise.withResolvers<object>();
  const worker = new Worker(new URL('./software-bill-worker.ts', import.meta.url), { workerData: task });
  worker.once('message', resolve);
  worker.once('error', reject);
  worker.once('exit', () => reject(new Error('the bill of materials was not finished')));
  return promise;
}

/** An SPDX 2.3 document of the packages in a root file system. */
export function spdxDocument(o: BillTask): object {
  const distribution = /^ID="?([^"\n]+)"?$/m.exec(
    readInside(o.root, 'etc/os-release', LARGEST_MANIFEST),
  )?.[1];
  const packages = findPackages(o.root);
  const described = packages.map((found) => ({
    SPDXID: `SPDXRef-Package-${found.ecosystem}-${createHash('sha256').update(`${found.name}@${found.version}`).digest('hex').slice(0, 16)}`,
    name: found.name,
    versionInfo: found.version,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: found.license ?? 'NOASSERTION',
    copyrightText: 'NOASSERTION',
    ...(found.source === undefined ? {} : { sourceInfo: `built from package: ${found.source}` }),
    externalRefs: [
      {
        referenceCategory: 'PACKAGE-MANAGER',
        referenceType: 'purl',
        referenceLocator: purlOf(found, distribution),
      },
    ],
  }));
  const root = {
    SPDXID: 'SPDXRef-DocumentRoot-Image',
    name: o.name,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: 'NOASSERTION',
    copyrightText: 'NOASSERTION',
    primaryPackagePurpose: 'CONTAINER',
  };
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: o.name,
    documentNamespace: `urn:drover:sbom:${createHash('sha256').update(JSON.stringify(described)).digest('hex')}`,
    creationInfo: { created: o.created.replace(/\.\d+Z$/, 'Z'), creators: [`Tool: drover-${o.toolVersion}`] },
    packages: [root, ...described],
    relationships: [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: root.SPDXID },
      ...described.map(({ SPDXID }) => ({
        spdxElementId: root.SPDXID,
        relationshipType: 'CONTAINS',
        relatedSpdxElement: SPDXID,
      })),
    ],
  };
}
