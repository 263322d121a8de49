import type { ContainerRuntime, ExecHandle } from '#engine/runtime/container-runtime.ts';
import { capabilitiesOf, ociProcess } from '#engine/runtime/oci-specification.ts';
import { lookUpUser } from '#engine/runtime/user-lookup.ts';
import type { ContainerRecord } from '#model/container.ts';
import type { ExecConfig } from './exec-config.ts';

/** Starts a command in a running container. Errors of the runtime carry an exit code of 126 or 127. */
export function startExec(
  runtime: ContainerRuntime,
  record: ContainerRecord,
  o: { execId: string; config: ExecConfig; rootfs: string },
): Promise<ExecHandle> {
  const { config } = o;
  const { hostConfig } = record;
  const privileged = config.Privileged || hostConfig.Privileged;
  const process = ociProcess({
    container: record,
    args: config.Cmd,
    env: mergedEnvironment(config.Env, record.config.Env),
    cwd: config.WorkingDir || record.config.WorkingDir,
    user: lookUpUser(o.rootfs, config.User || record.config.User, hostConfig.GroupAdd ?? []),
    terminal: config.Tty,
    capabilities: capabilitiesOf({ ...hostConfig, Privileged: privileged }, runtime.heldCapabilities),
  });
  return runtime.exec({
    containerId: record.id,
    execId: o.execId,
    process,
    terminal: config.Tty,
    stdin: config.AttachStdin,
  });
}

/** The container's variables, those of the command in their places; a name without `=` takes a variable away. */
export function mergedEnvironment(own: readonly string[], container: readonly string[]): string[] {
  const variables = new Map<string, string>();
  for (const variable of [...container, ...own]) {
    const name = variable.split('=', 1)[0] ?? '';
    if (variable.includes('=')) variables.set(name, variable);
    else variables.delete(name);
  }
  return [...variables.values()];
}
