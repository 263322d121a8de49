import { getSystemErrorMap } from 'node:util';

/** A system call that failed, with the kernel's reason. */
export class SystemCallError extends Error {
  /** Symbolic name such as `ENOENT`. */
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number, subject?: string) {
    const [code, description] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, 'unknown error'];
    super(`${syscall}${subject === undefined ? '' : ` ${subject}`}: ${description} (${code})`);
    this.name = 'SystemCallError';
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** Whether `error` is a failed system call (ours or node's) with one of these codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
