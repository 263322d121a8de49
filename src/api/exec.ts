import { z } from 'zod';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { terminalSize } from './container-lifecycle.ts';
import { carryOverConnection } from './container-streams.ts';
import { parseDetachKeys } from './detach-keys.ts';
import { integer, readBody, words } from './request-body.ts';
import type { Route } from './route.ts';

/** Commands in running containers. */
export const execRoutes: readonly Route[] = [
  { method: 'POST', path: '/containers/{id}/exec', operation: 'ContainerExec', handler: create },
  { method: 'POST', path: '/exec/{id}/start', operation: 'ExecStart', handler: start },
  { method: 'POST', path: '/exec/{id}/resize', operation: 'ExecResize', handler: resize },
  { method: 'GET', path: '/exec/{id}/json', operation: 'ExecInspect', handler: inspect },
];

const consoleSize = z.tuple([integer, integer]).nullish();

const createSchema = z.object({
  AttachStdin: z.boolean().nullish(),
  AttachStdout: z.boolean().nullish(),
  AttachStderr: z.boolean().nullish(),
  Tty: z.boolean().nullish(),
  DetachKeys: z.string().nullish(),
  Cmd: words.nullish(),
  Env: z.array(z.string()).nullish(),
  Privileged: z.boolean().nullish(),
  User: z.string().nullish(),
  WorkingDir: z.string().nullish(),
  ConsoleSize: consoleSize,
});

async function create(call: Call): Promise<void> {
  const asked = await readBody(call, createSchema);
  const command = asked.Cmd ?? [];
  if (command.length === 0) throw invalid('No exec command specified: Cmd is empty');
  const detachKeys = asked.DetachKeys ?? '';
  parseDetachKeys(detachKeys);
  const id = call.parts.exec.create(call.param('id'), {
    AttachStdin: asked.AttachStdin ?? false,
    AttachStdout: asked.AttachStdout ?? false,
    AttachStderr: asked.AttachStderr ?? false,
    Tty: asked.Tty ?? false,
    DetachKeys: detachKeys,
    Cmd: command,
    Env: asked.Env ?? [],
    Privileged: asked.Privileged ?? false,
    User: asked.User ?? '',
    WorkingDir: asked.WorkingDir ?? '',
  });
  call.json(201, { Id: id });
}

const startSchema = z.object({
  Detach: z.boolean().nullish(),
  Tty: z.boolean().nullish(),
  ConsoleSize: consoleSize,
});

async function start(call: Call): Promise<void> {
  const asked = await readBody(call, startSchema);
  const id = call.param('id');
  const { exec } = call.parts;
  const record = exec.inspect(id);
  const [height, width] = asked.ConsoleSize ?? [];
  const session = await exec.start(id, {
    detach: asked.Detach ?? false,
    tty: asked.Tty ?? false,
    ...(height === undefined || width === undefined ? {} : { consoleSize: { height, width } }),
  });
  if (session === undefined) {
    call.empty(200);
    return;
  }
  await carryOverConnection(call, session, parseDetachKeys(record.config.DetachKeys));
}

async function resize(call: Call): Promise<void> {
  await call.parts.exec.resize(call.param('id'), terminalSize(call));
  call.empty(200);
}

function inspect(call: Call): void {
  const record = call.parts.exec.inspect(call.param('id'));
  const { config } = record;
  const [entrypoint = '', ...commandArguments] = config.Cmd;
  call.json(200, {
    ID: record.id,
    Running: record.running,
    ExitCode: record.exitCode,
    ProcessConfig: {
      tty: config.Tty,
      entrypoint,
      arguments: commandArguments,
      privileged: config.Privileged,
      user: config.User,
    },
    OpenStdin: config.AttachStdin,
    OpenStderr: config.AttachStderr,
    OpenStdout: config.AttachStdout,
    CanRemove: false,
    ContainerID: record.containerId,
    DetachKeys: config.DetachKeys,
    Pid: record.pid,
  });
}
