import { createServer, Server } from 'node:http';
import { Server as NetServer } from 'node:net';
import { hostname } from 'node:os';

/**
 * A web server as careful programs are: after SIGTERM it takes no connection any more, answers what comes on those that it has, says
 * with each answer that it was the last, and ends. What argv names (`VERSION`, then `deaf` or `failing`) makes it less so. Only
 * node's own modules: it runs in containers.
 */
const PORT = 80;
/** For so long connections that are kept may bring another request. */
const LAST_REQUESTS_MS = 1000;

const [, , version = '1', manner = 'careful'] = process.argv;
let isEnding = false;

if (manner === 'failing') {
  console.error('fails, as it was told to');
  process.exit(3);
}

const server = createServer((_request, response) => {
  response.setHeader('Content-Type', 'text/plain');
  if (isEnding) response.setHeader('Connection', 'close');
  response.end(`${version} ${hostname()}\n`);
});
server.keepAliveTimeout = 600_000;
server.listen(PORT);

if (manner === 'deaf') process.on('SIGTERM', () => undefined);
else
  process.on('SIGTERM', () => {
    isEnding = true;
    // Server.close of node:http would end the idle connections as well
    if (server instanceof Server) NetServer.prototype.close.call(server);
    setTimeout(() => process.exit(0), LAST_REQUESTS_MS);
  });
