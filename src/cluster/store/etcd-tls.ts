import { readFileSync, statSync } from 'node:fs';
import type { EtcdTlsFiles } from './etcd-arguments.ts';
import type { EtcdTls } from './etcd-client.ts';

/** What the files hold, read again when one of them was replaced. */
export function tlsOf(files: EtcdTlsFiles): () => EtcdTls {
  let known: { readonly stamp: string; readonly tls: EtcdTls } | undefined;
  return () => {
    const stamp = [files.ca, files.cert, files.key].map(stampOf).join(' ');
    if (known?.stamp !== stamp) {
      const [ca = '', cert = '', key = ''] = [files.ca, files.cert, files.key].map((file) =>
        readFileSync(file, 'utf8'),
      );
      known = { stamp, tls: { ca, cert, key } };
    }
    return known.tls;
  };
}

function stampOf(file: string): string {
  const { ino, mtimeMs, size } = statSync(file);
  return `${ino}:${mtimeMs}:${size}`;
}
