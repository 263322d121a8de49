/** The library that makes certificates. It is loaded at the first call, so that a daemon outside a cluster does not pay for it. */
export async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  // the library's own injector needs it to be there first
  await import('reflect-metadata');
  return import('@peculiar/x509');
}
