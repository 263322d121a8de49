import { type ImageIndex, type ImageManifest, manifestKind } from '#engine/images/image-documents.ts';
import type { CataloguedManifest, CataloguedTag } from './registry-catalogue.ts';
import { humanBytes, shortDigest } from './transfer-progress.ts';

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --soft: light-dark(#5c6370, #a3aab5); --accent: light-dark(#1d4ed8, #8ab4ff); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem; font: 16px/1.5 system-ui, sans-serif; }
header { display: flex; align-items: baseline; gap: 1rem; margin-bottom: 1.5rem; }
h1 { font-size: 1.35rem; margin: 0; overflow-wrap: anywhere; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { color: var(--soft); }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-size: .8rem; text-transform: uppercase; letter-spacing: .04em; color: var(--soft); }
th, td { padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:first-child { min-width: 5rem; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
.empty { color: var(--soft); padding: 2rem 0; }
`;

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

function page(title: string, nav: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body><header><h1>${escapeHtml(title)}</h1><nav>${nav}</nav></header>${body}</body></html>
`;
}

const HOME = '<a href="/">all repositories</a>';

function repositoryLink(name: string): string {
  return `<a href="/r/${encodeURI(name)}">${escapeHtml(name)}</a>`;
}

/** The registry's first page. */
export function repositoriesPage(
  repositories: readonly { name: string; tags: number; bytes: number; updatedAt: string }[],
): string {
  const rows = repositories.map(
    ({ name, tags, bytes, updatedAt }) =>
      `<tr><td>${repositoryLink(name)}</td><td class="number">${tags}</td><td class="number">${humanBytes(bytes)}</td><td class="number">${day(updatedAt)}</td></tr>`,
  );
  const table = `<table><thead><tr><th>Repository</th><th class="number">Tags</th><th class="number">Size</th><th class="number">Last push</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
  const empty = '<p class="empty">Nothing has been pushed yet.</p>';
  return page('Registry', '', repositories.length === 0 ? empty : table);
}

/** A repository's tags. */
export function repositoryPage(
  name: string,
  tags: readonly (CataloguedTag & { bytes: number; kind: string })[],
): string {
  const rows = tags.map(
    (tag) =>
      `<tr><td><a href="/r/${encodeURI(name)}:${encodeURIComponent(tag.name)}">${escapeHtml(tag.name)}</a></td><td><code>${shortDigest(tag.digest)}</code></td><td>${escapeHtml(tag.kind)}</td><td class="number">${humanBytes(tag.bytes)}</td><td class="number">${day(tag.updatedAt)}</td></tr>`,
  );
  const body =
    tags.length === 0
      ? '<p class="empty">No tags.</p>'
      : `<table><thead><tr><th>Tag</th><th>Digest</th><th>Kind</th><th class="number">Size</th><th class="number">Pushed</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
  return page(name, HOME, body);
}

/** What a tag means: its layers, or the images it chooses from. */
export function manifestPage(
  name: string,
  tag: string,
  manifest: CataloguedManifest,
  document: ImageManifest | ImageIndex,
): string {
  const parts =
    'layers' in document
      ? document.layers.map((layer, index) => ({
          title: `layer ${index + 1}`,
          digest: layer.digest,
          size: layer.size,
          note: layer.mediaType ?? '',
        }))
      : document.manifests.map((each) => ({
          title: each.platform ? `${each.platform.os}/${each.platform.architecture}` : 'manifest',
          digest: each.digest,
          size: each.size,
          note: each.mediaType ?? '',
        }));
  const rows = parts.map(
    ({ title, digest, size, note }) =>
      `<tr><td>${escapeHtml(title)}</td><td><code>${escapeHtml(digest)}</code></td><td>${escapeHtml(note.replace(/^application\/vnd\./, ''))}</td><td class="number">${humanBytes(size)}</td></tr>`,
  );
  const head = `<p><code>${manifest.digest}</code><br>${escapeHtml(manifest.mediaType)}, pushed ${day(manifest.pushedAt)}</p>`;
  return page(
    `${name}:${tag}`,
    `${HOME} / ${repositoryLink(name)}`,
    `${head}<table><thead><tr><th>Part</th><th>Digest</th><th>Type</th><th class="number">Size</th></tr></thead><tbody>${rows.join('')}</tbody></table>`,
  );
}

/** How the page names what a manifest is. */
export function kindName(data: Buffer, mediaType: string): string {
  return manifestKind(data, mediaType) === 'index' ? 'several platforms' : 'image';
}

function day(time: string): string {
  return time === '' ? '' : time.slice(0, 16).replace('T', ' ');
}
