/**
 * A JSON object as it came. The readers below take what is missing, or of another type, as empty or zero: so does etcd, which leaves such
 * members out and writes 64-bit numbers as text.
 */
export type Json = Readonly<Record<string, unknown>>;

export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function objectIn(json: Json, name: string): Json {
  const value = json[name];
  return isJson(value) ? value : {};
}

export function objectsIn(json: Json, name: string): Json[] {
  const value = json[name];
  return Array.isArray(value) ? value.filter(isJson) : [];
}

export function textIn(json: Json, name: string): string {
  const value = json[name];
  return typeof value === 'string' ? value : '';
}

export function textsIn(json: Json, name: string): string[] {
  const value = json[name];
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

export function numberIn(json: Json, name: string): number {
  return Number(json[name] ?? 0);
}
