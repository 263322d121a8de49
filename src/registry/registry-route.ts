import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Identity, RegistryAccess } from './registry-access.ts';
import type { RegistryAction } from './registry-configuration.ts';
import type { RegistryContent } from './registry-content.ts';
import type { RegistryMetrics } from './registry-metrics.ts';
import type { RegistryProxy } from './registry-proxy.ts';
import type { WebhookSender } from './webhook-sender.ts';

export interface RegistryParts {
  content: RegistryContent;
  access: RegistryAccess;
  hooks: WebhookSender;
  metrics: RegistryMetrics;
  proxy: RegistryProxy | undefined;
  /** What the daemon itself shows to have whatever is in the shared storage. */
  ownSecret: string;
  log: Logger;
}

/** One request whose sender is known. */
export interface Exchange {
  readonly parts: RegistryParts;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly identity: Identity;
}

export interface RegistryRoute {
  /** In the metrics; routes of one thing share it. */
  readonly name: string;
  /** GET is HEAD too. */
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly pattern: RegExp;
  /** What the caller has to be allowed, of the repository that the pattern's first group names. */
  readonly action?: RegistryAction;
  readonly handler: (exchange: Exchange, ...groups: string[]) => Promise<void> | void;
}

/** Paths of the distribution specification: `rest` behind a repository's name, which is the first group. */
export function repositoryPattern(rest: string): RegExp {
  return new RegExp(`^/v2/([^?#]+)${rest}$`);
}
