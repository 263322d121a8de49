import { z } from 'zod';
import { DroverError, forbidden, invalid, notFound, unavailable } from '#model/errors.ts';

const ErrorBody = z.object({
  errors: z.array(z.object({ code: z.string().nullish(), message: z.string().nullish() })).nullish(),
  details: z.string().nullish(),
  message: z.string().nullish(),
});

/** A registry's answer that is no success, as an error in Docker's words. */
export function registryError(o: {
  status: number;
  body: string;
  what: string;
  retryAfterSeconds: number | undefined;
}): DroverError {
  const said = messageOfBody(o.body);
  const message = `${o.what}: ${said === '' ? `unexpected status ${o.status}` : said}`;
  switch (o.status) {
    case 401:
      return new DroverError('unauthorized', said === '' ? `${o.what}: authentication required` : message, {
        hint: 'Log in with: docker login',
      });
    case 403:
      return forbidden(said === '' ? `${o.what}: access is denied` : message);
    case 404:
      return notFound(said === '' ? `${o.what}: not found` : message);
    case 429:
      return unavailable(
        `toomanyrequests: ${message}${o.retryAfterSeconds === undefined ? '' : `; the registry asks to wait ${o.retryAfterSeconds} s`}`,
      );
    default:
      return o.status >= 500 ? unavailable(message) : invalid(message);
  }
}

function messageOfBody(body: string): string {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    // A proxy's page says nothing to a person reading an error.
    return '';
  }
  const parsed = ErrorBody.safeParse(value);
  if (!parsed.success) return '';
  const { errors, details, message } = parsed.data;
  const first = errors?.[0];
  if (first === undefined) return details ?? message ?? '';
  return [first.code?.toLowerCase().replaceAll('_', ' '), first.message].filter(Boolean).join(': ');
}
