export type OutputStream = 'stdout' | 'stderr';

const HEADER_BYTES = 8;

/**
 * Docker's framing of output without a terminal (API: "Stream format" of ContainerAttach): one byte of stream
 * number, three zero bytes, the length as a big-endian 32-bit number, the data.
 */
export function frame(stream: OutputStream, data: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(HEADER_BYTES + data.length);
  framed.writeUInt32BE(stream === 'stdout' ? 0x01000000 : 0x02000000, 0);
  framed.writeUInt32BE(data.length, 4);
  framed.set(data, HEADER_BYTES);
  return framed;
}

/** The media type that tells a client whether it gets frames; API versions before 1.42 know one name for both. */
export function streamMediaType(o: { tty: boolean; version: number }): string {
  return !o.tty && o.version >= 1042
    ? 'application/vnd.docker.multiplexed-stream'
    : 'application/vnd.docker.raw-stream';
}
