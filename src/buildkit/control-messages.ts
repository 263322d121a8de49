import { Definition } from './image-definition.ts';
import {
  bytes,
  bytesMap,
  flag,
  integer,
  type Message,
  message,
  part,
  parts,
  text,
  textMap,
  texts,
} from './protobuf.ts';

/** A cache, or an output, by its type. */
export interface TypedAttributes {
  type: string;
  attrs: Record<string, string>;
}

export const TypedAttributes: Message<TypedAttributes> = message({ type: text(1), attrs: textMap(2) });

export interface CacheOptions {
  exports: Partial<TypedAttributes>[];
  imports: Partial<TypedAttributes>[];
}

const CacheOptions: Message<CacheOptions> = message({
  exports: parts(4, TypedAttributes),
  imports: parts(5, TypedAttributes),
});

/** moby.buildkit.v1.SolveRequest. */
export interface SolveRequest {
  ref: string;
  /** LLB; only whether there is any counts here. */
  definition: Uint8Array;
  exporter: string;
  exporterAttrs: Record<string, string>;
  session: string;
  frontend: string;
  frontendAttrs: Record<string, string>;
  cache: Partial<CacheOptions> | undefined;
  entitlements: string[];
  exporters: Partial<TypedAttributes>[];
}

export const SolveRequest: Message<SolveRequest> = message({
  ref: text(1),
  definition: bytes(2),
  exporter: text(3),
  exporterAttrs: textMap(4),
  session: text(5),
  frontend: text(6),
  frontendAttrs: textMap(7),
  cache: part(8, CacheOptions),
  entitlements: texts(9),
  exporters: parts(13, TypedAttributes),
});

export const SolveResponse: Message<{ exporterResponse: Record<string, string> }> = message({
  exporterResponse: textMap(1),
});

export const StatusRequest: Message<{ ref: string }> = message({ ref: text(1) });

/** google.protobuf.Timestamp. */
export interface Timestamp {
  seconds: number;
  nanos: number;
}

const Timestamp: Message<Timestamp> = message({ seconds: integer(1), nanos: integer(2) });

export interface Vertex {
  digest: string;
  name: string;
  cached: boolean;
  started: Partial<Timestamp> | undefined;
  completed: Partial<Timestamp> | undefined;
  error: string;
}

const Vertex: Message<Vertex> = message({
  digest: text(1),
  name: text(3),
  cached: flag(4),
  started: part(5, Timestamp),
  completed: part(6, Timestamp),
  error: text(7),
});

export interface VertexStatus {
  id: string;
  vertex: string;
  name: string;
  current: number;
  total: number;
  timestamp: Partial<Timestamp> | undefined;
  started: Partial<Timestamp> | undefined;
  completed: Partial<Timestamp> | undefined;
}

const VertexStatus: Message<VertexStatus> = message({
  id: text(1),
  vertex: text(2),
  name: text(3),
  current: integer(4),
  total: integer(5),
  timestamp: part(6, Timestamp),
  started: part(7, Timestamp),
  completed: part(8, Timestamp),
});

export interface VertexLog {
  vertex: string;
  timestamp: Partial<Timestamp> | undefined;
  /** 1 or 2. */
  stream: number;
  msg: Uint8Array;
}

const VertexLog: Message<VertexLog> = message({
  vertex: text(1),
  timestamp: part(2, Timestamp),
  stream: integer(3),
  msg: bytes(4),
});

export interface VertexWarning {
  vertex: string;
  level: number;
  short: Uint8Array;
}

const VertexWarning: Message<VertexWarning> = message({
  vertex: text(1),
  level: integer(2),
  short: bytes(3),
});

/** What is new about the steps of a build. */
export interface StatusResponse {
  vertexes: Partial<Vertex>[];
  statuses: Partial<VertexStatus>[];
  logs: Partial<VertexLog>[];
  warnings: Partial<VertexWarning>[];
}

export const StatusResponse: Message<StatusResponse> = message({
  vertexes: parts(1, Vertex),
  statuses: parts(2, VertexStatus),
  logs: parts(3, VertexLog),
  warnings: parts(4, VertexWarning),
});

export interface WirePlatform {
  architecture: string;
  os: string;
  variant: string;
}

const WirePlatform: Message<WirePlatform> = message({ architecture: text(1), os: text(2), variant: text(3) });

export interface BuildkitVersion {
  package: string;
  version: string;
  revision: string;
}

const BuildkitVersion: Message<BuildkitVersion> = message({
  package: text(1),
  version: text(2),
  revision: text(3),
});

export interface WorkerRecord {
  id: string;
  labels: Record<string, string>;
  platforms: Partial<WirePlatform>[];
  version: Partial<BuildkitVersion> | undefined;
}

const WorkerRecord: Message<WorkerRecord> = message({
  id: text(1),
  labels: textMap(2),
  platforms: parts(3, WirePlatform),
  version: part(5, BuildkitVersion),
});

export const ListWorkersResponse: Message<{ record: Partial<WorkerRecord>[] }> = message({
  record: parts(1, WorkerRecord),
});

export const InfoResponse: Message<{ version: Partial<BuildkitVersion> | undefined }> = message({
  version: part(1, BuildkitVersion),
});

/** moby.buildkit.v1.UsageRecord, as far as results of steps have it. */
export interface UsageRecord {
  id: string;
  inUse: boolean;
  size: number;
  createdAt: Partial<Timestamp> | undefined;
  lastUsedAt: Partial<Timestamp> | undefined;
  usageCount: number;
  description: string;
  recordType: string;
}

export const UsageRecord: Message<UsageRecord> = message({
  id: text(1),
  inUse: flag(3),
  size: integer(4),
  createdAt: part(6, Timestamp),
  lastUsedAt: part(7, Timestamp),
  usageCount: integer(8),
  description: text(9),
  recordType: text(10),
});

export const UsageRequest: Message<{ filter: string[] }> = message({ filter: texts(1) });

export const DiskUsageResponse: Message<{ record: Partial<UsageRecord>[] }> = message({
  record: parts(1, UsageRecord),
});

export interface PruneRequest {
  filter: string[];
  all: boolean;
  /** Nanoseconds: what was used since then stays. */
  keepDuration: number;
  keepBytes: number;
}

export const PruneRequest: Message<PruneRequest> = message({
  filter: texts(1),
  all: flag(2),
  keepDuration: integer(3),
  keepBytes: integer(4),
});

export interface ApiCap {
  id: string;
  enabled: boolean;
}

const ApiCap: Message<ApiCap> = message({ id: text(1), enabled: flag(2) });

/** What the gateway can do. */
export interface PongResponse {
  frontendCaps: Partial<ApiCap>[];
  llbCaps: Partial<ApiCap>[];
  workers: Partial<WorkerRecord>[];
}

export const PongResponse: Message<PongResponse> = message({
  frontendCaps: parts(1, ApiCap),
  llbCaps: parts(2, ApiCap),
  workers: parts(3, WorkerRecord),
});

/** moby.buildkit.v1.frontend.SolveRequest. */
export interface GatewaySolveRequest {
  definition: Uint8Array;
  frontend: string;
  frontendOpt: Record<string, string>;
  cacheImports: Partial<TypedAttributes>[];
  frontendInputs: Record<string, Uint8Array>;
}

export const GatewaySolveRequest: Message<GatewaySolveRequest> = message({
  definition: bytes(1),
  frontend: text(2),
  frontendOpt: textMap(3),
  cacheImports: parts(12, TypedAttributes),
  frontendInputs: bytesMap(13),
});

interface Ref {
  id: string;
  def: Partial<Definition> | undefined;
}

const Ref: Message<Ref> = message({ id: text(1), def: part(2, Definition) });

export interface GatewayResult {
  ref: Partial<Ref> | undefined;
  metadata: Record<string, Uint8Array>;
}

const GatewayResult: Message<GatewayResult> = message({ ref: part(3, Ref), metadata: bytesMap(10) });

export const GatewaySolveResponse: Message<{ result: Partial<GatewayResult> | undefined }> = message({
  result: part(3, GatewayResult),
});

/** google.rpc.Status. */
const RpcStatus: Message<{ code: number; message: string }> = message({
  code: integer(1),
  message: text(2),
});

export interface ReturnRequest {
  result: Partial<GatewayResult> | undefined;
  error: { code?: number; message?: string } | undefined;
}

export const ReturnRequest: Message<ReturnRequest> = message({
  result: part(1, GatewayResult),
  error: part(2, RpcStatus),
});
