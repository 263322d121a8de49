import { DroverError } from '#model/errors.ts';

/** A process that could not be started; `exitCode` is what a shell would say: 126 not executable, 127 not found. */
export class StartFailure extends DroverError {
  override readonly exitCode: 126 | 127 | 128;

  constructor(exitCode: 126 | 127 | 128, message: string) {
    super('invalid', message);
    this.name = 'StartFailure';
    this.exitCode = exitCode;
  }
}

/** The runtime's words as Docker passes them on; its clients tell 126 from 127 by the texts in it. */
export function startFailure(runtimeMessage: string, program: string): StartFailure {
  const prefix =
    'failed to create task for container: failed to create shim task: OCI runtime create failed: ';
  return describeFailure(prefix, runtimeMessage, program);
}

/** The same for an exec. */
export function execFailure(runtimeMessage: string, program: string): StartFailure {
  return describeFailure('OCI runtime exec failed: exec failed: ', runtimeMessage, program);
}

function describeFailure(prefix: string, runtimeMessage: string, program: string): StartFailure {
  const quoted = JSON.stringify(program);
  const text = runtimeMessage.toLowerCase();
  if (/executable file .*not found|executable file not found/.test(text)) {
    return new StartFailure(127, `${prefix}exec: ${quoted}: executable file not found in $PATH: unknown`);
  }
  if (/no such file or directory/.test(text)) {
    return new StartFailure(
      127,
      `${prefix}exec: ${quoted}: stat ${program}: no such file or directory: ${runtimeMessage}: unknown`,
    );
  }
  if (
    /permission denied|operation not permitted|is a directory|exec format error|not a regular file/.test(text)
  ) {
    const reason = /is a directory/.test(text)
      ? 'is a directory'
      : /exec format/.test(text)
        ? 'exec format error'
        : 'permission denied';
    return new StartFailure(126, `${prefix}exec: ${quoted}: ${reason}: unknown`);
  }
  return new StartFailure(128, `${prefix}${runtimeMessage}: unknown`);
}
