import type { MountSpec } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { Project, Service } from './project.ts';
import type { ContentKind, ContentReference, ProjectContent } from './project-content.ts';

/** Where a service finds a secret or a config: under /run/secrets, a config under `/`, unless the file says where. */
function contentPath(kind: ContentKind, reference: ContentReference): string {
  const target = reference.target ?? reference.source;
  if (target.startsWith('/')) return target;
  return kind === 'secret' ? `/run/secrets/${target}` : `/${target}`;
}

/**
 * On one machine secrets and configs are the files themselves, mounted read-only: owner and permissions are the file's. `invalid` for
 * content that is in no file.
 */
export function contentMounts(project: Project, service: Service): MountSpec[] {
  const mountsOf = (
    kind: ContentKind,
    references: readonly ContentReference[],
    contents: ReadonlyMap<string, ProjectContent>,
  ): MountSpec[] =>
    references.flatMap((reference) => {
      const content = contents.get(reference.source);
      if (content === undefined) return [];
      const Target = contentPath(kind, reference);
      return [{ Type: 'bind', Source: filePath(kind, content), Target, ReadOnly: true }];
    });
  return [
    ...mountsOf('secret', service.secrets, project.secrets),
    ...mountsOf('config', service.configs, project.configs),
  ];
}

function filePath(kind: ContentKind, { key, place, source }: ProjectContent): string {
  if (source.kind === 'file') return source.path;
  throw invalid(`${place}: ${kind}s.${key}: on one machine a ${kind} is a file: give one with file`);
}
