import { invalid } from '#model/errors.ts';

/** A version of Docker's API as one number: 1.51 is 1051. */
export type ApiVersion = number;

export const LATEST_API_VERSION = '1.51';
export const OLDEST_API_VERSION = '1.24';

const LATEST = 1051;
const OLDEST = 1024;

/** Splits `/v1.43/info` into its version and `/info`; without a prefix the version is the latest. */
export function splitVersion(path: string): { version: string; path: string } {
  const match = /^\/v([0-9][0-9.]*)(\/.*)$/.exec(path);
  return match === null
    ? { version: LATEST_API_VERSION, path }
    : { version: match[1] ?? LATEST_API_VERSION, path: match[2] ?? '/' };
}

/** `invalid` in Docker's words when the daemon does not speak that version. */
export function parseVersion(text: string): ApiVersion {
  const [major = '0', minor = '0'] = text.split('.');
  const version = Number(major) * 1000 + Number(minor);
  if (version > LATEST) {
    throw invalid(
      `client version ${text} is too new. Maximum supported API version is ${LATEST_API_VERSION}`,
    );
  }
  if (!(version >= OLDEST)) {
    throw invalid(
      `client version ${text} is too old. Minimum supported API version is ${OLDEST_API_VERSION}, please upgrade your client to a newer version`,
    );
  }
  return version;
}
