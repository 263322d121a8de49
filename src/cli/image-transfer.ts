import type { ApiClient } from './api-client.ts';
import { registryAuthHeader, registryOf } from './registry-credentials.ts';
import { TransferView } from './transfer-view.ts';

/** `drover push`. */
export async function push(client: ApiClient, image: string): Promise<void> {
  const colon = image.indexOf(':', image.lastIndexOf('/') + 1);
  const name = colon < 0 ? image : image.slice(0, colon);
  const tag = colon < 0 ? 'latest' : image.slice(colon + 1);
  const view = new TransferView();
  const headers = { 'X-Registry-Auth': 'e30', ...registryAuthHeader(registryOf(image)) };
  for await (const line of client.post(`/images/${name}/push?tag=${encodeURIComponent(tag)}`, undefined, {
    headers,
  }))
    view.add(line);
}

/** `drover pull`. */
export async function pull(client: ApiClient, image: string, o: { platform?: string }): Promise<void> {
  const query = new URLSearchParams({
    fromImage: /[:@]/.test(image.slice(image.lastIndexOf('/') + 1)) ? image : `${image}:latest`,
  });
  if (o.platform !== undefined) query.set('platform', o.platform);
  const view = new TransferView();
  const headers = registryAuthHeader(registryOf(image));
  for await (const line of client.post(`/images/create?${query}`, undefined, { headers })) view.add(line);
}
