import { bytes, bytesMap, integer, type Message, message, part, text } from './protobuf.ts';

/** What fsutil says of a file. */
export interface FileStat {
  /** Relative, with slashes. */
  path: string;
  /** In the bits of Go's os.FileMode. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** Nanoseconds since the epoch. */
  modTime: number;
  /** Where a symbolic link leads, or the path of the file that this one is a hard link to. */
  linkname: string;
  devMajor: number;
  devMinor: number;
  xattrs: Record<string, Uint8Array>;
}

export const FileStat: Message<FileStat> = message({
  path: text(1),
  mode: integer(2),
  uid: integer(3),
  gid: integer(4),
  size: integer(5),
  modTime: integer(6),
  linkname: text(7),
  devMajor: integer(8),
  devMinor: integer(9),
  xattrs: bytesMap(10),
});

/** fsutil's packet, of one of the types of {@link PACKET}. */
export interface Packet {
  type: number;
  stat: Partial<FileStat> | undefined;
  /** The file's place among the stats that were sent. */
  id: number;
  data: Uint8Array;
}

export const Packet: Message<Packet> = message({
  type: integer(1),
  stat: part(2, FileStat),
  id: integer(3),
  data: bytes(4),
});

export const PACKET = { stat: 0, request: 1, data: 2, end: 3, error: 4 } as const;

/** A piece of a stream of bytes. */
export interface BytesMessage {
  data: Uint8Array;
}

export const BytesMessage: Message<BytesMessage> = message({ data: bytes(1) });

export const Nothing: Message<Record<never, never>> = message({});

export const CredentialsRequest: Message<{ host: string }> = message({ host: text(1) });

export const CredentialsResponse: Message<{ username: string; secret: string }> = message({
  username: text(1),
  secret: text(2),
});

export const GetSecretResponse: Message<{ data: Uint8Array }> = message({ data: bytes(1) });

/** Names a secret, or an agent. */
export const IdRequest: Message<{ id: string }> = message({ id: text(1) });
