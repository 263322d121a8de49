import { PbfReader, PbfWriter } from 'pbf';

/** One field of a message: how it is read and written, and what it is where it does not come. */
interface Field<T> {
  readonly tag: number;
  empty(): T;
  /** Reads one occurrence; gives what the field is from then on. */
  read(reader: PbfReader, before: T): T;
  write(writer: PbfWriter, value: T): void;
}

/** A kind of protocol buffers message. */
export interface Message<T> {
  /** What the bytes say; unknown fields are passed over. Throws where they are no message. */
  decode(bytes: Uint8Array): T;
  /** What is left out is as if it had its type's empty value. */
  encode(value: Partial<T>): Buffer;
  readFrom(reader: PbfReader, end?: number): T;
  writeTo(value: Partial<T>, writer: PbfWriter): void;
}

/** Describes a message by its fields (proto3). */
export function message<T>(fields: { readonly [K in keyof T]: Field<T[K]> }): Message<T>;
export function message(fields: Readonly<Record<string, Field<unknown>>>): Message<Record<string, unknown>> {
  const named = Object.entries(fields);
  const byTag = new Map(named.map(([name, field]) => [field.tag, { name, field }]));
  const readFrom = (reader: PbfReader, end?: number): Record<string, unknown> =>
    reader.readFields(
      (tag, result: Record<string, unknown>) => {
        const known = byTag.get(tag);
        if (known !== undefined) result[known.name] = known.field.read(reader, result[known.name]);
      },
      Object.fromEntries(named.map(([name, field]) => [name, field.empty()])),
      end,
    );
  const writeTo = (value: Partial<Record<string, unknown>>, writer: PbfWriter): void => {
    for (const [name, field] of named) if (value[name] !== undefined) field.write(writer, value[name]);
  };
  return {
    readFrom,
    writeTo,
    decode: (bytes) => readFrom(new PbfReader(bytes)),
    encode: (value) => {
      const writer = new PbfWriter();
      writeTo(value, writer);
      return Buffer.from(writer.finish());
    },
  };
}

export function text(tag: number): Field<string> {
  return {
    tag,
    empty: () => '',
    read: (reader) => reader.readString(),
    write: (writer, value) => value !== '' && writer.writeStringField(tag, value),
  };
}

export function bytes(tag: number): Field<Uint8Array> {
  return {
    tag,
    empty: () => new Uint8Array(),
    read: (reader) => reader.readBytes(),
    write: (writer, value) => value.length > 0 && writer.writeBytesField(tag, value),
  };
}

/** Of any width; beyond 2^53 the last bits are lost. */
export function integer(tag: number): Field<number> {
  return {
    tag,
    empty: () => 0,
    read: (reader) => reader.readVarint(true),
    write: (writer, value) => value !== 0 && writer.writeVarintField(tag, value),
  };
}

export function flag(tag: number): Field<boolean> {
  return {
    tag,
    empty: () => false,
    read: (reader) => reader.readBoolean(),
    write: (writer, value) => value && writer.writeBooleanField(tag, value),
  };
}

/** A message inside; undefined where there is none. */
export function part<T>(tag: number, type: Message<T>): Field<Partial<T> | undefined> {
  return {
    tag,
    empty: () => undefined,
    read: (reader) => readPart(type, reader),
    write: (writer, value) => value !== undefined && writePart(type, tag, writer, value),
  };
}

export function parts<T>(tag: number, type: Message<T>): Field<Partial<T>[]> {
  return listOf<Partial<T>>(
    tag,
    (reader) => readPart(type, reader),
    (writer, value) => writePart(type, tag, writer, value),
  );
}

export function texts(tag: number): Field<string[]> {
  return listOf(
    tag,
    (reader) => reader.readString(),
    (writer, value) => writer.writeStringField(tag, value),
  );
}

export function bytesList(tag: number): Field<Uint8Array[]> {
  return listOf(
    tag,
    (reader) => reader.readBytes(),
    (writer, value) => writer.writeBytesField(tag, value),
  );
}

/** Empty values are written as well: a list has as many as it has. */
function listOf<T>(
  tag: number,
  read: (reader: PbfReader) => T,
  write: (writer: PbfWriter, value: T) => void,
): Field<T[]> {
  return {
    tag,
    empty: () => [],
    read: (reader, before) => {
      before.push(read(reader));
      return before;
    },
    write: (writer, values) => {
      for (const value of values) write(writer, value);
    },
  };
}

export function textMap(tag: number): Field<Record<string, string>> {
  return mapOf(tag, text(2));
}

export function bytesMap(tag: number): Field<Record<string, Uint8Array>> {
  return mapOf(tag, bytes(2));
}

function mapOf<T>(tag: number, value: Field<T>): Field<Record<string, T>> {
  const entry = message<{ key: string; value: T }>({ key: text(1), value });
  return {
    tag,
    // names come from outside: one of them may be `__proto__`
    empty: () => Object.create(null),
    read: (reader, before) => {
      const { key, value: each } = readPart(entry, reader);
      before[key] = each;
      return before;
    },
    write: (writer, map) => {
      for (const [key, each] of Object.entries(map)) writePart(entry, tag, writer, { key, value: each });
    },
  };
}

function readPart<T>(type: Message<T>, reader: PbfReader): T {
  const length = reader.readVarint();
  return type.readFrom(reader, reader.pos + length);
}

function writePart<T>(type: Message<T>, tag: number, writer: PbfWriter, value: Partial<T>): void {
  writer.writeMessage(tag, (each: Partial<T>, to) => type.writeTo(each, to), value);
}
