import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Route } from '#api/route.ts';
import { routes } from '#api/routes.ts';

const PAGE = join(import.meta.dirname, '..', '..', 'docs', 'compatibility.md');

const HEAD = `# Compatibility with Docker's API

Served: versions 1.24 to 1.51. A call that is not there answers 501 with the reason below; what is wrong with a request answers
Docker's status and a message that names the field. This page is compared with the routes by \`test/api/compatibility.test.ts\`;
\`UPDATE=1 sh scripts/node --test test/api/compatibility.test.ts\` writes it anew.

## What differs from Docker where a call is there

| call | difference | why |
|---|---|---|
| ContainerArchive, PutContainerArchive | tmpfs, /proc and /sys of a running container are not seen, as with Docker; an archive of over a million entries, or one that expands beyond measure, is refused | [a view of the files](explanation/how-a-container-runs.md) |
| ContainerChanges | sorted by path | the order of directories says nothing |
| ContainerCreate | IPv6 addresses, links to user-defined networks, volume drivers other than local are refused by name | later stages |
| ContainerLogs | one log format, whatever \`LogConfig\` says; \`max-size\` is honoured | conmon writes it, so that no line is lost with the daemon |
| ContainerStats | \`pids_stats.limit\` is absent where there is none; no \`max_usage\` and \`failcnt\` on cgroup v2, as with Docker | Docker’s largest number is none in JavaScript |
| ContainerTop | takes ps(1)'s arguments as Docker does | – |
| DistributionInspect | on a node of a swarm, the image that is there answers where no registry does | [services are pinned](explanation/how-images-reach-nodes.md) without a registry too |
| ImageCommit | the container goes on as soon as what it wrote is copied | the layer is made of the copy |
| NetworkCreate | bridge networks and, on a manager, overlays, both over IPv4; macvlan, ipvlan answer 501 | later stages |
| NetworkCreate | \`--opt encrypted\` is taken on every cluster; nodes whose kernel has no IPsec get no task of such a network, and say so; its UDP port is the data path's + 1 | [decision 0017](decisions/0017-encrypt-overlays-by-ipsec.md) |
| NetworkInspect | resolv.conf of a container names its network's gateway, not 127.0.0.11 | decision 0006 |
| NetworkInspect | a worker shows attachable networks of the cluster before a container of its own is on one | it asks a manager |
| ContainerStart, NetworkConnect | on an attachable network, a name that a service or task there has leads to that alone | a node cannot take it over |
| NodeUpdate, ServiceUpdate, SecretUpdate, ConfigUpdate, SwarmUpdate | a stale version answers 400, where Docker answers 500; texts lack \`rpc error: code = … desc =\` | what the client got wrong is no fault of the server's |
| ServiceCreate, ServiceUpdate | plugins, cluster volumes (CSI), mounts of images, credential specs, isolation, SELinux labels, volume drivers other than local are refused by name; ports, mounts and durations that no node could take are refused at once | a task that cannot start tells nobody |
| ServiceCreate, ServiceUpdate | a service with unknown constraint keys, or on a node's own network beside another one, is refused at once | it would wait for ever |
| ServiceUpdate | the update of a service goes on when something beside its tasks is changed meanwhile | it would not be watched for failing any more |
| TaskList | tasks of jobs are counted from 0 in each run, as Docker does | Docker's CLI waits for those |
| NetworkDelete | a network that only tasks of removed services are on is gone to clients at once, and goes with the last of them | a stack is removed in one go |
| published ports | IPv4 only: nothing listens on \`[::]\` | no userland proxy, decision 0005 |

`;

function page(): string {
  const line = ({ method, path, operation, missing }: Route): string =>
    `| ${operation} | \`${method} ${path}\` | ${missing === undefined ? 'yes' : `no: ${missing}`} |`;
  const sections = Map.groupBy(
    routes.toSorted((a, b) => a.path.localeCompare(b.path) || a.method.localeCompare(b.method)),
    ({ path }) => path.split('/')[1] ?? '',
  );
  const tables = [...sections].map(
    ([name, calls]) =>
      `## /${name}\n\n| operation | call | there |\n|---|---|---|\n${calls.map(line).join('\n')}\n`,
  );
  return HEAD + tables.join('\n');
}

test('docs/compatibility.md lists the calls that there are', () => {
  if (process.env['UPDATE'] === '1') writeFileSync(PAGE, page());
  assert.equal(readFileSync(PAGE, 'utf8'), page());
});
