import { readFileSync } from 'node:fs';
import { hasCode } from '#linux/system-call-error.ts';
import type { OciSpecification } from './oci-specification.ts';

/** crun(1): raw BPF, in base64, in place of the profile. */
const ANNOTATION = 'run.oci.seccomp_bpf_data';
const MOST_KEPT = 32;

/**
 * Seccomp filters as crun compiled them, by profile: compiling one takes longer than all else that crun does for a container.
 * Kept in memory, the most recently made ones.
 */
export class CompiledSeccompFilters {
  readonly #filters = new Map<string, string>();

  /** The specification with its filter compiled already, where one like it was made before. */
  apply(specification: OciSpecification): OciSpecification {
    const key = keyOf(specification);
    const filter = key === undefined ? undefined : this.#filters.get(key);
    if (filter === undefined) return specification;
    return {
      ...specification,
      annotations: { ...specification.annotations, [ANNOTATION]: filter },
      // Not read, but for time lost; and nothing would run under it should the annotation not be known any more.
      linux: { ...specification.linux, seccomp: { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [] } },
    };
  }

  /** Keeps what crun made of a specification's profile: `path` is the `seccomp.bpf` of the container's state. */
  learn(specification: OciSpecification, path: string): void {
    const key = keyOf(specification);
    if (key === undefined || this.#filters.has(key)) return;
    try {
      this.#filters.set(key, readFileSync(path, 'base64'));
    } catch (error) {
      // Another version of crun may keep it elsewhere: then each container's filter is compiled.
      if (!hasCode(error, 'ENOENT')) throw error;
      return;
    }
    const [oldest] = this.#filters.keys();
    if (this.#filters.size > MOST_KEPT && oldest !== undefined) this.#filters.delete(oldest);
  }
}

/** Undefined where there is nothing to compile, or the user's own filter is asked for. */
function keyOf({ linux, annotations }: OciSpecification): string | undefined {
  if (linux.seccomp === undefined || ANNOTATION in annotations) return undefined;
  return JSON.stringify(linux.seccomp);
}
